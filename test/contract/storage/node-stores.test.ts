/** LocalStore, IdentityStore and BlobStore: this node's own facts and files. */
import { createHash } from "node:crypto"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Identity } from "../../../src/schema/index.ts"
import { confStateOf, entriesOf } from "../../support/log-samples.ts"
import { collect, inPortions, type Machine, machines } from "./machines.ts"

const identity: Identity = {
  format: 1,
  peerId: "12D3KooWpeer",
  clusterId: "old-cluster",
  cluster: "troupe",
  memberId: 5,
  redirects: [{ from: "older", into: "old-cluster" }],
}
const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

describe.each(machines)("the node's stores, $kind", ({ make }) => {
  let machine: Machine
  beforeEach(async () => {
    machine = await make()
  })
  afterEach(() => machine.dispose())

  test("local facts: kept, changed, listed in order, deleted", async () => {
    const { local } = machine.stores()
    await local.open()
    await local.put("outbox/2", { fence: 2, list: [1, "a", null] })
    await local.put("outbox/1", { fence: 1 })
    await local.put("outboy", true)
    await local.put("outbox/2", { fence: 22 })
    await local.delete("outboy")
    await local.delete("never there")
    await local.close()
    const again = machine.stores().local
    await again.open()
    expect(await again.get("outbox/2")).toEqual({ fence: 22 })
    expect(await again.get("outboy")).toBeUndefined()
    expect(await collect(again.range("outbox/"))).toEqual([
      ["outbox/1", { fence: 1 }],
      ["outbox/2", { fence: 22 }],
    ])
    await again.close()
  })

  test("identity: every start is counted and has a name of its own", async () => {
    const first = await machine.stores().identity.open()
    expect(first).toMatchObject({ identity: undefined, bootCount: 1, foreign: false })
    const store = machine.stores().identity
    const second = await store.open()
    expect(second.bootCount).toBe(2)
    expect(second.boot).not.toBe(first.boot)
    await store.write(identity)
    const third = await machine.stores().identity.open()
    expect(third).toMatchObject({ identity, bootCount: 3, foreign: false })
  })

  test("archive: a new log, new tables and no snapshot; who the node was stays", async () => {
    const stores = machine.stores()
    await stores.identity.open()
    await stores.identity.write(identity)
    await stores.log.open({ clusterId: identity.clusterId, memberId: 5 })
    await stores.log.append({ entries: entriesOf(1, 3) })
    await stores.tables.open()
    const mark = { index: 3, term: 1, confState: confStateOf(5) }
    await stores.tables.write([{ key: "a", value: "b" }], mark, { sync: true })
    await stores.snapshots.create(mark, inPortions(["a", "b"] as const))
    await stores.log.close()
    await stores.tables.close()
    await stores.identity.archive(identity.clusterId)

    const next = machine.stores()
    expect(await next.identity.open()).toMatchObject({ identity, bootCount: 2 })
    const log = await next.log.open({ clusterId: "new-cluster", memberId: 9 })
    expect(log).toMatchObject({ entries: [], created: true })
    expect(await next.tables.open()).toBeUndefined()
    expect(await next.snapshots.latest()).toBeUndefined()
    await next.log.close()
    await next.tables.close()
    // The same cluster again, and left again.
    await next.identity.archive(identity.clusterId)
  })

  test("blobs: by digest, in ranges, once", async () => {
    const { blobs } = machine.stores()
    const bytes = new Uint8Array(700_001).map((_, position) => position % 251)
    const digest = digestOf(bytes)
    expect(await blobs.has(digest)).toBeUndefined()
    const put = () => blobs.put(inPortions(bytes.subarray(0, 10), bytes.subarray(10)), digest)
    expect(await Promise.all([put(), put()])).toEqual([
      { digest, bytes: 700_001 },
      { digest, bytes: 700_001 },
    ])
    expect(await blobs.has(digest)).toEqual({ bytes: 700_001 })
    expect(Buffer.concat(await collect(blobs.read(digest))).equals(bytes)).toBe(true)
    const part = Buffer.concat(await collect(blobs.read(digest, { offset: 300_000, length: 5 })))
    expect([...part]).toEqual([...bytes.subarray(300_000, 300_005)])
    const rest = Buffer.concat(await collect(blobs.read(digest, { offset: 700_000, length: 9 })))
    expect(rest.length).toBe(1)
    expect(await collect(blobs.read(digest, { offset: 700_001 }))).toEqual([])
    await blobs.remove(digest)
    await blobs.remove(digest)
    expect(await blobs.has(digest)).toBeUndefined()
  })

  test("blobs: the list names each with its size", async () => {
    const { blobs } = machine.stores()
    expect(await collect(blobs.list())).toEqual([])
    const made = new Map<string, number>()
    for (const size of [0, 1, 700_001]) {
      const { digest, bytes } = await blobs.put(inPortions(new Uint8Array(size)))
      made.set(digest, bytes)
    }
    const [first] = made.keys()
    await blobs.remove(first!)
    made.delete(first!)
    const listed = await collect(blobs.list())
    expect(new Map(listed.map(({ digest, bytes }) => [digest, bytes]))).toEqual(made)
    expect(listed.every(({ at }) => Number.isFinite(at))).toBe(true)
  })

  test("blobs: the empty one is one", async () => {
    const { blobs } = machine.stores()
    const { digest } = await blobs.put(inPortions<Uint8Array>())
    expect(digest).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    expect(await blobs.has(digest)).toEqual({ bytes: 0 })
    expect(await collect(blobs.read(digest))).toEqual([])
  })

  test("blobs: other bytes than expected are refused and not kept", async () => {
    const { blobs } = machine.stores()
    const bytes = new Uint8Array([1, 2, 3])
    const expected = "0".repeat(64)
    await expect(blobs.put(inPortions(bytes), expected)).rejects.toMatchObject({
      code: "ERR_BLOB_CORRUPT",
      details: { expected, actual: digestOf(bytes) },
    })
    expect(await blobs.has(digestOf(bytes))).toBeUndefined()
  })

  test("blobs: what is not there, or no digest at all, is not found", async () => {
    const { blobs } = machine.stores()
    for (const digest of ["0".repeat(64), "../../etc/passwd", ""]) {
      expect(await blobs.has(digest)).toBeUndefined()
      await expect(collect(blobs.read(digest))).rejects.toMatchObject({
        code: "ERR_BLOB_NOT_FOUND",
      })
      await blobs.remove(digest)
    }
  })
})

/** SnapshotStore: what is taken here is the same there, or it is refused. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Row } from "../../../src/wire/index.ts"
import { markAt } from "../../support/log-samples.ts"
import { collect, inPortions, type Machine, machines } from "./machines.ts"

const rows: Row[] = Array.from({ length: 900 }, (_, number) => [
  `key ${number}`,
  `value ${number} ${"v".repeat(1000)}`,
])

describe.each(machines)("SnapshotStore, $kind", ({ make }) => {
  let machine: Machine
  let other: Machine
  beforeEach(async () => {
    machine = await make()
    other = await make()
  })
  afterEach(async () => {
    await machine.dispose()
    await other.dispose()
  })

  test("none at first", async () => {
    const { snapshots } = machine.stores()
    expect(await snapshots.latest()).toBeUndefined()
    await snapshots.prune()
  })

  test("rows come back; the newest counts; older ones are pruned", async () => {
    const { snapshots } = machine.stores()
    const { bytes } = await snapshots.create(markAt(9, 2), inPortions(...rows))
    expect(bytes).toBeGreaterThan(900 * 1000)
    await snapshots.create(markAt(100, 3), inPortions(...rows.slice(0, 3)))
    const again = machine.stores().snapshots
    expect(await again.latest()).toEqual(markAt(100, 3))
    expect(await collect(again.rows(9))).toEqual(rows)
    await again.prune()
    expect(await collect(again.rows(100))).toEqual(rows.slice(0, 3))
    await expect(collect(again.rows(9))).rejects.toMatchObject({ code: "ERR_STORAGE" })
  })

  test("an empty state is a snapshot, too", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(1), inPortions<Row>())
    expect(await collect(snapshots.rows(1))).toEqual([])
    expect(await snapshots.latest()).toEqual(markAt(1))
  })

  test("chunks sent are a snapshot there, in whatever portions they come", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows))
    const chunks = await collect(snapshots.chunks(9))
    expect(chunks.length).toBeGreaterThan(4)
    for (const chunk of chunks) expect(chunk.length).toBeLessThan(300 * 1024)
    const bytes = Buffer.concat(chunks)
    const odd = Array.from({ length: Math.ceil(bytes.length / 7001) }, (_, part) =>
      bytes.subarray(part * 7001, (part + 1) * 7001),
    )
    for (const portions of [chunks, odd, [bytes]]) {
      const received = other.stores().snapshots
      await received.receive(markAt(9), inPortions(...portions))
      expect(await received.latest()).toEqual(markAt(9))
      expect(await collect(received.rows(9))).toEqual(rows)
    }
  })

  test("a bad, missing, doubled or swapped chunk is refused and nothing is kept", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows))
    const chunks = await collect(snapshots.chunks(9))
    const flipped = chunks.map((chunk) => Uint8Array.from(chunk))
    flipped[1]![5000]! ^= 1
    const bad: Uint8Array[][] = [
      flipped,
      chunks.slice(0, -1),
      chunks.slice(1),
      chunks.filter((_, position) => position !== 2),
      [...chunks.slice(0, 2), ...chunks.slice(1)],
      [chunks[0]!, chunks[2]!, chunks[1]!, ...chunks.slice(3)],
      [...chunks, chunks[1]!],
      [...chunks, new Uint8Array([1, 2, 3])],
      [new Uint8Array(64)],
      [],
    ]
    for (const portions of bad) {
      const received = other.stores().snapshots
      await expect(received.receive(markAt(9), inPortions(...portions))).rejects.toMatchObject({
        code: "ERR_LOG_CORRUPT",
      })
      expect(await received.latest()).toBeUndefined()
    }
  })

  test("a snapshot of another index or term than announced is refused", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows.slice(0, 2)))
    for (const announced of [markAt(10), markAt(9, 2)]) {
      await expect(
        other.stores().snapshots.receive(announced, snapshots.chunks(9)),
      ).rejects.toMatchObject({ code: "ERR_LOG_CORRUPT" })
    }
  })

  test("a source that fails keeps nothing and fails as it did", async () => {
    const { snapshots } = machine.stores()
    const failing = (async function* () {
      yield rows[0]!
      throw new Error("the tables are closed")
    })()
    await expect(snapshots.create(markAt(9), failing)).rejects.toThrow("the tables are closed")
    expect(await snapshots.latest()).toBeUndefined()
  })

  test("C-32: a stream that broke after any chunk goes on behind it", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows))
    const chunks = await collect(snapshots.chunks(9))
    for (let whole = 0; whole < chunks.length; whole++) {
      const broken = (async function* () {
        yield* chunks.slice(0, whole)
        yield chunks[whole]!.subarray(0, 11)
        throw new Error("the stream was reset")
      })()
      await expect(other.stores().snapshots.receive(markAt(9), broken)).rejects.toThrow("reset")
      // Also after a restart.
      const received = other.stores().snapshots
      expect(await received.latest()).toBeUndefined()
      const held = await received.held(markAt(9))
      expect(held.chunks).toBe(whole)
      const from = await snapshots.agrees(9, held)
      expect(from).toBe(whole)
      const rest = await collect(snapshots.chunks(9, from))
      expect(rest).toEqual(chunks.slice(whole))
      await received.receive(markAt(9), inPortions(...rest), from)
      expect(await collect(received.rows(9))).toEqual(rows)
      await received.setAside(9)
    }
  })

  test("C-32: what is here of another snapshot of the same index is not gone on with", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows))
    const chunks = await collect(snapshots.chunks(9))
    const received = other.stores().snapshots
    const begun = inPortions(...chunks.slice(0, 3))
    await expect(received.receive(markAt(9), begun)).rejects.toMatchObject({
      code: "ERR_LOG_CORRUPT",
    })
    const held = await received.held(markAt(9))
    expect(held.chunks).toBe(3)
    expect((await received.held(markAt(9, 2))).chunks).toBe(0)
    const third = await make()
    const unlike = third.stores().snapshots
    await unlike.create(markAt(9), inPortions(...rows.toReversed()))
    expect(await unlike.agrees(9, held)).toBe(0)
    await received.receive(markAt(9), unlike.chunks(9), 0)
    expect(await collect(received.rows(9))).toEqual(rows.toReversed())
    await third.dispose()
  })

  test("C-32: a chunk that is bad on the way makes the next try begin anew", async () => {
    const { snapshots } = machine.stores()
    await snapshots.create(markAt(9), inPortions(...rows))
    const chunks = await collect(snapshots.chunks(9))
    const bad = Uint8Array.from(chunks[2]!)
    bad[400]! ^= 1
    const received = other.stores().snapshots
    await expect(
      received.receive(markAt(9), inPortions(...chunks.slice(0, 2), bad)),
    ).rejects.toMatchObject({ code: "ERR_LOG_CORRUPT" })
    expect((await received.held(markAt(9))).chunks).toBe(0)
  })

  test("one that is put aside is not the latest any more; its size was known", async () => {
    const { snapshots } = machine.stores()
    expect(await snapshots.bytes()).toBe(0)
    const { bytes } = await snapshots.create(markAt(9), inPortions(...rows))
    expect(await snapshots.bytes()).toBe(bytes)
    expect(await snapshots.setAside(9)).toContain("quarantine")
    expect(await snapshots.latest()).toBeUndefined()
  })
})

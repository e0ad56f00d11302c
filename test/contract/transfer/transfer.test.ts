/** Blobs between nodes, over the fake mesh and over libp2p; the peers that misbehave only over the fake one. */
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { createMesh, generateKey, type Mesh } from "../../../src/mesh/index.ts"
import { type Clock, createClock, createRandom, silentLogger } from "../../../src/platform/index.ts"
import { isTroupeError, type PeerRef } from "../../../src/schema/index.ts"
import { createTransfer, type Transfer } from "../../../src/transfer/index.ts"
import { encodeRequest, readAnswer } from "../../../src/transfer/protocol.ts"
import { FakeNetwork } from "../../support/fake-mesh.ts"
import { digestOf, MemoryBlobs } from "../../support/memory-blobs.ts"

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

/** Time that runs `factor` times as fast, for what waits for seconds. */
function faster(factor: number): Clock {
  const real = createClock()
  return {
    now: () => real.now(),
    boottime: () => real.boottime() * factor,
    after: (ms, run) => real.after(ms / factor, run),
    soon: (run) => real.soon(run),
    every: (ms, run) => real.every(ms / factor, run),
    timeoutSignal: (ms, what) => real.timeoutSignal(ms / factor, what),
    sleep: (ms, options) => real.sleep(ms / factor, options),
  }
}

interface Place {
  readonly mesh: Mesh
  readonly blobs: MemoryBlobs
  readonly transfer: Transfer
  readonly directory: string
  readonly ref: PeerRef
}

interface World {
  readonly net: FakeNetwork
  readonly clock: Clock
  readonly place: () => Promise<Place>
}

async function placeOf(mesh: Mesh, clock: Clock): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), "troupe-transfer-"))
  cleanups.push(() => rm(directory, { recursive: true, force: true }))
  const blobs = new MemoryBlobs()
  const transfer = createTransfer({ directory }, { blobs, mesh, clock, logger: silentLogger })
  cleanups.push(() => transfer.stop())
  await mesh.start()
  transfer.start()
  return {
    mesh,
    blobs,
    transfer,
    directory,
    ref: { peerId: mesh.peerId, addresses: mesh.addresses() },
  }
}

function fakeWorld(clock = createClock()): World {
  const net = new FakeNetwork({ clock, random: createRandom() })
  let count = 0
  const place = async () => {
    count++
    const address = `/ip4/10.0.0.${count}/tcp/8771`
    return await placeOf(net.createMesh({ peerId: `peer-${count}`, address }), clock)
  }
  return { net, clock, place }
}

async function libp2pPlace(): Promise<Place> {
  const clock = createClock()
  const options = { privateKey: generateKey(), cluster: "blobs", seeds: [], mdns: false }
  const parts = { clock, random: createRandom(), logger: silentLogger }
  const mesh = createMesh({ ...options, listen: ["/ip4/127.0.0.1/tcp/0"] }, parts)
  cleanups.push(() => mesh.stop())
  return await placeOf(mesh, clock)
}

/** Bytes that repeat nowhere, so that a wrong offset shows. */
function sample(bytes: number): Uint8Array {
  const words = Uint32Array.from({ length: Math.ceil(bytes / 4) }, (_, n) =>
    Math.imul(n, 2654435761),
  )
  return new Uint8Array(words.buffer).subarray(0, bytes)
}

const MiB = 1 << 20
const limit = () => createClock().timeoutSignal(20_000, "a test")

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return "no error"
  } catch (error) {
    return isTroupeError(error) ? error.code : String(error)
  }
}

for (const [name, two] of [
  [
    "fake",
    async () => {
      const { place } = fakeWorld()
      return [await place(), await place()] as const
    },
  ],
  ["libp2p", async () => [await libp2pPlace(), await libp2pPlace()] as const],
] as const) {
  test(`${name}: a blob comes over, verified, and only once`, async () => {
    const [a, b] = await two()
    for (const bytes of [0, 1, 100_000, 20 * MiB]) {
      const digest = b.blobs.add(sample(bytes))
      expect(await a.transfer.fetch(digest, [b.ref], { signal: limit() })).toEqual({ bytes })
      expect(await a.blobs.has(digest)).toEqual({ bytes })
      expect(await a.transfer.fetch(digest, [], { signal: limit() })).toEqual({ bytes })
    }
    expect(b.blobs.reads).toHaveLength(3)
    // Nothing half is left.
    expect(await readdir(a.directory)).toEqual([])
  })

  test(`${name}: what the peer does not have is not found`, async () => {
    const [a, b] = await two()
    const fetched = a.transfer.fetch(digestOf(sample(1)), [b.ref], { signal: limit() })
    expect(await codeOf(fetched)).toBe("ERR_BLOB_NOT_FOUND")
  })
}

test("peers are asked in turn, and an absent one does not hide the blob of another", async () => {
  const { net, place } = fakeWorld()
  const [a, b, c, d] = [await place(), await place(), await place(), await place()]
  const digest = d.blobs.add(sample(1000))
  net.kill(b.mesh.peerId)
  const from = [b.ref, c.ref, d.ref]
  expect(await a.transfer.fetch(digest, from, { signal: limit() })).toEqual({ bytes: 1000 })
})

test("not found needs everybody's word", async () => {
  const { net, place } = fakeWorld()
  const [a, b, c] = [await place(), await place(), await place()]
  const digest = digestOf(sample(5))
  net.kill(b.mesh.peerId)
  const asked = a.transfer.fetch(digest, [b.ref, c.ref], { signal: limit() })
  expect(await codeOf(asked)).toBe("ERR_PEER_UNREACHABLE")
  expect(await codeOf(a.transfer.fetch(digest, [], { signal: limit() }))).toBe("ERR_BLOB_NOT_FOUND")
})

test("a corrupt copy is not taken, and a good one is found", async () => {
  const { place } = fakeWorld()
  const [a, bad, good] = [await place(), await place(), await place()]
  const bytes = sample(10 * MiB)
  const digest = good.blobs.add(bytes)
  bad.blobs.add(sample(10 * MiB).fill(1, 5000, 5001), digest)
  const only = a.transfer.fetch(digest, [bad.ref], { signal: limit() })
  expect(await codeOf(only)).toBe("ERR_BLOB_CORRUPT")
  expect(await a.blobs.has(digest)).toBeUndefined()
  const both = a.transfer.fetch(digest, [bad.ref, good.ref], { signal: limit() })
  expect(await both).toEqual({ bytes: bytes.length })
  expect(await readdir(a.directory)).toEqual([])
})

test("a peer that dies on the way is continued by the next", async () => {
  const { net, place } = fakeWorld()
  const [a, b, c] = [await place(), await place(), await place()]
  const bytes = sample(12 * MiB)
  const digest = b.blobs.add(bytes)
  c.blobs.add(bytes)
  b.blobs.beforeChunk = async (at) => {
    if (at >= 6 * MiB) net.kill(b.mesh.peerId)
  }
  const fetched = await a.transfer.fetch(digest, [b.ref, c.ref], { signal: limit() })
  expect(fetched).toEqual({ bytes: bytes.length })
  expect(c.blobs.reads).toHaveLength(1)
  expect(c.blobs.reads[0]!.offset).toBeGreaterThan(0)
  expect(c.blobs.reads[0]!.offset).toBeLessThanOrEqual(6 * MiB)
})

test("what came halfway is continued by a later fetch", async () => {
  const { net, place } = fakeWorld()
  const [a, b, c] = [await place(), await place(), await place()]
  const bytes = sample(12 * MiB)
  const digest = b.blobs.add(bytes)
  b.blobs.beforeChunk = async (at) => {
    if (at >= 6 * MiB) net.kill(b.mesh.peerId)
  }
  const first = a.transfer.fetch(digest, [b.ref], { signal: limit() })
  expect(await codeOf(first)).toBe("ERR_PEER_UNREACHABLE")
  const { size } = await stat(join(a.directory, `${digest}.part`))
  expect(size).toBeGreaterThan(0)
  c.blobs.add(bytes)
  await a.transfer.fetch(digest, [c.ref], { signal: limit() })
  expect(c.blobs.reads).toEqual([{ digest, offset: size }])
  expect(await readdir(a.directory)).toEqual([])
})

test("a spoiled half costs only time", async () => {
  const { place } = fakeWorld()
  const [a, b] = [await place(), await place()]
  const bytes = sample(9 * MiB)
  const digest = b.blobs.add(bytes)
  await writeFile(join(a.directory, `${digest}.part`), new Uint8Array(2 * MiB))
  expect(await a.transfer.fetch(digest, [b.ref], { signal: limit() })).toEqual({
    bytes: bytes.length,
  })
  expect(b.blobs.reads.map(({ offset }) => offset)).toEqual([2 * MiB, 0])
})

test("a half larger than the blob is thrown away", async () => {
  const { place } = fakeWorld()
  const [a, b] = [await place(), await place()]
  const digest = b.blobs.add(sample(1000))
  await writeFile(join(a.directory, `${digest}.part`), new Uint8Array(2000))
  await a.transfer.fetch(digest, [b.ref], { signal: limit() })
})

test("fetches of one blob share the work, and end when nobody wants it", async () => {
  const { place } = fakeWorld()
  const [a, b] = [await place(), await place()]
  const digest = b.blobs.add(sample(5 * MiB))
  const go = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  b.blobs.beforeChunk = async () => (begun.resolve(), go.promise)
  const [one, two] = [new AbortController(), new AbortController()]
  const first = codeOf(a.transfer.fetch(digest, [b.ref], { signal: one.signal }))
  const second = a.transfer.fetch(digest, [b.ref], { signal: two.signal })
  await begun.promise
  one.abort(new Error("enough"))
  expect(await first).toBe("Error: enough")
  go.resolve()
  expect(await second).toEqual({ bytes: 5 * MiB })
  expect(b.blobs.reads).toHaveLength(1)

  const other = b.blobs.add(sample(5 * MiB + 1))
  b.blobs.beforeChunk = () => new Promise(() => undefined)
  const last = codeOf(a.transfer.fetch(other, [b.ref], { signal: two.signal }))
  two.abort(new Error("enough"))
  expect(await last).toBe("Error: enough")
  b.blobs.beforeChunk = async () => undefined
  // Neither waits for the abandoned one for ever, nor inherits its end.
  await a.transfer.fetch(other, [b.ref], { signal: limit() })
})

test("a peer serves four at a time, and whoever is too many comes again", async () => {
  const { place } = fakeWorld(faster(20))
  const [a, b] = [await place(), await place()]
  const digest = b.blobs.add(sample(200_000))
  const go = Promise.withResolvers<void>()
  b.blobs.beforeChunk = () => go.promise
  const ask = async () => {
    const stream = await a.mesh.openStream(b.ref, "/troupe/blobs/1", { signal: limit() })
    await stream.write(encodeRequest({ digest, offset: 0 }))
    return (await readAnswer(stream.read[Symbol.asyncIterator]())).answer
  }
  const answers = [await ask(), await ask(), await ask(), await ask(), await ask()]
  expect(answers.map(({ status }) => status)).toEqual(["found", "found", "found", "found", "busy"])
  const fetched = a.transfer.fetch(digest, [b.ref], { signal: limit() })
  go.resolve()
  expect(await fetched).toEqual({ bytes: 200_000 })
})

test("a peer that stands still is given up for the next", async () => {
  const { place } = fakeWorld(faster(50))
  const [a, still, good] = [await place(), await place(), await place()]
  const digest = still.blobs.add(sample(300_000))
  good.blobs.add(sample(300_000))
  still.blobs.beforeChunk = async (at) => (at > 0 ? await new Promise(() => undefined) : undefined)
  const fetched = await a.transfer.fetch(digest, [still.ref, good.ref], { signal: limit() })
  expect(fetched).toEqual({ bytes: 300_000 })
  expect(good.blobs.reads).toEqual([{ digest, offset: 64 << 10 }])
})

test("four blobs are fetched at a time, the others in turn", async () => {
  const { place } = fakeWorld()
  const [a, b] = [await place(), await place()]
  const state = { now: 0, most: 0 }
  const finished = b.blobs.has.bind(b.blobs)
  b.blobs.has = async (digest) => {
    state.most = Math.max(state.most, ++state.now)
    await new Promise((resolve) => setImmediate(resolve))
    state.now--
    return await finished(digest)
  }
  const digests = Array.from({ length: 30 }, (_, n) => b.blobs.add(sample(1000 + n)))
  const abandoned = new AbortController()
  const all = digests.map((digest, n) =>
    a.transfer
      .fetch(digest, [b.ref], { signal: n % 3 === 2 ? abandoned.signal : limit() })
      .then(() => "here", String),
  )
  abandoned.abort("not wanted")
  const results = await Promise.all(all)
  expect(results.filter((_, n) => n % 3 !== 2)).toEqual(Array(20).fill("here"))
  expect(results.filter((_, n) => n % 3 === 2)).toEqual(Array(10).fill("not wanted"))
  expect(state.most).toBeLessThanOrEqual(4)
})

test("nonsense is not answered", async () => {
  const { place } = fakeWorld()
  const [a, b] = [await place(), await place()]
  const ask = async (bytes: Uint8Array) => {
    const stream = await a.mesh.openStream(b.ref, "/troupe/blobs/1", { signal: limit() })
    await stream.write(bytes)
    await stream.end()
    return await readAnswer(stream.read[Symbol.asyncIterator]())
  }
  await expect(ask(Uint8Array.of(255, 255, 1))).rejects.toThrow()
  await expect(ask(Uint8Array.of(0))).rejects.toThrow()
  await expect(ask(encodeRequest({ digest: "../../etc/passwd", offset: 0 }))).rejects.toThrow()
})

test("stopping ends both sides", async () => {
  const { place } = fakeWorld()
  const [a, b, c] = [await place(), await place(), await place()]
  const digest = b.blobs.add(sample(MiB))
  const begun = Promise.withResolvers<void>()
  b.blobs.beforeChunk = () => (begun.resolve(), new Promise(() => undefined))
  const mine = codeOf(a.transfer.fetch(digest, [b.ref], { signal: limit() }))
  const other = codeOf(c.transfer.fetch(digest, [b.ref], { signal: limit() }))
  await begun.promise
  await a.transfer.stop()
  expect(await mine).toBe("ERR_STOPPED")
  expect(await codeOf(a.transfer.fetch(digest, [b.ref], { signal: limit() }))).toBe("ERR_STOPPED")
  await b.transfer.stop()
  expect(await other).not.toBe("no error")
})

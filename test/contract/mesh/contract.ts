/** What every mesh does, the fake one and libp2p alike. */
import { expect, test } from "vitest"
import { isTroupeError, TroupeError } from "../../../src/schema/index.ts"
import { brokenStreams, streams } from "./stream-contract.ts"
import { type Check, failure, joined, type MeshWorld, next, refOf } from "./world.ts"

const encoder = new TextEncoder()
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await failure(work)
  return isTroupeError(error) ? error.code : `no TroupeError: ${String(error)}`
}

const unknownPeer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

export function meshContract(name: string, open: () => Promise<MeshWorld>): void {
  const check = (what: string, run: (world: MeshWorld) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      const world = await open()
      try {
        await run(world)
      } finally {
        await world.close()
      }
    })

  connecting(check)
  requests(check)
  failures(check)
  frames(check)
  streams(check)
  brokenStreams(check)
  ending(check)
}

function connecting(check: Check): void {
  check("a connection is known to both sides", async (world) => {
    const [a, b] = await joined(world)
    expect(a.connectedPeers()).toEqual([b.peerId])
    expect(b.connectedPeers()).toEqual([a.peerId])
    expect(a.addressOf(b.peerId)).toBeDefined()
    expect(a.addressOf(unknownPeer)).toBeUndefined()
  })

  check("connecting again changes nothing", async (world) => {
    const [a, b] = await joined(world)
    const again: unknown[] = []
    a.on("connected", (event) => again.push(event))
    await world.wait(a.connect(refOf(b), { signal: world.limit() }))
    await world.wait(b.connect({ peerId: a.peerId, addresses: [] }, { signal: world.limit() }))
    expect(again).toEqual([])
  })

  check("a seed is dialled, and its peer id learned", async (world) => {
    const a = await world.mesh()
    const b = await world.mesh({ seeds: [world.gone, ...a.addresses()] })
    const found = await world.wait(next(b, "discovered"))
    expect(found).toEqual({ peerId: a.peerId, addresses: a.addresses() })
    expect(b.connectedPeers()).toEqual([a.peerId])
  })

  check("where nobody listens there is no connection", async (world) => {
    const a = await world.mesh()
    const nobody = { peerId: unknownPeer, addresses: [world.gone] }
    const error = await world.wait(failure(a.connect(nobody, { signal: world.limit() })))
    expect(error).toMatchObject({
      code: "ERR_PEER_UNREACHABLE",
      details: { peer: unknownPeer, reason: expect.stringMatching(/^not connected: /) },
    })
  })

  check("a node never connects to itself", async (world) => {
    const a = await world.mesh()
    await expect(a.connect(refOf(a), { signal: world.limit() })).rejects.toThrow("itself")
  })

  check("facts reach the other peers, with their author", async (world) => {
    const [a, b] = await joined(world)
    const heard = new Promise<unknown[]>((resolve) => b.onFacts((...message) => resolve(message)))
    const facts = { name: "a", labels: {} }
    // Gossip needs a moment to find out who listens.
    const state = { heard: false }
    const told = (async () => {
      while (!state.heard) {
        a.publish(facts as never)
        await world.steady(() => 0)
      }
    })()
    expect(await world.wait(heard)).toEqual([a.peerId, facts])
    state.heard = true
    await told
  })
}

function requests(check: Check): void {
  check("requests are answered, both ways, whatever their order", async (world) => {
    const [a, b] = await joined(world)
    const held: (() => void)[] = []
    b.handle("/troupe/ctl/1", async (from, payload) => {
      const turn = Promise.withResolvers<void>()
      held.push(turn.resolve)
      // The last to come is the first to be answered.
      if (held.length === 20) for (const go of held.toReversed()) go()
      await turn.promise
      return encoder.encode(`${from} ${text(payload)}`)
    })
    a.handle("/troupe/ctl/1", async () => encoder.encode("from a"))
    const asked = Array.from({ length: 20 }, (_, n) =>
      a.request(refOf(b), "/troupe/ctl/1", encoder.encode(`${n}`), { signal: world.limit() }),
    )
    const answers = await world.wait(Promise.all(asked))
    expect(answers.map(text)).toEqual(answers.map((_, n) => `${a.peerId} ${n}`))
    const empty = new Uint8Array(0)
    const back = b.request(refOf(a), "/troupe/ctl/1", empty, { signal: world.limit() })
    expect(text(await world.wait(back))).toBe("from a")
  })

  check("a request connects when it must, and may be large", async (world) => {
    const a = await world.mesh()
    const b = await world.mesh()
    b.handle("/troupe/job/1", async (_from, payload) => payload)
    const large = new Uint8Array(3_000_000).fill(7)
    const asked = a.request(refOf(b), "/troupe/job/1", large, { signal: world.limit() })
    const answer = await world.wait(asked)
    expect(Buffer.compare(answer, large)).toBe(0)
  })

  check("a request of more than 4 MiB is not sent", async (world) => {
    const [a, b] = await joined(world)
    const large = new Uint8Array((4 << 20) + 1)
    const asked = a.request(refOf(b), "/troupe/job/1", large, { signal: world.limit() })
    expect(await world.wait(codeOf(asked))).toBe("ERR_LIMIT")
  })

  check("more than 256 unanswered requests are too many", async (world) => {
    const [a, b] = await joined(world)
    const go = Promise.withResolvers<void>()
    b.handle("/troupe/job/1", async (_from, payload) => (await go.promise, payload))
    const asked = Array.from({ length: 257 }, () =>
      codeOf(
        a
          .request(refOf(b), "/troupe/job/1", new Uint8Array(1), { signal: world.limit() })
          .then(() => Promise.reject(new TroupeError("ERR_UNSUPPORTED", "", { what: "answered" }))),
      ),
    )
    expect(await world.wait(asked[256]!)).toBe("ERR_BUSY")
    go.resolve()
    const others = await world.wait(Promise.all(asked.slice(0, 256)))
    expect(new Set(others)).toEqual(new Set(["ERR_UNSUPPORTED"]))
  })
}

function failures(check: Check): void {
  check("errors of the other side arrive as they were thrown", async (world) => {
    const [a, b] = await joined(world)
    b.handle("/troupe/ctl/1", async (_from, payload) => {
      if (payload.length > 0) throw new Error("a bug of ours")
      throw new TroupeError("ERR_NOT_LEADER", "not me", { leader: "b" })
    })
    const ask = (bytes: number) =>
      failure(
        a.request(refOf(b), "/troupe/ctl/1", new Uint8Array(bytes), { signal: world.limit() }),
      )
    const first = await world.wait(ask(0))
    expect(isTroupeError(first)).toBe(true)
    expect(first).toMatchObject({
      code: "ERR_NOT_LEADER",
      message: "not me",
      details: { leader: "b" },
    })
    const second = await world.wait(ask(1))
    expect(second).toMatchObject({
      code: "ERR_PROTOCOL",
      details: { where: "/troupe/ctl/1", reason: expect.stringContaining("a bug of ours") },
    })
  })

  check("what nobody serves is said to be not served", async (world) => {
    const [a, b] = await joined(world)
    const asked = a.request(refOf(b), "/troupe/join/1", new Uint8Array(1), {
      signal: world.limit(),
    })
    expect(await world.wait(codeOf(asked))).toBe("ERR_PROTOCOL")
  })

  check("an aborted request ends with the signal's reason, here and there", async (world) => {
    const [a, b] = await joined(world)
    const started = Promise.withResolvers<AbortSignal>()
    b.handle("/troupe/ctl/1", (_from, _payload, { signal }) => {
      started.resolve(signal)
      return new Promise<Uint8Array>((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(new Error("cancelled"))),
      )
    })
    const caller = new AbortController()
    const asked = failure(
      a.request(refOf(b), "/troupe/ctl/1", new Uint8Array(1), { signal: caller.signal }),
    )
    const there = await world.wait(started.promise)
    const over = new Promise<void>((resolve) => there.addEventListener("abort", () => resolve()))
    const reason = new Error("enough")
    caller.abort(reason)
    expect(await world.wait(asked)).toBe(reason)
    await world.wait(over)
  })

  check("a peer that ends in the middle leaves the outcome unknown", async (world) => {
    const [a, b] = await joined(world)
    const started = Promise.withResolvers<void>()
    b.handle("/troupe/ctl/1", () => {
      started.resolve()
      return new Promise<Uint8Array>(() => undefined)
    })
    const asked = failure(
      a.request(refOf(b), "/troupe/ctl/1", new Uint8Array(1), { signal: world.limit() }),
    )
    await world.wait(started.promise)
    await world.wait(b.stop())
    expect(await world.wait(asked)).toMatchObject({
      code: "ERR_PEER_UNREACHABLE",
      details: { peer: b.peerId, reason: "connection lost" },
    })
  })
}

function frames(check: Check): void {
  check("frames arrive in order, also those sent before there is a connection", async (world) => {
    const a = await world.mesh()
    const b = await world.mesh()
    const got: string[] = []
    const all = new Promise<void>((resolve) =>
      b.onFrame((from, frame) => {
        got.push(`${from} ${text(frame)}`)
        if (got.length === 500) resolve()
      }),
    )
    const sent = Array.from({ length: 500 }, (_, n) => `${n} ${"x".repeat(n)}`)
    for (const frame of sent) expect(a.sendFrame(refOf(b), encoder.encode(frame))).toBe(true)
    await world.wait(all)
    expect(got).toEqual(sent.map((frame) => `${a.peerId} ${frame}`))
  })

  check("a frame may have 4 MiB, as the codec of frames allows, and no more", async (world) => {
    const [a, b] = await joined(world)
    const came = new Promise<number>((resolve) =>
      b.onFrame((_from, frame) => resolve(frame.length)),
    )
    expect(a.sendFrame(refOf(b), new Uint8Array((4 << 20) + 1))).toBe(false)
    expect(a.sendFrame(refOf(b), new Uint8Array(4 << 20))).toBe(true)
    expect(await world.wait(came)).toBe(4 << 20)
  })

  check("frames for a peer that is away are dropped after a bounded number", async (world) => {
    const a = await world.mesh()
    const nobody = { peerId: unknownPeer, addresses: [world.gone] }
    let taken = 0
    while (a.sendFrame(nobody, new Uint8Array(1))) taken++
    expect(taken).toBe(4096)
  })
}

function ending(check: Check): void {
  check("a peer that ends is told apart from one that is only silent", async (world) => {
    const [a, b] = await joined(world)
    const gone = next(a, "disconnected")
    await world.wait(b.stop())
    expect(await world.wait(gone)).toEqual({ peerId: b.peerId, refused: true })
    expect(a.connectedPeers()).toEqual([])
  })

  check("after its end a mesh does nothing more, and can be ended again", async (world) => {
    const [a, b] = await joined(world)
    const ref = refOf(b)
    await world.wait(a.stop())
    await world.wait(a.stop())
    const asked = a.request(ref, "/troupe/ctl/1", new Uint8Array(1), { signal: world.limit() })
    expect(await world.wait(codeOf(asked))).toBe("ERR_STOPPED")
    expect(a.sendFrame(ref, new Uint8Array(1))).toBe(false)
    expect(a.connectedPeers()).toEqual([])
  })
}

/** The contract on the fake mesh, in virtual time, and what only it can show: cuts, silence, loss. */
import { expect, test } from "vitest"
import type { Mesh } from "../../../src/mesh/index.ts"
import { FakeNetwork, type FakeNetworkOptions } from "../../support/fake-mesh.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"
import { meshContract } from "./contract.ts"
import { next, refOf } from "./world.ts"

/** A small generator of its own, so that a run repeats (mulberry32). */
function dice(seed: number) {
  let state = seed
  const roll = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return { next: roll, bytes: (length: number) => Uint8Array.from({ length }, () => roll() * 256) }
}

function network(options: FakeNetworkOptions = {}) {
  const clock = new VirtualClock()
  const net = new FakeNetwork({ clock, random: dice(7) }, options)
  let count = 0
  const mesh = async (more: { seeds?: readonly string[]; mdns?: boolean } = {}): Promise<Mesh> => {
    count++
    const made = net.createMesh({
      peerId: `peer-${count}`,
      address: `/ip4/10.0.0.${count}/tcp/8771`,
      ...more,
    })
    await made.start()
    return made
  }
  const limit = () => clock.timeoutSignal(60_000, "a test")
  return { clock, net, mesh, limit }
}

meshContract("fake", async () => {
  const { clock, net, mesh, limit } = network()
  // A host that is up, with nobody listening.
  const absent = net.createMesh({ peerId: "absent", address: "/ip4/10.0.0.99/tcp/8771" })
  return {
    mesh,
    gone: absent.addresses()[0]!,
    wait: (work) => clock.drive(work),
    async steady(value) {
      await clock.pass(100)
      return value()
    },
    limit,
    close: async () => undefined,
  }
})

test("fake: a silent host is lost after a while, and not refused", async () => {
  const { clock, net, mesh, limit } = network()
  const [a, b] = [await mesh(), await mesh()]
  await clock.drive(a.connect(refOf(b), { signal: limit() }))
  const lost = [next(a, "disconnected"), next(b, "disconnected")]
  net.isolate(b.peerId)
  expect(await clock.drive(Promise.all(lost))).toEqual([
    { peerId: b.peerId, refused: false },
    { peerId: a.peerId, refused: false },
  ])
  expect(clock.boottime()).toBeGreaterThanOrEqual(5000)
  await expect(clock.drive(a.connect(refOf(b), { signal: limit() }))).rejects.toMatchObject({
    code: "ERR_PEER_UNREACHABLE",
  })
  net.heal()
  await clock.pass(1000)
  await clock.drive(a.connect(refOf(b), { signal: limit() }))
})

test("fake: a short cut only delays, in one direction alone", async () => {
  const { clock, net, mesh, limit } = network()
  const [a, b] = [await mesh(), await mesh()]
  await clock.drive(a.connect(refOf(b), { signal: limit() }))
  const [atA, atB]: [number[], number[]] = [[], []]
  a.onFrame((_from, frame) => atA.push(frame[0]!))
  b.onFrame((_from, frame) => atB.push(frame[0]!))
  net.cut(a.peerId, b.peerId)
  for (const n of [1, 2, 3]) {
    a.sendFrame(refOf(b), Uint8Array.of(n))
    b.sendFrame(refOf(a), Uint8Array.of(n))
  }
  await clock.pass(1000)
  expect([atA, atB]).toEqual([[1, 2, 3], []])
  net.heal(a.peerId, b.peerId)
  a.sendFrame(refOf(b), Uint8Array.of(4))
  await clock.pass(10)
  expect(atB).toEqual([1, 2, 3, 4])
})

test("fake: a killed process is refused, and a new one of the same peer is reached", async () => {
  const { clock, net, mesh, limit } = network()
  const [a, b] = [await mesh(), await mesh()]
  await clock.drive(a.connect(refOf(b), { signal: limit() }))
  const lost = next(a, "disconnected")
  net.kill(b.peerId)
  expect(await clock.drive(lost)).toEqual({ peerId: b.peerId, refused: true })
  const again = net.createMesh({ peerId: b.peerId, address: b.addresses()[0]! })
  await again.start()
  await clock.pass(200)
  await clock.drive(a.connect(refOf(again), { signal: limit() }))
  expect(again.connectedPeers()).toEqual([a.peerId])
})

test("fake: peers of one network find each other, whenever they start", async () => {
  const { clock, mesh } = network()
  const a = await mesh({ mdns: true })
  await clock.pass(3000)
  const found: string[] = []
  a.on("discovered", (peer) => found.push(peer.peerId))
  const b = await mesh({ mdns: true })
  expect((await clock.drive(next(b, "discovered"))).peerId).toBe(a.peerId)
  await clock.pass(10)
  expect(found).toEqual([b.peerId])
})

async function arrivalsWithLoss(frameLoss: number): Promise<number[]> {
  const { clock, mesh, limit } = network({ frameLoss })
  const [a, b] = [await mesh(), await mesh()]
  await clock.drive(a.connect(refOf(b), { signal: limit() }))
  const got: number[] = []
  b.onFrame((_from, frame) => got.push(frame[0]!))
  for (let n = 0; n < 100; n++) a.sendFrame(refOf(b), Uint8Array.of(n))
  await clock.pass(100)
  return got
}

test("fake: lost frames are lost by the dice, the same every time", async () => {
  const first = await arrivalsWithLoss(0.3)
  expect(first.length).toBeGreaterThan(40)
  expect(first.length).toBeLessThan(95)
  expect(await arrivalsWithLoss(0.3)).toEqual(first)
})

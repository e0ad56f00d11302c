/** What libp2p's own mesh says when a process dies, a connection breaks or a host falls silent; and about its port. */
import { createServer, connect, type Socket } from "node:net"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { createMesh, generateKey, type Mesh } from "../../../src/mesh/index.ts"
import { createClock, createRandom, silentLogger } from "../../../src/platform/index.ts"
import { TalkingProcess } from "../../support/processes.ts"
import { next, refOf } from "./world.ts"

const clock = createClock()
const parts = { clock, random: createRandom(), logger: silentLogger }
const program = join(import.meta.dirname, "../../support/mesh-process.ts")
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function mesh(listen = "/ip4/127.0.0.1/tcp/0", seeds: string[] = []): Promise<Mesh> {
  const options = { privateKey: generateKey(), cluster: "loss", seeds, mdns: false }
  const made = createMesh({ ...options, listen: [listen] }, parts)
  cleanups.push(() => made.stop())
  await made.start()
  return made
}

async function meshProcess(seeds: readonly string[] = []) {
  const options = { listen: ["/ip4/127.0.0.1/tcp/0"], cluster: "loss", seeds, mdns: false }
  const child = new TalkingProcess(process.execPath, [
    program,
    JSON.stringify({ ...options, joins: false }),
  ])
  cleanups.push(() => child.kill())
  const { peerId, addresses } = await child.hears(({ event }) => event === "started")
  return { child, ref: { peerId: String(peerId), addresses: addresses as string[] } }
}

const limit = () => clock.timeoutSignal(20_000, "a test")

test("kill -9 of a process that we dialled is refused", async () => {
  const a = await mesh()
  const { child, ref } = await meshProcess()
  await a.connect(ref, { signal: limit() })
  const lost = next(a, "disconnected")
  await child.kill("SIGKILL")
  expect(await lost).toEqual({ peerId: ref.peerId, refused: true })
})

test("kill -9 of a process that dialled us is refused too", async () => {
  const a = await mesh()
  const connected = next(a, "connected")
  const discovered = next(a, "discovered")
  const { child, ref } = await meshProcess(a.addresses())
  expect(await connected).toMatchObject({ peerId: ref.peerId, outbound: false })
  expect(await discovered).toEqual(ref)
  const lost = next(a, "disconnected")
  await child.kill("SIGKILL")
  expect(await lost).toEqual({ peerId: ref.peerId, refused: true })
})

test("a broken connection to a living process is not refused, and is made again on demand", async () => {
  const [a, b] = [await mesh(), await mesh()]
  b.handle("/troupe/ctl/1", async (_from, payload) => payload)
  const sockets = new Set<Socket>()
  const port = Number(/\/tcp\/(\d+)/.exec(b.addresses()[0]!)![1])
  const proxy = createServer((inbound) => {
    const outbound = connect(port, "127.0.0.1")
    for (const socket of [inbound, outbound]) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => sockets.delete(socket))
    }
    inbound.pipe(outbound).pipe(inbound)
  })
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve))
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => proxy.close(resolve))
  })
  const at = proxy.address() as { port: number }
  const ref = { peerId: b.peerId, addresses: [`/ip4/127.0.0.1/tcp/${at.port}`] }
  const ask = () => a.request(ref, "/troupe/ctl/1", Uint8Array.of(1), { signal: limit() })
  expect(await ask()).toEqual(Uint8Array.of(1))
  const lost = next(a, "disconnected")
  for (const socket of sockets) socket.resetAndDestroy()
  expect(await lost).toEqual({ peerId: b.peerId, refused: false })
  expect(await ask()).toEqual(Uint8Array.of(1))
})

test("a process that stands still is cut off after a while, and not refused", async () => {
  const a = await mesh()
  const { child, ref } = await meshProcess()
  await a.connect(ref, { signal: limit() })
  const lost = next(a, "disconnected")
  await child.kill("SIGSTOP")
  expect(await lost).toEqual({ peerId: ref.peerId, refused: false })
  await child.kill("SIGCONT")
  await a.request(ref, "/troupe/ctl/1", new Uint8Array(1), { signal: limit() })
})

test("two that dial each other at once have one connection", async () => {
  const pair = [await mesh(), await mesh()]
  const [low, high] = pair.toSorted((x, y) => (x.peerId < y.peerId ? -1 : 1)) as [Mesh, Mesh]
  const seen = [next(low, "connected"), next(high, "connected")]
  await Promise.all([
    low.connect(refOf(high), { signal: limit() }),
    high.connect(refOf(low), { signal: limit() }),
  ])
  expect(await Promise.all(seen)).toMatchObject([{ outbound: true }, { outbound: false }])
})

test("a seed that is ourselves is no seed", async () => {
  const first = await mesh()
  const address = first.addresses()[0]!
  await first.stop()
  const found: string[] = []
  const options = { privateKey: generateKey(), cluster: "loss", seeds: [address], mdns: false }
  const self = createMesh({ ...options, listen: [address] }, parts)
  cleanups.push(() => self.stop())
  self.on("discovered", (peer) => found.push(peer.peerId))
  await self.start()
  const other = await mesh("/ip4/127.0.0.1/tcp/0", [address])
  await next(other, "discovered")
  expect(found).not.toContain(self.peerId)
})

test("a port in use names the flag, and nothing stays behind", async () => {
  const a = await mesh()
  const taken = a.addresses()[0]!
  const [, port] = /\/tcp\/(\d+)/.exec(taken)!
  await expect(mesh(taken)).rejects.toMatchObject({
    code: "ERR_ADDRESS_IN_USE",
    details: { address: `127.0.0.1:${port}`, flag: "--listen" },
  })
})

test("mDNS does not start on loopback, and says why", async () => {
  const options = { privateKey: generateKey(), cluster: "loss", seeds: [], mdns: true }
  const made = createMesh({ ...options, listen: ["/ip4/127.0.0.1/tcp/0"] }, parts)
  cleanups.push(() => made.stop())
  await made.start()
  expect(made.discovery()).toMatchObject({
    mdns: "off",
    reason: expect.stringContaining("loopback"),
  })
})

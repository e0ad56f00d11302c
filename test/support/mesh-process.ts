/** A mesh in a process of its own, for tests that kill it, stop it or put it on another host. Speaks JSON lines:
 *  the options arrive as its argument, what happens goes to standard output. `say` on standard input makes it publish. */
import { createInterface } from "node:readline"
import { createMesh, generateKey, type MeshOptions } from "../../src/mesh/index.ts"
import { createClock, createRandom, silentLogger } from "../../src/platform/index.ts"

export type MeshProcessOptions = Omit<MeshOptions, "privateKey"> & {
  /** Connect to whatever is discovered. */
  readonly joins: boolean
}

const { joins, ...options } = JSON.parse(process.argv[2] ?? "{}") as MeshProcessOptions
const clock = createClock()
const parts = { clock, random: createRandom(), logger: silentLogger }
const mesh = createMesh({ ...options, privateKey: generateKey() }, parts)
const tell = (event: string, value: object = {}) =>
  process.stdout.write(`${JSON.stringify({ event, ...value })}\n`)

mesh.on("connected", (value) => tell("connected", value))
mesh.on("disconnected", (value) => tell("disconnected", value))
mesh.on("discovered", (peer) => {
  tell("discovered", peer)
  if (!joins) return
  mesh
    .connect(peer, { signal: clock.timeoutSignal(10_000, "connecting") })
    .catch((error: unknown) => tell("failed", { peerId: peer.peerId, error: String(error) }))
})
mesh.onFacts((from, facts) => tell("facts", { from, facts }))
mesh.handle("/troupe/ctl/1", async (_from, payload) => payload)
mesh.onFrame((from, frame) => mesh.sendFrame({ peerId: from, addresses: [] }, frame))
createInterface({ input: process.stdin }).on("line", (line) => mesh.publish({ line } as never))

await mesh.start()
tell("started", {
  peerId: mesh.peerId,
  addresses: mesh.addresses(),
  discovery: mesh.discovery(),
})

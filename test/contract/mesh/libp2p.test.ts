/** The contract on libp2p over loopback. */
import { createServer } from "node:net"
import { createMesh, generateKey, type Mesh } from "../../../src/mesh/index.ts"
import { createClock, createRandom, silentLogger } from "../../../src/platform/index.ts"
import { meshContract } from "./contract.ts"

const clock = createClock()
const parts = { clock, random: createRandom(), logger: silentLogger }

/** An address of this machine where nobody listens: one that was free a moment ago. */
async function freeAddress(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === "string") throw new Error("no port")
  return `/ip4/127.0.0.1/tcp/${address.port}`
}

meshContract("libp2p", async () => {
  const meshes: Mesh[] = []
  return {
    gone: await freeAddress(),
    async mesh({ seeds = [] } = {}) {
      const options = { privateKey: generateKey(), cluster: "contract", seeds, mdns: false }
      const mesh = createMesh({ ...options, listen: ["/ip4/127.0.0.1/tcp/0"] }, parts)
      meshes.push(mesh)
      await mesh.start()
      return mesh
    },
    wait: (work) => work,
    async steady(value) {
      for (let before = Number.NaN; ;) {
        const now = value()
        if (now === before) return now
        before = now
        await clock.sleep(200)
      }
    },
    limit: () => clock.timeoutSignal(20_000, "a test"),
    async close() {
      await Promise.all(meshes.map((mesh) => mesh.stop()))
    },
  }
})

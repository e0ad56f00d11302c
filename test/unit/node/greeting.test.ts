/** Who answers the mesh's first query before the node is ready is met all the same. */
import { expect, test } from "vitest"
import { Greeting } from "../../../src/node/greeting.ts"
import { timingFrom } from "../../../src/node/timing.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import type { Hello } from "../../../src/wire/index.ts"
import { FakeNetwork } from "../../support/fake-mesh.ts"
import { aDeclaration } from "../../support/plans.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

function greetingOf(clock: VirtualClock, mesh: ReturnType<FakeNetwork["createMesh"]>): Greeting {
  const hello: Hello = {
    cluster: "troupe",
    pristine: false,
    members: 0,
    declaration: aDeclaration({ peerId: mesh.peerId }),
    redirects: [],
    seekers: [],
  }
  return new Greeting({
    options: { timing: timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 }) },
    parts: { mesh, clock, logger: silentLogger },
    stopping: new AbortController().signal,
    hello: () => hello,
    known: () => undefined,
    hasLeader: () => false,
    isQuiet: () => false,
    heard: () => undefined,
    leaderless: () => undefined,
  })
}

test("a peer that was discovered between the mesh's start and the node's is approached at the start", async () => {
  const clock = new VirtualClock()
  const net = new FakeNetwork({ clock, random: new SeededRandom(1) })
  const place = (number: number): string => `/ip4/10.0.0.${number}/tcp/1`
  const other = net.createMesh({ peerId: "b", address: place(2), mdns: true })
  await other.start()
  // The lower id: the other side leaves the first dial to it.
  const mesh = net.createMesh({ peerId: "a", address: place(1), mdns: true })
  const greeting = greetingOf(clock, mesh)
  greeting.listen()
  await mesh.start()
  await clock.pass(100)
  expect(mesh.connectedPeers()).toEqual([])
  greeting.start()
  await clock.pass(100)
  expect(mesh.connectedPeers()).toEqual(["b"])
  greeting.stop()
})

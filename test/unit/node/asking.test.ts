/** A request that may have reached a leader stays unknown, whatever is answered afterwards. */
import { expect, test } from "vitest"
import { Asking } from "../../../src/node/asking.ts"
import { Changes } from "../../../src/node/changes.ts"
import { TroupeError } from "../../../src/schema/index.ts"
import { FakeNetwork } from "../../support/fake-mesh.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

const notLeader = new TroupeError("ERR_NOT_LEADER", "not the leader", { leader: undefined })
const unknown = new TroupeError("ERR_UNKNOWN_OUTCOME", "lost", { hint: "ask again" })

/** A node that asks a peer that answers so, one after another, the last one for ever. */
async function asked(answers: readonly TroupeError[], op = "submitRun"): Promise<unknown> {
  const clock = new VirtualClock()
  const net = new FakeNetwork({ clock, random: new SeededRandom(1) })
  const [entry, leader] = ["entry", "leader"].map((peerId, place) =>
    net.createMesh({ peerId, address: `/ip4/10.0.0.${place + 1}/tcp/1` }),
  )
  await Promise.all([entry!.start(), leader!.start()])
  let times = 0
  leader!.handle("/troupe/ctl/1", async () => {
    await Promise.resolve()
    throw answers[Math.min(times++, answers.length - 1)]!
  })
  const peer = { peerId: "leader", addresses: ["/ip4/10.0.0.2/tcp/1"] }
  const asking = new Asking({
    parts: { clock, mesh: entry! },
    changes: new Changes(clock),
    source: { here: () => undefined, leaderPeer: () => peer },
    holdMs: 2000,
  })
  const signal = clock.timeoutSignal(60_000, "the test")
  return await clock.drive(asking.call(op, {}, { signal })).then(
    () => "answered",
    (error: unknown) => (error as TroupeError).code,
  )
}

test("refused every time: certainly nothing happened", async () => {
  expect(await asked([notLeader])).toBe("ERR_NO_LEADER")
})

test("unknown once, refused from then on: still unknown", async () => {
  expect(await asked([unknown, notLeader])).toBe("ERR_UNKNOWN_OUTCOME")
  expect(await asked([notLeader, unknown, notLeader])).toBe("ERR_UNKNOWN_OUTCOME")
})

test("a leader that does not know this node any more: certainly nothing happened (seed 10)", async () => {
  const stranger = new TroupeError("ERR_FORBIDDEN", "members only", { what: "submitRun" })
  expect(await asked([stranger])).toBe("ERR_NO_LEADER")
  expect(await asked([unknown, stranger])).toBe("ERR_UNKNOWN_OUTCOME")
})

test("a run that is not found after an unknown try: the first one may find it yet (simulation, seed 331)", async () => {
  const notFound = new TroupeError("ERR_RUN_NOT_FOUND", "no such run", { run: "r-1" })
  expect(await asked([notFound], "cancelRun")).toBe("ERR_RUN_NOT_FOUND")
  expect(await asked([unknown, notFound], "cancelRun")).toBe("ERR_UNKNOWN_OUTCOME")
  expect(await asked([unknown, notFound], "getRun")).toBe("ERR_RUN_NOT_FOUND")
})

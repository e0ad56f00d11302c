/** Three hosts that found each other by mDNS: the leader dies, or loses its network, in every phase of a run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { ClusterStatus } from "../../src/schema/index.ts"
import {
  type Cluster,
  eventually,
  finished,
  get,
  type Node,
  runOf,
  startCluster,
  submit,
} from "./cluster.ts"
import { hasHosts } from "./hosts.ts"
import {
  checkBundle,
  downloadBundle,
  eventsOf,
  gatedRun,
  type Gates,
  makeGates,
  reached,
} from "./runs.ts"

/** Where a run is held (group phases) or waits (gates) so that the fault strikes in the phase. */
const phases: readonly { phase: string; hold?: string; shut?: "ready" | "client" | "stop" }[] = [
  { phase: "init", hold: "stage" },
  { phase: "stage", hold: "server_start" },
  { phase: "server_start", hold: "server_start" },
  { phase: "server_ready", shut: "ready" },
  { phase: "client_start", hold: "client_start" },
  { phase: "client_done", shut: "client" },
  { phase: "server_stop", shut: "stop" },
  { phase: "collect", hold: "collect" },
  { phase: "bundle", hold: "bundle" },
  { phase: "analyze", hold: "analyze" },
  { phase: "diff", hold: "diff" },
]

async function strike(leader: Node, fault: "kill" | "cut"): Promise<void> {
  if (fault === "kill") await leader.kill()
  else leader.host.cut()
}

describe.skipIf(!hasHosts)("a leader's death in every phase", () => {
  let cluster: Cluster
  let baseline: Buffer
  const gates: Gates[] = []

  function openGates(except?: string): Gates {
    const made = makeGates()
    gates.push(made)
    for (const gate of ["ready", "client", "stop"] as const) if (gate !== except) made.open(gate)
    return made
  }

  beforeAll(async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
    const run = await submit(
      cluster.nodes[0]!,
      await gatedRun(cluster.nodes[0]!, { label: "baseline", gates: openGates() }),
    )
    const view = await finished(cluster.nodes[0]!, run.id)
    expect(view.verdict).toBe("succeeded")
    baseline = await downloadBundle(cluster.nodes[0]!, run.id)
    await checkBundle(baseline)
  })

  afterAll(async () => {
    await cluster.end()
    for (const gate of gates) gate.remove()
  })

  async function heal(leader: Node, fault: "kill" | "cut"): Promise<void> {
    if (fault === "kill") leader.start()
    else leader.host.heal()
    await Promise.all(cluster.nodes.map((node) => cluster.survives(1, node)))
  }

  for (const fault of ["kill", "cut"] as const) {
    test.each(phases)(`${fault} in $phase`, async ({ phase, hold, shut }) => {
      const leader = await cluster.leader()
      const entry = cluster.nodes.find((node) => node !== leader)!
      const others = cluster.nodes.filter((node) => node !== leader)
      const gate = openGates(shut)
      cluster.hold(hold)
      const label = `${fault}-${phase}`
      const run = await submit(
        entry,
        await gatedRun(entry, { label, gates: gate, baseline, on: others }),
      )
      // A hold shows the phase that cannot begin; before anything is assigned that is still `init`.
      await eventually(`${label} to be under way`, async () => {
        const { phase: now } = await runOf(entry, run.id)
        return now === phase || now === (hold ?? phase) ? now : undefined
      })

      try {
        await strike(leader, fault)
        if (phase !== "server_start" && phase !== "client_start") await cluster.leader(others)
        cluster.hold(undefined)
        if (shut) gate.open(shut)

        const view = await finished(entry, run.id, 90_000)
        expect(view.verdict, view.reason).toBe("succeeded")
        const files = await checkBundle(await downloadBundle(entry, run.id))
        expect(files).toContain("roles/client/result.txt")
        expect(files).toContain("analysis/diff.json")
      } finally {
        cluster.hold(undefined)
        await heal(leader, fault)
      }
      const agreed = await eventually("the old leader to know the end", async () => {
        const seen = await runOf(leader, run.id)
        return seen.state === "finished" ? seen : undefined
      })
      expect(agreed.verdict).toBe("succeeded")
      const ends = (await eventsOf(leader, run.id)).filter((event) => event.type === "run-finished")
      expect(ends).toHaveLength(1)
    })
  }

  test("afterwards all three agree on term, leader and log", async () => {
    await cluster.survives(1)
    await eventually("agreement", async () => {
      const views = await Promise.all(
        cluster.nodes.map((node) => get<ClusterStatus>(node, "/cluster/status")),
      )
      const [first] = views
      const same = views.every(
        (view) =>
          view.term === first!.term &&
          view.leader === first!.leader &&
          view.applied === first!.applied,
      )
      return same || undefined
    })
  })

  test("a run is held where it is told to", async () => {
    cluster.hold("collect")
    const [entry] = cluster.nodes
    const run = await submit(entry!, await gatedRun(entry!, { label: "held", gates: openGates() }))
    await reached(entry!, run.id, "collect")
    cluster.hold(undefined)
    expect((await finished(entry!, run.id)).verdict).toBe("succeeded")
  })
})

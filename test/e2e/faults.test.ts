/** Three real nodes through what happens to machines: two die at once, all lose power, a disk is wiped, one is stopped. */
import { rmSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { ClusterStatus, HealthView } from "../../src/schema/index.ts"
import { type Cluster, eventually, finished, get, runOf, startCluster, submit } from "./cluster.ts"
import { hasHosts } from "./hosts.ts"
import { checkBundle, downloadBundle, gatedRun, type Gates, makeGates } from "./runs.ts"

describe.skipIf(!hasHosts)("what happens to machines", () => {
  let cluster: Cluster
  const gates: Gates[] = []

  function gatesShut(...shut: readonly ("ready" | "client" | "stop")[]): Gates {
    const made = makeGates()
    gates.push(made)
    for (const gate of ["ready", "client", "stop"] as const) {
      if (!shut.includes(gate)) made.open(gate)
    }
    return made
  }

  beforeAll(async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
  })

  afterAll(async () => {
    await cluster.end()
    for (const gate of gates) gate.remove()
  })

  async function allAgree(): Promise<void> {
    await Promise.all(cluster.nodes.map((node) => cluster.survives(1, node)))
  }

  test("a run accepted at a follower ends although leader and entry node are killed", async () => {
    const leader = await cluster.leader()
    const entry = cluster.nodes.find((node) => node !== leader)!
    const third = cluster.nodes.find((node) => node !== leader && node !== entry)!
    const gate = gatesShut("client")
    const request = await gatedRun(entry, { label: "both-killed", gates: gate, on: [third, third] })
    const run = await submit(entry, request)
    await eventually("the client to run", async () => {
      const { phase } = await runOf(third, run.id)
      return phase === "client_done" || undefined
    })
    await Promise.all([leader.kill(), entry.kill()])
    // One of three: honest about it, and the job goes on.
    const alone = await eventually("the last one to say that it has no leader", async () => {
      const health = await get<HealthView>(third, "/health")
      return health.status === "no-leader" ? health : undefined
    })
    expect(alone.survives).toBe(0)
    gate.open("client")
    leader.start()
    const view = await finished(third, run.id)
    expect(view.verdict, view.reason).toBe("succeeded")
    await checkBundle(await downloadBundle(third, run.id))
    entry.start()
    await allAgree()
  })

  test("a power cut of everything: what was accepted goes on where it was", async () => {
    const [entry] = cluster.nodes
    const gate = gatesShut("client")
    const run = await submit(entry!, await gatedRun(entry!, { label: "power-cut", gates: gate }))
    await eventually("the client to run", async () => {
      const { phase } = await runOf(entry!, run.id)
      return phase === "client_done" || undefined
    })
    await Promise.all(cluster.nodes.map((node) => node.kill()))
    gate.open("client")
    for (const node of cluster.nodes) node.start()
    await allAgree()
    const view = await finished(entry!, run.id)
    expect(view.verdict, view.reason).toBe("succeeded")
    expect(view.tasks.every((task) => task.attempts.length === 1)).toBe(true)
    await checkBundle(await downloadBundle(entry!, run.id))
  })

  test("the same key is the same run, at any node and across a change of leader", async () => {
    const leader = await cluster.leader()
    const others = cluster.nodes.filter((node) => node !== leader)
    const request = await gatedRun(others[0]!, { label: "keyed", gates: gatesShut() })
    const first = await submit(others[0]!, request, "one-key")
    await leader.kill()
    const second = await submit(others[1]!, request, "one-key")
    expect(second.id).toBe(first.id)
    leader.start()
    await allAgree()
    await finished(others[0]!, first.id)
  })

  test("SIGTERM hands leadership over before it leaves", async () => {
    const leader = await cluster.leader()
    const other = cluster.nodes.find((node) => node !== leader)!
    await leader.stop()
    const status = await get<ClusterStatus>(other, "/cluster/status")
    expect(status.leader).not.toBe(leader.name)
    expect(status.leader).toBeDefined()
    leader.start()
    await allAgree()
  })

  test("a follower whose data directory was deleted comes back as a new member and takes a vote again", async () => {
    const leader = await cluster.leader()
    const wiped = cluster.nodes.find((node) => node !== leader)!
    const before = await get<ClusterStatus>(leader, "/cluster/status")
    const old = before.nodes.find((node) => node.member.name === wiped.name)!.member
    const run = await submit(
      leader,
      await gatedRun(leader, { label: "before-wipe", gates: gatesShut() }),
    )
    await finished(leader, run.id)
    await wiped.kill()
    rmSync(wiped.data, { recursive: true, force: true })
    wiped.start()
    const after = await eventually("a new voter in the place of the old one", async () => {
      const status = await get<ClusterStatus>(leader, "/cluster/status")
      const member = status.nodes.find(
        (node) => node.member.name === wiped.name && node.member.id !== old.id,
      )?.member
      return member?.role === "voter" ? status : undefined
    })
    expect(after.nodes.filter((node) => node.member.role === "voter")).toHaveLength(3)
    await cluster.survives(1, leader)
    await eventually("the old member to be gone from the list", async () => {
      const status = await get<ClusterStatus>(leader, "/cluster/status")
      return status.nodes.every((node) => node.member.id !== old.id) || undefined
    })
    const seen = await runOf(wiped, run.id)
    expect(seen.verdict).toBe("succeeded")
  })
})

/** What somebody does to a working cluster by hand, and how clusters begin: transfer, remove, expect, mDNS. */
import { afterEach, describe, expect, test } from "vitest"
import type { ClusterStatus, HealthView } from "../../src/schema/index.ts"
import {
  type Cluster,
  eventually,
  finished,
  get,
  type Node,
  startCluster,
  submit,
} from "./cluster.ts"
import { typed } from "./hand.ts"
import { hasHosts } from "./hosts.ts"

function document(label: string, agent: string, command: string): string {
  return `api_version: v1\nrun_id: ${label}\nroles:\n  only:\n    agent: ${agent}\n    command: [sh, -c, '${command}']\n`
}

async function status(node: Node): Promise<ClusterStatus> {
  return await get<ClusterStatus>(node, "/cluster/status")
}

async function one(nodes: readonly Node[], voters: number): Promise<ClusterStatus> {
  return await eventually(`one cluster of ${nodes.length}`, async () => {
    const all = await Promise.all(nodes.map(status))
    const [first] = all
    const isOne = all.every(
      ({ clusterId, nodes: seen, leader }) =>
        clusterId === first!.clusterId && seen.length === nodes.length && leader !== undefined,
    )
    return isOne && first!.voters.length === voters ? first : undefined
  })
}

describe.skipIf(!hasHosts)("by hand", () => {
  let cluster: Cluster | undefined

  afterEach(async () => {
    await cluster?.end()
    cluster = undefined
  })

  test("transfer waits and says who leads; remove takes a live node out, and it stays out", async () => {
    cluster = await startCluster(4)
    await one(cluster.nodes, 3)
    const leader = await cluster.leader()
    const [entry] = cluster.nodes
    const { voters } = await status(entry!)
    const to = voters.find((name) => name !== leader.name)!
    const moved = await typed(entry!, "cluster", "transfer", to, "-o", "json")
    expect([moved.code, JSON.parse(moved.stdout)]).toEqual([
      0,
      expect.objectContaining({ kind: "LeaderTransferred", from: leader.name, leader: to }),
    ])
    expect((await cluster.leader()).name).toBe(to)
    const worker = cluster.nodes.find(({ name }) => !voters.includes(name))!
    const refused = await typed(entry!, "cluster", "transfer", worker.name)
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining("only a voter can lead"),
    ])
    const unknown = await typed(entry!, "cluster", "remove", "nobody")
    expect(unknown.code).toBe(2)

    // A voter that lives and works: its place is taken, its run is settled, it stays out.
    const victim = cluster.nodes.find(({ name }) => voters.includes(name) && name !== to)!
    const rest = cluster.nodes.filter((node) => node !== victim)
    const running = await submit(rest[0]!, {
      document: document("on-victim", victim.name, "sleep 600"),
      analyze: false,
    })
    await eventually("its job to run", async () => {
      const run = await get<{ phase: string }>(rest[0]!, `/v1/runs/${running.id}`)
      return run.phase.startsWith("only") || run.phase.startsWith("client") || undefined
    })
    const removed = await typed(rest[0]!, "cluster", "remove", victim.name)
    expect(removed.code, removed.stderr).toBe(0)
    const view = await finished(rest[0]!, running.id)
    expect(view.verdict).not.toBe("succeeded")
    const three = await one(rest, 3)
    expect(three.voters).toContain(worker.name)
    const gone = await eventually("it to know", async () => {
      const health = await get<HealthView>(victim, "/health")
      return health.status === "joining" ? health : undefined
    })
    expect(gone.status).toBe("joining")
    await victim.kill()
    victim.start()
    await new Promise((resolve) => setTimeout(resolve, 5000))
    expect((await one(rest, 3)).nodes.map(({ member }) => member.name)).not.toContain(victim.name)
    const alone = await eventually(
      "it to be up",
      async () => await get<HealthView>(victim, "/health"),
    )
    expect(alone.status).toBe("joining")
  })

  test("expect 3: two found nothing, three found one", async () => {
    cluster = await startCluster(3, { flags: { expect: "3" }, started: 2 })
    const [first, second, third] = cluster.nodes
    const alone = async (): Promise<string[]> =>
      await Promise.all([first!, second!].map(async (node) => (await status(node)).clusterId))
    await eventually("both to be up", alone)
    await new Promise((resolve) => setTimeout(resolve, 5000))
    expect(await alone()).toEqual(["", ""])
    third!.start()
    await one(cluster.nodes, 3)
  })

  test.each([
    [2, 1],
    [4, 3],
  ])("%i nodes started at once on one network are one cluster", async (count, voters) => {
    cluster = await startCluster(count)
    await one(cluster.nodes, voters)
  })
})

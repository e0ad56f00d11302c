/** Most voters lost for good: the last copy becomes the cluster, by hand, and who comes back joins it empty. */
import { existsSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, test } from "vitest"
import type { ClusterStatus, HealthView, ReplicaView } from "../../src/schema/index.ts"
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

const document = "api_version: v1\nroles:\n  only:\n    command: [sh, -c, 'echo hello']\n"

async function run(node: Node, label: string): Promise<string> {
  const text = document.replace("roles:", `run_id: ${label}\nroles:`)
  const { id } = await submit(node, { document: text, analyze: false })
  const view = await finished(node, id)
  expect(view.verdict, view.reason).toBe("succeeded")
  return id
}

function wipe(node: Node): void {
  rmSync(node.data, { recursive: true, force: true })
}

async function members(node: Node, count: number): Promise<ClusterStatus> {
  return await eventually(`${count} nodes at ${node.name}`, async () => {
    const status = await get<ClusterStatus>(node, "/cluster/status")
    const isThere = status.nodes.filter(({ state }) => state === "connected").length === count
    return status.leader !== undefined && isThere ? status : undefined
  })
}

describe.skipIf(!hasHosts)("cluster recover", () => {
  let cluster: Cluster | undefined

  afterEach(async () => {
    await cluster?.end()
    cluster = undefined
  })

  test("of three nodes two are lost: the third goes on, has its runs, and one of the lost comes back empty", async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
    const leader = await cluster.leader()
    const [survivor, returning] = cluster.nodes.filter((node) => node !== leader)
    const before = await run(survivor!, "before")
    const { clusterId } = await get<ClusterStatus>(survivor!, "/cluster/status")
    await Promise.all([leader.kill(), returning!.kill()])
    wipe(leader)
    const said = await eventually("it to say what can be done", async () => {
      const health = await get<HealthView>(survivor!, "/health")
      return health.status === "no-leader" ? health : undefined
    })
    expect(said.problems.join("\n")).toContain("troupe cluster recover")

    const running = await typed(survivor!, "cluster", "recover", "--data", survivor!.data, "--yes")
    expect(running.code).not.toBe(0)
    await survivor!.stop()
    const unasked = await typed(survivor!, "cluster", "recover", "--data", survivor!.data)
    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining("--yes")])
    const done = await typed(survivor!, "cluster", "recover", "--data", survivor!.data, "--yes")
    expect(done.code, done.stderr).toBe(0)
    expect(done.stderr).toContain("(this)")

    survivor!.start()
    const alone = await members(survivor!, 1)
    expect(alone).toMatchObject({ incarnation: 1, role: "voter" })
    expect(alone.clusterId).not.toBe(clusterId)
    expect((await finished(survivor!, before)).verdict).toBe("succeeded")
    const after = await run(survivor!, "after")

    // Its old files are put aside, and it is somebody new.
    returning!.start()
    await members(survivor!, 2)
    const back = await get<ReplicaView>(returning!, "/v1/cluster/replica")
    expect(back.clusterId).toBe(alone.clusterId)
    expect(readdirSync(join(returning!.data, "archive"))).toContain(clusterId)
    leader.start()
    await members(survivor!, 3)
    await cluster.survives(1, survivor)
    for (const node of [returning!, leader]) {
      expect((await finished(node, before)).verdict).toBe("succeeded")
      expect((await finished(node, after)).verdict).toBe("succeeded")
    }
    await run(leader, "all-three")
  })

  test("of two nodes the voter is lost: the standby goes on only when it is recovered", async () => {
    cluster = await startCluster(2)
    const [first] = cluster.nodes
    await members(first!, 2)
    const leader = await cluster.leader()
    const survivor = cluster.nodes.find((node) => node !== leader)!
    const before = await run(leader, "before")
    await eventually("its copy", async () => {
      const here = await get<ReplicaView>(survivor, "/v1/cluster/replica")
      const there = await get<ReplicaView>(leader, "/v1/cluster/replica")
      return (here.hasLog && here.lastIndex === there.lastIndex) || undefined
    })
    // As long as the leader runs there is nothing to recover.
    await survivor.stop()
    const words = ["cluster", "recover", "--data", survivor.data, "--yes", "--peer", leader.api]
    const refused = await typed(survivor, ...words)
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining("the cluster works"),
    ])
    survivor.start()
    await members(leader, 2)

    await leader.kill()
    wipe(leader)
    const silent = await eventually("it to be without a leader", async () => {
      const health = await get<HealthView>(survivor, "/health")
      return health.status === "no-leader" ? health : undefined
    })
    expect(silent.survives).toBe(0)
    await survivor.stop()
    const done = await typed(survivor, "cluster", "recover", "--data", survivor.data, "--yes")
    expect(done.code, done.stderr).toBe(0)
    expect(existsSync(join(survivor.data, "recovering"))).toBe(false)
    survivor.start()
    await members(survivor, 1)
    expect((await finished(survivor, before)).verdict).toBe("succeeded")
    await run(survivor, "after")
    leader.start()
    await members(survivor, 2)
  })
})

/** Disks that are not what their nodes left: a flipped bit in a voter's log, and a copy put in the place of the original. */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { ClusterStatus, Member } from "../../src/schema/index.ts"
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
import { typed } from "./hand.ts"
import { hasHosts } from "./hosts.ts"

const document = "api_version: v1\nroles:\n  only:\n    command: [sh, -c, 'echo hello']\n"

async function run(node: Node): Promise<string> {
  const { id } = await submit(node, { document, analyze: false })
  const view = await finished(node, id)
  expect(view.verdict, view.reason).toBe("succeeded")
  return id
}

async function membersAt(node: Node): Promise<readonly Member[]> {
  const { nodes } = await get<ClusterStatus>(node, "/cluster/status")
  return nodes.map(({ member }) => member)
}

/** Three voters, one of which is this node under another id than before. */
async function isAnother(seenBy: Node, node: Node, before: number): Promise<Member> {
  return await eventually(`${node.name} as another voter than ${before}`, async () => {
    const members = await membersAt(seenBy)
    const own = members.find(({ name, id }) => name === node.name && id !== before)
    const voters = members.filter(({ role }) => role === "voter")
    const isGone = members.every(({ id }) => id !== before)
    return isGone && voters.length === 3 && own?.role === "voter" ? own : undefined
  })
}

/** In the middle of what was written: behind it the segment is zeros. */
function flipBit(node: Node): void {
  const directory = join(node.data, "raft", "wal")
  const segments = readdirSync(directory).filter((name) => name !== "spare")
  const newest = join(directory, segments.toSorted().at(-1)!)
  const bytes = readFileSync(newest)
  const end = bytes.findLastIndex((byte) => byte !== 0)
  expect(end).toBeGreaterThan(0)
  bytes[Math.floor(end / 2)]! ^= 0x10
  writeFileSync(newest, bytes)
}

describe.skipIf(!hasHosts)("a voter's disk", () => {
  let cluster: Cluster
  let leader: Node
  let victim: Node

  beforeAll(async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
    leader = await cluster.leader()
    victim = cluster.nodes.find((node) => node !== leader)!
  })

  afterAll(async () => {
    await cluster.end()
  })

  async function stopped(): Promise<number> {
    const members = await membersAt(leader)
    await victim.stop()
    return members.find(({ name }) => name === victim.name)!.id
  }

  test("with a flipped bit in its log is put in quarantine; its node is a voter again, as another member", async () => {
    const before = await run(victim)
    const id = await stopped()
    flipBit(victim)
    victim.start()
    const own = await isAnother(leader, victim, id)
    expect(own.id).toBeGreaterThan(id)
    const { clusterId } = await get<ClusterStatus>(leader, "/cluster/status")
    const kept = join(victim.data, "quarantine", `${clusterId}-${id}`)
    expect(readdirSync(join(kept, "raft", "wal"))).not.toEqual([])
    expect((await runOf(victim, before)).verdict).toBe("succeeded")
    await cluster.survives(1, leader)
    await run(victim)
  })

  test("put back as a copy is no member: its node does not start, and says what to do, which helps", async () => {
    const before = await run(victim)
    const id = await stopped()
    const [copy, away] = [`${victim.data}.copy`, `${victim.data}.away`]
    execFileSync("cp", ["-a", victim.data, copy])
    renameSync(victim.data, away)
    renameSync(copy, victim.data)
    const { address } = victim.host
    const words = ["--name", victim.name, "--data", victim.data, "--insecure"]
    const where = ["--listen", address, "--api", `${address}:8770`]
    const refused = await typed(victim, "node", "start", ...words, ...where)
    expect(refused.code, refused.stderr).toBe(74)
    expect(refused.stderr).toMatch(/was copied .*empty --data directory.*new member/s)
    rmSync(victim.data, { recursive: true })
    rmSync(away, { recursive: true })
    victim.start()
    await isAnother(leader, victim, id)
    expect((await runOf(victim, before)).verdict).toBe("succeeded")
  })
})

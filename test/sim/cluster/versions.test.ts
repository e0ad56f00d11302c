/** Clusters of builds of different versions, whole nodes in virtual time (C-48). */
import { expect, test } from "vitest"
import { knownVersions, versionsOf } from "../../../src/schema/index.ts"
import type { ClusterRow } from "../../../src/state/index.ts"
import { submit } from "../../unit/node/formed.ts"
import { leads } from "./roles.ts"
import type { Machine } from "./machine.ts"
import { agreed, formed, membersOf, runsOf, sameTables } from "./verify.ts"
import { World } from "./world.ts"

const { newest } = knownVersions
const old = { oldest: 1, newest: 1 }
const limitMs = 60_000

function world(size: number, isOld: (number: number) => boolean, seed = 1): World {
  const made = new World({ seed })
  for (let number = 1; number <= size; number++) {
    const seeds = Array.from({ length: number - 1 }, (_, place) => place + 1)
    const limits = { snapshotBytes: 8 << 10, entriesKept: 10 }
    const machine = made.add({ number, seeds, limits })
    if (isOld(number)) machine.versions = old
    machine.start()
  }
  return made
}

function versionAt(machine: Machine): number | undefined {
  const row = machine.replicated?.rows.get("cluster")
  return row === undefined ? undefined : ((JSON.parse(row) as ClusterRow).version ?? 1)
}

async function works(cluster: World, machine: Machine, key: string): Promise<void> {
  const answer = submit(cluster, machine, key)
  await cluster.until(`${key} acknowledged`, limitMs, () => answer.run !== undefined)
  await cluster.until(`${key} finished`, limitMs, () => {
    const leader = cluster.machines.find(leads)
    const run = leader && runsOf(leader).find(({ id }) => id === answer.run)
    return run?.state === "finished"
  })
}

async function upgrade(cluster: World, machine: Machine): Promise<void> {
  await cluster.clock.drive(machine.stop())
  machine.versions = undefined
  await cluster.pass(500)
  machine.start()
  await cluster.until(`one cluster after ${machine.name}`, limitMs, () => formed(cluster))
}

async function healthOf(cluster: World, machine: Machine): Promise<string> {
  const health = await cluster.clock.drive(machine.node!.health())
  return health.notes.join("\n")
}

test("C-48: one old voter keeps the cluster at version 1, and it works; upgraded, it is raised", async () => {
  const cluster = world(3, (number) => number === 1)
  await cluster.until("one cluster", limitMs, () => formed(cluster))
  await works(cluster, cluster.machines[0]!, "first")
  await cluster.pass(10_000)
  for (const machine of cluster.machines) expect(versionAt(machine)).toBe(1)
  const leader = cluster.machines.find(leads)!
  if (leader !== cluster.machines[0]) {
    expect(await healthOf(cluster, leader)).toContain("stays at 1")
  }

  await upgrade(cluster, cluster.machines[0]!)
  await cluster.until("the newest version everywhere", limitMs, () =>
    cluster.machines.every((machine) => versionAt(machine) === newest),
  )
  await works(cluster, cluster.machines[2]!, "second")
  const last = await cluster.until("agreement", limitMs, () => {
    const found = formed(cluster)
    return found && agreed(cluster, found) && found
  })
  sameTables(cluster, last)
  const members = membersOf(last)
  expect(members.map(versionsOf)).toEqual(members.map(() => knownVersions))
  expect(members.every(({ labels }) => !("troupe.versions" in labels))).toBe(true)
})

test.each([1, 2, 3])("C-48: a rolling upgrade of three loses no run (seed %d)", async (seed) => {
  const cluster = world(3, () => true, seed)
  await cluster.until("one cluster", limitMs, () => formed(cluster))
  const answers = cluster.machines.map((machine, place) => submit(cluster, machine, `key-${place}`))
  for (const [place, machine] of cluster.machines.entries()) {
    answers.push(submit(cluster, cluster.machines[(place + 1) % 3]!, `during-${place}`))
    await upgrade(cluster, machine)
    expect(versionAt(machine)).toBe(place < 2 ? 1 : versionAt(machine))
  }
  await cluster.until("the newest version", limitMs, () =>
    cluster.machines.every((machine) => versionAt(machine) === newest),
  )
  await cluster.until("all finished", limitMs, () => {
    const leader = cluster.machines.find(leads)
    const runs = leader ? runsOf(leader) : []
    return runs.length === answers.length && runs.every(({ verdict }) => verdict === "succeeded")
  })
})

test("C-48: after the raise an older build ends with 76 and the others go on; put right, it comes back", async () => {
  const cluster = world(3, () => false)
  await cluster.until("one cluster", limitMs, () => formed(cluster))
  await cluster.until("the newest version", limitMs, () =>
    cluster.machines.every((machine) => versionAt(machine) === newest),
  )
  const follower = cluster.machines.find((machine) => !leads(machine))!
  follower.mayEndWith.add(76)
  follower.kill()
  follower.versions = old
  follower.start()
  await cluster.until("its end", limitMs, () => follower.ended.length > 0)
  expect(follower.ended[0]!.code).toBe(76)
  expect(follower.running).toBe(false)
  await works(cluster, cluster.machines.find(leads)!, "without it")
  follower.versions = undefined
  follower.start()
  const leader = await cluster.until("agreement", limitMs, () => {
    const found = formed(cluster)
    return found && agreed(cluster, found) && found
  })
  sameTables(cluster, leader)
})

test("C-48: a joining node that lacks the active version works but is no voter, and health says why", async () => {
  const cluster = world(1, () => false)
  await cluster.until(
    "the newest version",
    limitMs,
    () => versionAt(cluster.machines[0]!) === newest,
  )
  for (const number of [2, 3]) {
    const machine = cluster.add({ number, seeds: [1] })
    machine.versions = old
    machine.start()
  }
  await cluster.until("three members", limitMs, () => membersOf(cluster.machines[0]!).length === 3)
  await cluster.pass(15_000)
  const roles = membersOf(cluster.machines[0]!).map(({ role }) => role)
  expect(roles).toEqual(["voter", "worker", "worker"])
  expect(await healthOf(cluster, cluster.machines[0]!)).toContain(
    `n2 understands versions 1 to 1, this cluster is at ${newest}`,
  )
  await works(cluster, cluster.machines[1]!, "from a worker")
  for (const machine of cluster.machines.slice(1)) await upgrade2(cluster, machine)
  await cluster.until("three voters", limitMs, () => formed(cluster))
})

async function upgrade2(cluster: World, machine: Machine): Promise<void> {
  await cluster.clock.drive(machine.stop())
  machine.versions = undefined
  machine.start()
  await cluster.pass(2000)
}

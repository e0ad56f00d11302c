/** Recoveries by hand: C-46 and C-47. A new incarnation is another cluster to all who were in the old one. */
import { expect, test } from "vitest"
import { inspectReplica } from "../../../src/node/index.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { createFakeStorage } from "../../support/fake-storage.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { leads } from "../../sim/cluster/roles.ts"
import { agreed, formed, membersOf, runsOf, sameTables } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"
import { formCluster, submit } from "./formed.ts"
import { recoverMachine } from "../../sim/cluster/recovered.ts"

const minute = 60_000

async function accepted(world: World, machine: Machine, key: string): Promise<string> {
  await world.until(`${machine.name} to lead`, minute, () => leads(machine))
  const answer = submit(world, machine, key)
  return await world.until(`${key} to be accepted`, minute, () => answer.run)
}

function others(world: World, machine: Machine): Machine[] {
  return world.machines.filter((one) => one !== machine)
}

async function notesOf(world: World, machine: Machine): Promise<string> {
  const { problems, notes } = await world.clock.drive(machine.node!.health())
  return [...problems, ...notes].join("\n")
}

function keysOf(machine: Machine): string[] {
  return runsOf(machine).map(({ key = "" }) => key)
}

async function threeOfWhichOneIsLeft(): Promise<{
  world: World
  survivor: Machine
  lost: Machine[]
}> {
  const { world, leader } = await formCluster(3)
  const survivor = others(world, leader)[0]!
  await accepted(world, leader, "before")
  await world.until("all to have it", minute, () => agreed(world, leader))
  const lost = others(world, survivor)
  return { world, survivor, lost }
}

test("C-47: the last of three goes on with its runs; the others come back empty, by themselves, as new members", async () => {
  const { world, survivor, lost } = await threeOfWhichOneIsLeft()
  const old = survivor.replicated!.clusterId
  const oldIds = membersOf(survivor).map(({ id }) => id)
  const { index } = survivor.replicated!
  for (const machine of lost) machine.kill()
  survivor.kill()
  const clusterId = await recoverMachine(world, survivor)
  expect(clusterId).not.toBe(old)
  survivor.start()
  await world.until("it to lead", minute, () => leads(survivor))
  expect(membersOf(survivor)).toHaveLength(1)
  expect(keysOf(survivor)).toEqual(["before"])
  const after = await accepted(world, survivor, "after")
  // No number of the lost incarnation is given again, however far it came.
  expect(Number(after.slice(2))).toBeGreaterThan(index + 100_000)
  lost[0]!.start()
  await world.until("one to be back", minute, () => membersOf(survivor).length === 2)
  lost[1]!.start()
  const leader = await world.until("three voters", 2 * minute, () => formed(world))
  expect(leader.replicated!.clusterId).toBe(clusterId)
  const ids = membersOf(leader).map(({ id }) => id)
  expect(ids.filter((id) => oldIds.includes(id))).toEqual([survivor.replicated!.memberId])
  await world.until("all to agree", minute, () => agreed(world, leader))
  sameTables(world, leader)
  expect(keysOf(leader).toSorted()).toEqual(["after", "before"])
})

test("C-47: old members that come back together, with a majority of their own, give way if they accepted nothing since", async () => {
  const { world, survivor, lost } = await threeOfWhichOneIsLeft()
  for (const machine of world.machines) machine.kill()
  const clusterId = await recoverMachine(world, survivor)
  survivor.start()
  await accepted(world, survivor, "after")
  world.net.partition(
    [survivor.peerId],
    lost.map(({ peerId }) => peerId),
  )
  for (const machine of lost) machine.start()
  await world.until("the old ones to lead themselves", minute, () => lost.some(leads))
  world.net.heal()
  const leader = await world.until("one cluster", 2 * minute, () => formed(world))
  expect(leader.replicated!.clusterId).toBe(clusterId)
  expect(keysOf(leader).toSorted()).toEqual(["after", "before"])
})

test("C-46: what an old majority accepted after the fork does not disappear: both stay, and both say so", async () => {
  const { world, survivor, lost } = await threeOfWhichOneIsLeft()
  const old = survivor.replicated!.clusterId
  survivor.kill()
  const clusterId = await recoverMachine(world, survivor)
  // The others were not lost at all.
  const leader = await world.until("another leader", minute, () => lost.find(leads))
  await accepted(world, leader, "there")
  survivor.start()
  await accepted(world, survivor, "here")
  await world.pass(2 * minute)
  expect(lost.map(({ replicated }) => replicated!.clusterId)).toEqual([old, old])
  expect(survivor.replicated!.clusterId).toBe(clusterId)
  expect(keysOf(leader).toSorted()).toEqual(["before", "there"])
  expect(keysOf(survivor).toSorted()).toEqual(["before", "here"])
  expect(await notesOf(world, leader)).toContain(survivor.name)
  expect(await notesOf(world, survivor)).toMatch(/accepted work .*n[0-9]/)
})

test("C-47: two recoveries on two nodes are two incarnations that never mix, and both say so", async () => {
  const { world, survivor, lost } = await threeOfWhichOneIsLeft()
  const second = lost[0]!
  for (const machine of world.machines) machine.kill()
  const one = await recoverMachine(world, survivor, "0000000a")
  const other = await recoverMachine(world, second, "0000000b")
  expect(one).not.toBe(other)
  survivor.start()
  second.start()
  await world.until("both to lead", minute, () => leads(survivor) && leads(second))
  await world.pass(minute)
  expect(survivor.replicated!.clusterId).toBe(one)
  expect(second.replicated!.clusterId).toBe(other)
  expect(membersOf(survivor)).toHaveLength(1)
  expect(membersOf(second)).toHaveLength(1)
  expect(await notesOf(world, survivor)).toContain(second.name)
  expect(await notesOf(world, second)).toContain(survivor.name)
})

test("a job that ran on the recovered node is adopted; one on a lost node is settled", async () => {
  const world = new World({ seed: 3, script: () => ({ durationMs: 20_000 }) })
  for (const number of [1, 2, 3]) {
    const seeds = [1, 2, 3].filter((other) => other < number)
    world.add({ number, seeds }).start()
  }
  const leader = await world.until("one cluster", minute, () => formed(world))
  const survivor = others(world, leader)[0]!
  const on = async (machine: Machine, key: string): Promise<string> => {
    const answer = submit(world, leader, key, machine.name)
    return await world.until(`${key} accepted`, minute, () => answer.run)
  }
  const here = await on(survivor, "here")
  const there = await on(leader, "there")
  await world.until("both to run", minute, () =>
    [survivor, leader].every(({ keeper }) => keeper.starts.length === 1),
  )
  await world.until("all to have it", minute, () => agreed(world, leader))
  for (const machine of world.machines) machine.kill()
  await recoverMachine(world, survivor)
  survivor.start()
  const verdictOf = (id: string) => runsOf(survivor).find((run) => run.id === id)?.verdict
  await world.until("both verdicts", 2 * minute, () => verdictOf(here) && verdictOf(there))
  expect(verdictOf(here)).toBe("succeeded")
  expect(verdictOf(there)).toBe("lost")
  expect(survivor.keeper.starts.filter(({ task }) => task === "only")).toHaveLength(1)
})

test("what the log holds beyond its commit is kept: it may have been accepted", async () => {
  const { world, leader } = await formCluster(2)
  const standby = others(world, leader)[0]!
  await accepted(world, leader, "before")
  // Acknowledged with two copies; the standby has not heard of the commit.
  world.net.cut(leader.peerId, standby.peerId)
  await world.pass(10)
  for (const machine of world.machines) machine.kill()
  await recoverMachine(world, standby)
  standby.start()
  await world.until("it to lead", minute, () => leads(standby))
  expect(keysOf(standby)).toEqual(["before"])
})

async function isOnlyVoter(machine: Machine): Promise<boolean> {
  const storage = createFakeStorage(machine.disk)
  const { identity } = await storage.identity.open()
  const inspected = await inspectReplica(identity!, { ...storage, logger: silentLogger })
  await storage.log.close()
  await storage.tables.close()
  return inspected.isOnlyVoter
}

test("who votes alone needs no recovery: the sole node of a cluster, and one that was just recovered", async () => {
  const { world, survivor } = await threeOfWhichOneIsLeft()
  for (const machine of world.machines) machine.kill()
  expect(await world.clock.drive(isOnlyVoter(survivor))).toBe(false)
  await recoverMachine(world, survivor)
  survivor.start()
  await world.until("it to lead", minute, () => leads(survivor))
  await accepted(world, survivor, "after")
  survivor.kill()
  expect(await world.clock.drive(isOnlyVoter(survivor))).toBe(true)
})

test("the standby of two does not vote: it can be recovered", async () => {
  const { world, leader } = await formCluster(2)
  await accepted(world, leader, "before")
  await world.until("both to have it", minute, () => agreed(world, leader))
  for (const machine of world.machines) machine.kill()
  expect(await world.clock.drive(isOnlyVoter(leader))).toBe(true)
  expect(await world.clock.drive(isOnlyVoter(others(world, leader)[0]!))).toBe(false)
})

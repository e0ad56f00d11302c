/** Snapshots between whole nodes: who lags too far, or is new, is caught up by one and agrees. */
import { expect, test } from "vitest"
import type { Machine } from "../../sim/cluster/machine.ts"
import { agreed, formed, membersOf, runsOf, sameTables } from "../../sim/cluster/verify.ts"
import type { World } from "../../sim/cluster/world.ts"
import { createFakeStorage } from "../../support/fake-storage.ts"
import { formCluster, submit } from "./formed.ts"

const minute = 60_000
const limits = { snapshotBytes: 2 << 10, entriesKept: 5 }

async function runs(world: World, machine: Machine, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const answer = submit(world, machine, `${machine.name}-${number}-${world.clock.boottime()}`)
    await world.until("an answer", minute, () => answer.run)
  }
}

/** What lies on a machine's disk. */
async function snapshotIndex(world: World, machine: Machine): Promise<number> {
  const mark = await world.clock.drive(createFakeStorage(machine.disk).snapshots.latest())
  return mark?.index ?? 0
}

async function settled(world: World): Promise<Machine> {
  return await world.until("all finished, all agree", 2 * minute, () => {
    const leader = formed(world)
    if (!leader || !agreed(world, leader)) return undefined
    return runsOf(leader).every(({ state }) => state === "finished") ? leader : undefined
  })
}

test("a follower that lags behind the log's beginning gets a snapshot", async () => {
  const { world, leader } = await formCluster(3, limits)
  const lagging = world.machines.find((machine) => machine !== leader)!
  lagging.kill()
  const before = lagging.replicated
  expect(before).toBeUndefined()
  await runs(world, leader, 6)
  const sent = await snapshotIndex(world, leader)
  expect(sent).toBeGreaterThan(20)
  lagging.start()
  const found = await settled(world)
  sameTables(world, found)
  expect(await snapshotIndex(world, lagging)).toBeGreaterThanOrEqual(sent)
  await runs(world, lagging, 1)
})

test("a new standby gets a snapshot as the first thing it hears", async () => {
  const { world, leader } = await formCluster(1, limits)
  await runs(world, leader, 6)
  expect(await snapshotIndex(world, leader)).toBeGreaterThan(20)
  const others = [2, 3].map((number) => world.add({ number, seeds: [1], limits }))
  for (const machine of others) machine.start()
  const found = await settled(world)
  sameTables(world, found)
  for (const machine of others) expect(await snapshotIndex(world, machine)).toBeGreaterThan(20)
  expect(membersOf(found).map(({ role }) => role)).toEqual(["voter", "voter", "voter"])
})

test("a receiver that is killed at any moment of a snapshot is caught up after its restart", async () => {
  for (let atMs = 0; atMs < 90; atMs += 6) {
    const { world, leader } = await formCluster(3, limits)
    const lagging = world.machines.find((machine) => machine !== leader)!
    lagging.kill()
    await runs(world, leader, 3)
    lagging.start()
    await world.pass(atMs)
    lagging.kill()
    await world.pass(30)
    lagging.start()
    sameTables(world, await settled(world))
  }
})

test("a sender that is killed in the middle leaves nobody waiting", async () => {
  for (let atMs = 10; atMs < 90; atMs += 8) {
    const { world, leader } = await formCluster(3, limits)
    const lagging = world.machines.find((machine) => machine !== leader)!
    lagging.kill()
    await runs(world, leader, 3)
    lagging.start()
    await world.pass(atMs)
    leader.kill()
    await world.pass(2000)
    leader.start()
    sameTables(world, await settled(world))
  }
})

/** Nodes of unlike speed: timeouts that are agreed on bring no false election; timeouts that are each one's own would. */
import { expect, test } from "vitest"
import { formCluster } from "../../unit/node/formed.ts"
import { gauge, leads } from "./roles.ts"
import type { Machine } from "./machine.ts"
import type { World } from "./world.ts"

function term(machine: Machine): number {
  return gauge(machine, "troupe_raft_term") ?? 0
}

function timeoutMs(machine: Machine): number {
  return Math.round(1000 * (gauge(machine, "troupe_raft_election_timeout_seconds") ?? 0))
}

/** Its probe says so. */
function slow(machine: Machine, p99Ms: number): void {
  machine.loopDelay = { p50Ms: 1, p99Ms, maxMs: 2 * p99Ms, worstMs: 2 * p99Ms }
}

/** It stands still for up to `ms` at a time, again and again, for a minute. */
async function minuteOfStalls(world: World, machine: Machine, ms: number): Promise<void> {
  const dice = world.random.fork()
  const end = world.clock.boottime() + 60_000
  while (world.clock.boottime() < end) {
    machine.pause()
    await world.pass(dice.between(ms >> 1, ms))
    machine.resume()
    await world.pass(dice.between(100, 400))
  }
}

test("a slow leader is waited for by quick followers", async () => {
  const { world, leader } = await formCluster(3)
  const before = term(leader)
  slow(leader, 140)
  await world.pass(4000)
  expect(world.machines.map(timeoutMs)).toEqual([1400, 1400, 1400])
  // Six times its p99 at once.
  await minuteOfStalls(world, leader, 840)
  expect(term(leader)).toBe(before)
  expect(leads(leader)).toBe(true)
})

test("the same stalls unseat a leader that nobody was told of", async () => {
  const { world, leader } = await formCluster(3)
  const before = term(leader)
  await world.pass(4000)
  await minuteOfStalls(world, leader, 840)
  expect(Math.max(...world.machines.map(term))).toBeGreaterThan(before)
})

test("a slow follower makes all wait, and is not voted for or against meanwhile", async () => {
  const { world, leader } = await formCluster(3)
  const before = term(leader)
  const follower = world.machines.find((machine) => machine !== leader)!
  slow(follower, 140)
  await world.pass(4000)
  expect(world.machines.map(timeoutMs)).toEqual([1400, 1400, 1400])
  await minuteOfStalls(world, follower, 840)
  expect(term(leader)).toBe(before)
})

test("the reason names the node, and all is as configured again when it is quick for two minutes", async () => {
  const { world, leader } = await formCluster(3)
  const follower = world.machines.find((machine) => machine !== leader)!
  slow(follower, 140)
  await world.pass(4000)
  const health = await world.clock.drive(leader.node!.health())
  expect(health.electionReason).toBe(`10 × p99 loop delay of ${follower.name} 140 ms`)
  expect(health.nodes.map((node) => node.vitals?.electionMs)).toEqual([1400, 1400, 1400])
  slow(follower, 1)
  await world.pass(125_000)
  expect(world.machines.map(timeoutMs)).toEqual([500, 500, 500])
})

test("a change of leader does not forget what was needed", async () => {
  const { world, leader } = await formCluster(3)
  const others = world.machines.filter((machine) => machine !== leader)
  slow(others[0]!, 140)
  await world.pass(4000)
  leader.kill()
  await world.until("another leader", 10_000, () => others.find(leads))
  expect(others.map(timeoutMs)).toEqual([1400, 1400])
})

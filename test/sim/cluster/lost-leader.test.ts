/** The lost-leader hint in whole clusters (DESIGN.md §5.6): quick when the process is gone, and never an election else. */
import { expect, test } from "vitest"
import { formCluster } from "../../unit/node/formed.ts"
import { gauge, leads } from "./roles.ts"
import type { Machine } from "./machine.ts"
import type { World } from "./world.ts"

function term(machine: Machine): number {
  return gauge(machine, "troupe_raft_term") ?? 0
}

function sumOf(machines: readonly Machine[], name: string): number {
  return machines.reduce((sum, machine) => sum + (gauge(machine, name) ?? 0), 0)
}

async function formedOf(
  size: number,
): Promise<{ world: World; leader: Machine; others: Machine[] }> {
  const { world, leader } = await formCluster(size)
  await world.pass(2000)
  return { world, leader, others: world.machines.filter((machine) => machine !== leader) }
}

test("the process is killed: its host refuses, and the next one leads within 100 ms", async () => {
  const { world, leader, others } = await formedOf(3)
  const at = world.clock.boottime()
  leader.kill()
  await world.until("another leader", 1000, () => others.find(leads))
  // Looked at every 50 ms; the shortest election timeout would be 500.
  expect(world.clock.boottime() - at).toBeLessThanOrEqual(100)
  expect(sumOf(others, "troupe_raft_leader_hints_total")).toBeGreaterThan(0)
  expect(sumOf(others, "troupe_raft_leader_hints_false_total")).toBe(0)
})

test("the host falls silent: nobody refuses, so the timeout finds it, and nothing sooner", async () => {
  const { world, leader, others } = await formedOf(3)
  const at = world.clock.boottime()
  world.net.isolate(leader.peerId)
  const next = await world.until("another leader", 5000, () => others.find(leads))
  expect(world.clock.boottime() - at).toBeGreaterThan(400)
  expect(world.clock.boottime() - at).toBeLessThan(1500)
  expect(sumOf(others, "troupe_raft_leader_hints_total")).toBe(0)
  expect(leads(next)).toBe(true)
})

test("links that flap for a minute bring no hint and no new term", async () => {
  const { world, leader, others } = await formedOf(3)
  const before = term(leader)
  const dice = world.random.fork()
  const end = world.clock.boottime() + 60_000
  while (world.clock.boottime() < end) {
    const [one, other] = dice.chance(0.7) ? [leader, dice.pick(others)] : [others[0]!, others[1]!]
    world.net.reset(one.peerId, other.peerId)
    await world.pass(dice.between(5, 150))
  }
  expect(term(leader)).toBe(before)
  expect(leads(leader)).toBe(true)
  expect(sumOf(others, "troupe_raft_leader_hints_total")).toBe(0)
  expect(sumOf(others, "troupe_raft_elections_total")).toBe(0)
})

test("a pruned connection of both followers at once is no hint either", async () => {
  const { world, leader, others } = await formedOf(3)
  const before = term(leader)
  for (let round = 0; round < 50; round++) {
    for (const other of others) world.net.reset(leader.peerId, other.peerId)
    await world.pass(200)
  }
  expect(term(leader)).toBe(before)
  expect(sumOf(others, "troupe_raft_leader_hints_total")).toBe(0)
})

test("refused though the leader lives: one follower asks in vain, the voter that hears the leader refuses", async () => {
  const { world, leader, others } = await formedOf(3)
  const before = term(leader)
  const [deceived] = others
  for (let round = 0; round < 20; round++) {
    world.net.refuse(deceived!.peerId, leader.peerId)
    await world.pass(1000)
    expect(term(leader)).toBe(before)
    expect(leads(leader)).toBe(true)
  }
  // One hint a term, however often it is refused.
  expect(gauge(deceived!, "troupe_raft_leader_hints_total")).toBe(1)
  expect(gauge(deceived!, "troupe_raft_leader_hints_false_total")).toBe(1)
  expect(gauge(deceived!, "troupe_raft_leader_id")).toBe(gauge(leader, "troupe_raft_leader_id"))
})

test("another boot answers at the leader's address: the followers do not wait for their timeout", async () => {
  const { world, leader, others } = await formedOf(3)
  const at = world.clock.boottime()
  // Its host says nothing of the end of the process: the connection just breaks, and the new one is there.
  for (const other of others) {
    world.net.cut(leader.peerId, other.peerId)
    world.net.cut(other.peerId, leader.peerId)
  }
  leader.kill()
  leader.start()
  world.net.heal()
  for (const other of others) world.net.reset(leader.peerId, other.peerId)
  await world.until("another leader", 2000, () => others.find(leads))
  expect(world.clock.boottime() - at).toBeLessThan(400)
})

test("SIGTERM: the next one leads before the process has gone", async () => {
  const { world, leader, others } = await formedOf(3)
  const stopped = leader.stop()
  await world.clock.drive(stopped)
  expect(others.filter(leads)).toHaveLength(1)
})

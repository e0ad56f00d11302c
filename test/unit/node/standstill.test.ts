/** C-45: what a process does after it stood still (SIGSTOP, a sleeping laptop, a long collection). */
import { expect, test } from "vitest"
import { sessionPrefix } from "../../../src/state/index.ts"
import { gauge, leads } from "../../sim/cluster/roles.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { formCluster, submit } from "./formed.ts"

function term(machine: Machine): number {
  return gauge(machine, "troupe_raft_term") ?? 0
}

/** Sessions that the tables call lost. */
function lostSessions(machine: Machine): number {
  const rows = [...(machine.replicated?.rows ?? [])]
  return rows.filter(([key, value]) => key.startsWith(sessionPrefix) && value.includes('"lost"'))
    .length
}

test("a follower that slept follows on: no campaign, no new term", async () => {
  const { world, leader } = await formCluster(3)
  const before = term(leader)
  const sleeper = world.machines.find((machine) => machine !== leader)!
  for (const ms of [300, 700, 2000, 4500]) {
    sleeper.pause()
    await world.pass(ms)
    sleeper.resume()
    await world.pass(3000)
    expect(term(leader), `after ${ms} ms`).toBe(before)
    expect(leads(leader)).toBe(true)
    expect(gauge(sleeper, "troupe_raft_pre_votes_total"), `after ${ms} ms`).toBe(0)
  }
  expect(gauge(sleeper, "troupe_stalls_total")).toBe(4)
})

test("a leader that slept for a moment leads on, and takes nobody's session for lost", async () => {
  // Two nodes: the sleeper is the only voter, so nobody can replace it meanwhile.
  const { world, leader } = await formCluster(2)
  const before = term(leader)
  leader.pause()
  await world.pass(30_000)
  leader.resume()
  await world.pass(10_000)
  expect(leads(leader)).toBe(true)
  expect(term(leader)).toBe(before)
  expect(lostSessions(leader)).toBe(0)
  const answer = submit(world, leader, "after")
  await world.until("an acknowledgement", 10_000, () => answer.run)
})

test("a leader that slept too long answers no read from before, and steps down", async () => {
  const { world, leader } = await formCluster(3)
  const others = world.machines.filter((machine) => machine !== leader)
  const first = submit(world, leader, "first")
  const run = await world.until("an acknowledgement", 10_000, () => first.run)
  // Under way when it falls asleep.
  const signal = world.clock.timeoutSignal(60_000, "a read")
  const read = leader.node!.getRun(run, { signal })
  leader.pause()
  const next = await world.until("another leader", 10_000, () => others.find(leads))
  const second = submit(world, next, "second")
  await world.until("a second acknowledgement", 10_000, () => second.run)
  leader.resume()
  // It is asked again of who leads now.
  expect((await world.clock.drive(read)).id).toBe(run)
  await world.pass(2000)
  expect(leads(leader)).toBe(false)
  expect(leads(next)).toBe(true)
  expect(gauge(leader, "troupe_raft_leader_id")).toBe(gauge(next, "troupe_raft_leader_id"))
})

test("a write that was under way when the process slept does not make its disk look hung", async () => {
  const { world, leader } = await formCluster(3)
  const follower = world.machines.find((machine) => machine !== leader)!
  for (let round = 0; round < 5; round++) {
    submit(world, leader, `key-${round}`)
    await world.pass(3)
    follower.pause()
    await world.pass(3000)
    follower.resume()
    await world.pass(2000)
  }
  expect(gauge(follower, "troupe_disk_stalls_total")).toBe(0)
})

/** C-24: a leader whose disk hangs does not stay in office, whatever its clients ask of it. */
import { expect, test } from "vitest"
import { gauge, leads } from "../../sim/cluster/roles.ts"
import { formCluster, slowDisk, submit } from "./formed.ts"

test("it hands over after one election timeout, and counts the stall", async () => {
  const { world, leader } = await formCluster(3)
  await world.pass(2000)
  const others = world.machines.filter((machine) => machine !== leader)
  slowDisk(leader, 3_600_000)
  submit(world, leader, "first")
  const at = world.clock.boottime()
  await world.until("another leader", 5000, () => others.find(leads))
  // 500 ms of waiting, and a hand-over; an election by timeout would be over after 1000 to 1500.
  expect(world.clock.boottime() - at).toBeLessThanOrEqual(700)
  expect(leads(leader)).toBe(false)
  expect(gauge(leader, "troupe_disk_stalls_total")).toBe(1)
})

test("reads do not keep it in office", async () => {
  const { world, leader } = await formCluster(3)
  await world.pass(2000)
  const others = world.machines.filter((machine) => machine !== leader)
  slowDisk(leader, 3_600_000)
  submit(world, leader, "first")
  // Every read asks for a round of heartbeats.
  const asking = world.clock.every(90, () => {
    const signal = world.clock.timeoutSignal(1000, "a read")
    leader.node!.listRuns({ limit: 1 }, { signal }).catch(() => undefined)
  })
  await world.until("another leader", 5000, () => others.find(leads))
  await world.pass(1000)
  asking.cancel()
  expect(leads(leader)).toBe(false)
})

test("the only voter has nobody to hand over to: it waits, and goes on when its disk does", async () => {
  const { world, leader } = await formCluster(1)
  slowDisk(leader, 4000)
  const answer = submit(world, leader, "late")
  await world.pass(3000)
  expect(leads(leader)).toBe(true)
  await world.until("an acknowledgement", 60_000, () => answer.run)
  expect(leads(leader)).toBe(true)
})

test("a disk that is slow, but not that slow, changes nothing", async () => {
  const { world, leader } = await formCluster(3)
  await world.pass(2000)
  const term = gauge(leader, "troupe_raft_term")
  slowDisk(leader, 300)
  for (let round = 0; round < 5; round++) {
    const answer = submit(world, leader, `key-${round}`)
    await world.until("an acknowledgement", 20_000, () => answer.run)
  }
  expect(gauge(leader, "troupe_raft_term")).toBe(term)
  expect(gauge(leader, "troupe_disk_stalls_total")).toBe(0)
})

/** What a node promises about its disk: nothing is acknowledged before it is durable, errors end it, stalls depose it. */
import { expect, test } from "vitest"
import { leads } from "../../sim/cluster/roles.ts"
import { formCluster, slowDisk, submit } from "./formed.ts"

test("C-22, B-08: nothing is acknowledged while its write is under way", async () => {
  const { world, leader } = await formCluster(1)
  slowDisk(leader, 10_000)
  const answer = submit(world, leader, "slow")
  await world.pass(9000)
  expect(answer.run).toBeUndefined()
  await world.pass(12_000)
  expect(answer.run).toBeDefined()
})

test("C-23, B-29: a sync that failed ends the node with 74, and nothing was acknowledged", async () => {
  const { world, leader } = await formCluster(1)
  leader.disk.failsNextSync = true
  const answer = submit(world, leader, "failed")
  // Not world.pass(): it would end with what we wait for.
  await world.clock.pass(5000)
  expect(leader.fatal).toMatchObject([{ code: 74, error: { code: "ERR_STORAGE" } }])
  expect(answer.run).toBeUndefined()
})

test("C-24, B-27: a leader whose disk hangs does not lead on, nor again", async () => {
  const { world, leader } = await formCluster(3)
  const others = world.machines.filter((machine) => machine !== leader)
  slowDisk(leader, 3_600_000)
  submit(world, others[0]!, "first")
  await world.until("another leader", 10_000, () => others.find(leads))
  const second = submit(world, others[0]!, "second")
  await world.until("an acknowledgement", 10_000, () => second.run)
  await world.pass(20_000)
  expect(leads(leader)).toBe(false)
})

test("C-26, B-25: tables without their log are no member: the node says so and does not vote", async () => {
  const { world, leader } = await formCluster(1)
  const answer = submit(world, leader, "kept")
  await world.until("an acknowledgement", 10_000, () => answer.run)
  await world.clock.drive(leader.stop())
  leader.disk.removeDirectory("/raft/wal")
  // With the note that there was a log: then only the tables know.
  leader.disk.removeDirectory("/identity")
  leader.start()
  await expect(world.pass(1000)).rejects.toMatchObject({ code: "ERR_LOG_CORRUPT" })
})

test("C-28, B-23: the mark of a snapshot waits for the rows that it speaks of", async () => {
  // A snapshot after every entry; the world compares the rows at every mark.
  const { world, leader } = await formCluster(1, { snapshotBytes: 1, entriesKept: 2 })
  const answers = ["a", "b", "c"].map((key) => submit(world, leader, key))
  await world.until("three acknowledgements", 20_000, () =>
    answers.every(({ run }) => run !== undefined),
  )
  await world.pass(2000)
  leader.kill()
  leader.start()
  await world.until("the same leader", 20_000, () => leads(leader))
  const rows = [...leader.replicated!.rows.keys()]
  expect(rows.filter((key) => key.startsWith("run/"))).toHaveLength(3)
})

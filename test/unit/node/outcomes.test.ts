/** What a client is told when its leader is lost: C-21, C-43, C-44. */
import { expect, test } from "vitest"
import { isTroupeError, SubmitRun } from "../../../src/schema/index.ts"
import { leads } from "../../sim/cluster/roles.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { agreed, formed, runsOf } from "../../sim/cluster/verify.ts"
import type { World } from "../../sim/cluster/world.ts"
import { formCluster, submit } from "./formed.ts"

const limitMs = 60_000
const document = "api_version: v1\nroles:\n  only:\n    command: [work]\n"

const index = (id: string): number => Number(id.slice(2))

function cutOff(world: World, leader: Machine): void {
  const others = world.machines.filter((machine) => machine !== leader)
  world.net.partition(
    [leader.peerId],
    others.map(({ peerId }) => peerId),
  )
}

async function calm(world: World): Promise<Machine> {
  world.net.heal()
  return await world.until("agreement", limitMs, () => {
    const found = formed(world)
    return found && agreed(world, found) && found
  })
}

test("C-21: a submission whose leader is lost is unknown, not failed, and its key finds out", async () => {
  const { world, leader } = await formCluster(3)
  cutOff(world, leader)
  const signal = world.clock.timeoutSignal(limitMs, "a submission")
  const caller = { principal: "anonymous", key: "lost" }
  let told: unknown
  leader.node!.submitRun(SubmitRun.parse({ document }), caller, { signal }).then(
    ({ run }) => (told = run.id),
    (error: unknown) => (told = error),
  )
  // Long enough for the leader to see that it leads nobody, and for its caller to be told.
  await world.until("an answer", limitMs, () => told !== undefined)
  expect(isTroupeError(told) && told.code).toBe("ERR_UNKNOWN_OUTCOME")
  const after = await calm(world)
  const before = runsOf(after).filter(({ key }) => key === "lost")
  expect(before.length).toBeLessThanOrEqual(1)
  const again = submit(world, world.machines[1]!, "lost")
  await world.until("an acknowledgement", limitMs, () => again.run)
  const runs = runsOf(await calm(world)).filter(({ key }) => key === "lost")
  expect(runs.map(({ id }) => id)).toEqual([again.run])
  if (before[0]) expect(again.run).toBe(before[0].id)
})

test("C-44: what a deposed leader has computed and not committed becomes nobody's entry", async () => {
  const { world, leader } = await formCluster(3)
  cutOff(world, leader)
  const other = world.machines.find((machine) => machine !== leader)!
  // The old leader appends it, places it on itself, and cannot commit it.
  const lost = submit(world, leader, "computed")
  await world.pass(100)
  await world.until("another leader", limitMs, () =>
    world.machines.some((machine) => machine !== leader && leads(machine)),
  )
  const kept = submit(world, other, "meanwhile")
  await world.until("an acknowledgement", limitMs, () => kept.run)
  const after = await calm(world)
  await world.pass(10_000)
  const runs = runsOf(after)
  // If it was asked again, then of the new leader: behind what that one had accepted first.
  for (const { key, id } of runs) {
    if (key === "computed") expect(index(id)).toBeGreaterThan(index(kept.run!))
  }
  expect(runs.filter(({ key }) => key === "computed").length).toBeLessThanOrEqual(1)
  if (lost.run !== undefined) expect(runs.map(({ id }) => id)).toContain(lost.run)
})

test("C-43: a node that got its rows by snapshot knows every key that was used before", async () => {
  const { world, leader } = await formCluster(3, { snapshotBytes: 1, entriesKept: 1 })
  const first = submit(world, leader, "once")
  await world.until("an acknowledgement", limitMs, () => first.run)
  const follower = world.machines.find((machine) => !leads(machine))!
  follower.kill()
  for (const key of ["a", "b", "c"]) {
    const answer = submit(world, leader, key)
    await world.until(key, limitMs, () => answer.run)
  }
  await world.pass(5000)
  follower.start()
  await calm(world)
  // The one that caught up by a snapshot leads now, and is asked again.
  const others = world.machines.filter((machine) => machine !== follower)
  for (const machine of others) machine.kill()
  others.find((machine) => machine !== leader)!.start()
  await world.until("a leader", limitMs, () => world.machines.some(leads))
  leader.start()
  await calm(world)
  const again = submit(world, follower, "once")
  await world.until("an answer", limitMs, () => again.run)
  expect(again.run).toBe(first.run)
})

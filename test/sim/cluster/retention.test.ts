/** Retention by whole nodes: runs and keys go when their time has come, everywhere alike, and nothing else does. */
import { expect, test } from "vitest"
import { defaultRetention } from "../../../src/node/options.ts"
import { submit } from "../../unit/node/formed.ts"
import { leads } from "./roles.ts"
import { agreed, formed, runsOf, sameTables } from "./verify.ts"
import { World } from "./world.ts"

const limitMs = 60_000

async function cluster(retention: Partial<typeof defaultRetention>): Promise<World> {
  const world = new World({ seed: 3 })
  for (let number = 1; number <= 3; number++) {
    const seeds = Array.from({ length: number - 1 }, (_, place) => place + 1)
    const kept = { ...defaultRetention, ...retention }
    world.add({ number, seeds, timing: { retainMs: 3000 }, retention: kept }).start()
  }
  await world.until("one cluster", limitMs, () => formed(world))
  return world
}

async function finished(world: World, key: string): Promise<string> {
  const answer = submit(world, world.machines[0]!, key)
  await world.until(`${key} finished`, limitMs, () => {
    const leader = world.machines.find(leads)
    return (
      leader && runsOf(leader).some(({ id, state }) => id === answer.run && state === "finished")
    )
  })
  return answer.run!
}

const ids = (world: World): string[] =>
  runsOf(world.machines.find(leads)!)
    .map(({ id }) => id)
    .toSorted()

const rowKeys = (world: World, part: string): string[] =>
  [...world.machines.find(leads)!.replicated!.rows.keys()].filter((key) => key.includes(part))

test("beyond the number that is kept the oldest go with all their rows; a pinned one stays", async () => {
  const world = await cluster({ runsMax: 2 })
  const runs: string[] = []
  for (let number = 0; number < 3; number++) runs.push(await finished(world, `key-${number}`))
  const signal = world.clock.timeoutSignal(limitMs, "a pin")
  const leader = world.machines.find(leads)!
  // The first is gone, or will be; the second is kept by hand.
  await world.clock.drive(
    leader.node!.pinRun(runs[1]!, true, { principal: "anonymous" }, { signal }),
  )
  for (let number = 3; number < 6; number++) runs.push(await finished(world, `key-${number}`))
  const kept = [runs[1]!, runs[4]!, runs[5]!].toSorted()
  await world.until("three runs", limitMs, () => ids(world).join() === kept.join())
  await world.until("nothing left of the others", limitMs, () => {
    const part = `${runs[0]!.slice(2).padStart(16, "0")}.000`
    return rowKeys(world, part).length === 0
  })
  expect(rowKeys(world, "waste/")).toEqual([])
  // Keys stay: nothing is run twice because its run was forgotten.
  expect(rowKeys(world, "key/")).toHaveLength(6)
  const again = submit(world, leader, "key-0")
  await world.pass(2000)
  expect(again.run).toBeUndefined()
  const found = await world.until("agreement", limitMs, () => {
    const one = formed(world)
    return one && agreed(world, one) && one
  })
  sameTables(world, found)
})

test("runs and keys go by age", async () => {
  const world = await cluster({ runsMs: 20_000, keysMs: 40_000 })
  const run = await finished(world, "old")
  expect(ids(world)).toEqual([run])
  await world.until("no run", limitMs, () => ids(world).length === 0)
  expect(rowKeys(world, "key/")).toHaveLength(1)
  await world.until("no key", limitMs, () => rowKeys(world, "key/").length === 0)
  expect(await finished(world, "old")).not.toBe(run)
})

test("DESIGN §5.5: a leader whose clock is far from its voters' lets nothing expire, and says so", async () => {
  const world = await cluster({ runsMs: 3_600_000 })
  const run = await finished(world, "kept")
  const leader = world.machines.find(leads)!
  leader.skewMs = 24 * 3_600_000
  await world.pass(20_000)
  expect(leads(leader)).toBe(true)
  expect(ids(world)).toEqual([run])
  const health = await world.clock.drive(leader.node!.health())
  expect([...health.problems, ...health.notes].join("\n")).toMatch(
    /clock of n\d is 86400 s ahead of its voters'/,
  )
  leader.skewMs = 0
  await world.pass(20_000)
  expect(ids(world)).toEqual([run])
})

test("what was finished is read after it has left memory, at every node", async () => {
  const world = await cluster({})
  const run = await finished(world, "read")
  await world.pass(5000)
  for (const machine of world.machines) {
    const signal = world.clock.timeoutSignal(limitMs, "a read")
    const view = await world.clock.drive(machine.node!.getRun(run, { signal }))
    expect(view.tasks.map(({ result }) => result)).toContain("succeeded")
    const query = { after: undefined, limit: 100, waitMs: 0 }
    const page = await world.clock.drive(machine.node!.readEvents(run, query, { signal }))
    expect(page.events.length).toBe(view.events)
    expect(page.ended).toBe(true)
    // An id that is not in the table: the reader is told to begin anew.
    const lost = { ...query, after: "1-99999" }
    const reset = await world.clock.drive(machine.node!.readEvents(run, lost, { signal }))
    expect(reset).toMatchObject({ reset: true, events: [] })
  }
})

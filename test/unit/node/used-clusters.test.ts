/** Clusters that have accepted work: B-26. They never merge, and both say so. */
import { expect, test } from "vitest"
import { runsOf } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"
import { leads } from "../../sim/cluster/roles.ts"
import { submit } from "./formed.ts"

test("C-46, B-26: two used clusters that meet stay two, and each names the other", async () => {
  const world = new World({ seed: 1 })
  const first = world.add({ number: 1, mdns: true })
  const second = world.add({ number: 2, mdns: true })
  world.net.partition([first.peerId], [second.peerId])
  for (const machine of world.machines) machine.start()
  await world.until("two leaders", 30_000, () => world.machines.every(leads))
  const before = world.machines.map((machine) => machine.replicated?.clusterId)
  expect(new Set(before).size).toBe(2)
  const answers = world.machines.map((machine) => submit(world, machine, "work"))
  await world.until("work in both", 30_000, () => answers.every(({ run }) => run !== undefined))
  world.net.heal()
  const notesOf = async (): Promise<string[]> =>
    await Promise.all(
      world.machines.map(async (machine) => {
        const health = await world.clock.drive(machine.node!.health())
        return [...health.problems, ...health.notes].join("\n")
      }),
    )
  await world.pass(60_000)
  expect(world.machines.map((machine) => machine.replicated?.clusterId)).toEqual(before)
  const notes = await notesOf()
  expect(notes[0]).toContain(second.name)
  expect(notes[1]).toContain(first.name)
})

test("C-46: a node that founded because it heard of nobody in time still gives way, with the work it was asked for", async () => {
  const world = new World({ seed: 2 })
  const first = world.add({ number: 1, mdns: true })
  const second = world.add({ number: 2, mdns: true })
  world.net.partition([first.peerId], [second.peerId])
  first.start()
  await world.until("a leader", 30_000, () => leads(first))
  const earlier = submit(world, first, "earlier")
  await world.until("work in the first", 30_000, () => earlier.run !== undefined)
  second.start()
  await world.until("another leader", 30_000, () => leads(second))
  const later = submit(world, second, "later")
  await world.pass(300)
  expect(later.run).toBeUndefined()
  world.net.heal()
  await world.until("work accepted after all", 30_000, () => later.run !== undefined)
  await world.until("one cluster with both", 30_000, () => {
    const ids = world.machines.map(({ replicated }) => replicated?.clusterId)
    return new Set(ids).size === 1 && runsOf(first).length === 2
  })
})

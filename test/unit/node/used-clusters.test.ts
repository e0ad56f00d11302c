/** Clusters that have accepted work: B-26. They never merge, and both say so. */
import { expect, test } from "vitest"
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

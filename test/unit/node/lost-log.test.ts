/** Members whose disk lost what they had promised: they do not vote, and come back as other members (C-38, B-25). */
import { describe, expect, test } from "vitest"
import { backUp, deleteParts, putAside } from "../../support/fake-storage.ts"
import { leads } from "../../sim/cluster/roles.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { membersOf } from "../../sim/cluster/verify.ts"
import type { World } from "../../sim/cluster/world.ts"
import { formCluster, submit } from "./formed.ts"

function idOf(world: World, machine: Machine): number | undefined {
  const leader = leaderOf(world)
  return leader && membersOf(leader).find(({ peerId }) => peerId === machine.peerId)?.id
}

function leaderOf(world: World): Machine | undefined {
  return world.machines.find((machine) => leads(machine))
}

/** The machine is a voter under another id than this one, which no member has any more. */
async function becomesAnother(world: World, machine: Machine, id: number): Promise<number> {
  return await world.until(`${machine.name} is another member than ${id}`, 120_000, () => {
    const leader = leaderOf(world)
    const members = leader ? membersOf(leader) : []
    const own = members.find(({ peerId }) => peerId === machine.peerId)
    const isNew = own !== undefined && own.id > id && own.role === "voter"
    return isNew && members.every((member) => member.id !== id) && own.id
  })
}

function followerOf(world: World, leader: Machine): Machine {
  return world.machines.find((machine) => machine !== leader)!
}

describe("under a node whose identity stays", () => {
  test.each([[["raft"]], [["raft", "fsm"]]] as const)(
    "C-38, B-25: without %s it is another member",
    async (parts) => {
      const { world, leader } = await formCluster(3)
      const victim = followerOf(world, leader)
      const id = idOf(world, victim)!
      victim.kill()
      deleteParts(victim.disk, parts)
      victim.start()
      await becomesAnother(world, victim, id)
      expect(putAside(victim.disk)).toEqual([expect.stringMatching(`^quarantine/.*-${id}$`)])
    },
  )

  test("without fsm it is what it was: the log has its votes and makes the tables again", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const id = idOf(world, victim)!
    victim.kill()
    deleteParts(victim.disk, ["fsm"])
    victim.start()
    await world.until("it is back", 20_000, () => victim.node?.ready().ready)
    expect(idOf(world, victim)).toBe(id)
    expect(putAside(victim.disk)).toEqual([])
  })

  test("a damaged log is put aside, too, and the node is another member", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const id = idOf(world, victim)!
    victim.kill()
    const wal = victim.disk.directory("/raft/wal")
    const [first] = wal.list().toSorted()
    wal.damage(first!, (bytes) => bytes.fill(0xff, 300, 340))
    victim.start()
    await becomesAnother(world, victim, id)
    expect(putAside(victim.disk)).toHaveLength(1)
  })

  test("a crash on the way to another id changes nothing of it", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const id = idOf(world, victim)!
    victim.kill()
    deleteParts(victim.disk, ["raft"])
    for (const ms of [1, 2, 3, 5, 8, 13, 40, 100]) {
      victim.start()
      await world.pass(ms)
      victim.kill()
    }
    victim.start()
    await becomesAnother(world, victim, id)
  })

  test("the only voter does not start, changes nothing, and says what can be done", async () => {
    const { world, leader } = await formCluster(1)
    leader.kill()
    deleteParts(leader.disk, ["raft", "fsm"])
    const broken = await failureOf(world, leader)
    expect(broken.message).toMatch(/the log of this member is gone.*only voter.*cluster recover/)
    expect(putAside(leader.disk)).toEqual([])
  })
})

/** Starts a machine that does not come up; why not. */
async function failureOf(world: World, machine: Machine): Promise<Error> {
  machine.start()
  const error = await world.pass(5000).then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  )
  if (!error) throw new Error("it started")
  return error
}

describe("an older copy of the whole disk put back in place", () => {
  test("of an earlier start: nobody hears it, it is told, and becomes another member", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const id = idOf(world, victim)!
    const putBack = backUp(victim.disk)
    for (let starts = 0; starts < 2; starts++) {
      victim.kill()
      victim.start()
      await world.until("it is back", 20_000, () => victim.node?.ready().ready)
    }
    const run = submit(world, leader, "after the copy")
    await world.until("a run", 10_000, () => run.run)
    victim.kill()
    putBack()
    victim.start()
    await becomesAnother(world, victim, id)
  })

  test("of the last start: its log lacks what it acknowledged, and it becomes another member", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const id = idOf(world, victim)!
    const putBack = backUp(victim.disk)
    const run = submit(world, leader, "after the copy")
    await world.until("a run", 10_000, () => run.run)
    await world.pass(3000)
    victim.kill()
    putBack()
    victim.start()
    await becomesAnother(world, victim, id)
  })

  test("C-38: of a member that it was before an earlier loss: it is none of both, but a third (simulation, seed 2014)", async () => {
    const { world, leader } = await formCluster(3)
    const victim = followerOf(world, leader)
    const first = idOf(world, victim)!
    const putBack = backUp(victim.disk)
    victim.kill()
    deleteParts(victim.disk, ["raft"])
    victim.start()
    const second = await becomesAnother(world, victim, first)
    victim.kill()
    putBack()
    victim.start()
    expect(await becomesAnother(world, victim, second)).toBeGreaterThan(second)
  })

  test("all nodes that restart at once elect a leader and stay who they are", async () => {
    const { world } = await formCluster(3)
    const ids = world.machines.map((machine) => idOf(world, machine))
    for (let round = 0; round < 3; round++) {
      for (const machine of world.machines) machine.kill()
      for (const machine of world.machines) machine.start()
      await world.until("a leader", 20_000, () => leaderOf(world))
    }
    expect(world.machines.map((machine) => idOf(world, machine))).toEqual(ids)
  })
})

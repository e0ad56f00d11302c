/** Nodes taken out by hand, leadership handed over by hand, and clusters that wait for a number of nodes. */
import { expect, test } from "vitest"
import { joinAnswer, joinRequest } from "../../../src/wire/index.ts"
import { aDeclaration } from "../../support/plans.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { leads } from "../../sim/cluster/roles.ts"
import { formed, membersOf, runsOf } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"
import { formCluster, submit } from "./formed.ts"

const minute = 60_000

async function remove(world: World, at: Machine, node: string): Promise<unknown> {
  const signal = world.clock.timeoutSignal(minute, "a removal")
  return await world.clock.drive(at.node!.removeNode({ node }, { signal }))
}

async function transfer(world: World, at: Machine, to?: string): Promise<unknown> {
  const signal = world.clock.timeoutSignal(minute, "a transfer")
  return await world.clock.drive(at.node!.transferLeader({ to }, { signal }))
}

function votersOf(machine: Machine): string[] {
  return membersOf(machine)
    .filter(({ role }) => role === "voter")
    .map(({ name }) => name)
    .toSorted()
}

function isWithout(
  machines: readonly Machine[],
  gone: Machine,
  voters: number,
): Machine | undefined {
  const leader = machines.find(leads)
  if (!leader || votersOf(leader).length !== voters) return undefined
  const names = membersOf(leader).map(({ name }) => name)
  return names.length === machines.length && !names.includes(gone.name) ? leader : undefined
}

test.each([
  [3, 1],
  [4, 3],
  [5, 3],
])(
  "of %i nodes a living voter is removed: %i vote afterwards, and it never comes back",
  async (size, voters) => {
    const { world, leader } = await formCluster(size)
    const victim = world.machines.find(
      (machine) => machine !== leader && votersOf(leader).includes(machine.name),
    )!
    const rest = world.machines.filter((machine) => machine !== victim)
    expect(await remove(world, rest.at(-1)!, victim.name)).toMatchObject({ node: victim.name })
    await world.until("the others alone", minute, () => isWithout(rest, victim, voters))
    await world.pass(minute)
    victim.kill()
    await world.pass(1000)
    victim.start()
    await world.pass(minute)
    expect(isWithout(rest, victim, voters)).toBeDefined()
    expect(victim.node!.ready().ready).toBe(false)
    expect(victim.node!.replicaView().clusterId).toBe("")
  },
)

test("a dead voter is removed by a word; when it starts again it finds out and stays away", async () => {
  const { world, leader } = await formCluster(3)
  const [victim, other] = world.machines.filter((machine) => machine !== leader)
  victim!.kill()
  await world.pass(1000)
  await remove(world, other!, victim!.name)
  const rest = [leader, other!]
  expect(isWithout(rest, victim!, 1)).toBe(leader)
  victim!.start()
  await world.until("it to know", minute, () => victim!.node?.replicaView().clusterId === "")
  expect(isWithout(rest, victim!, 1)).toBe(leader)
  // Wiped, it is somebody new.
  victim!.kill()
  victim!.wipe()
  victim!.start()
  await world.until("three voters", 2 * minute, () => formed(world))
})

test("who was removed while it was away finds out though nobody whom it knew is left (simulation, seed 202)", async () => {
  const { world, leader } = await formCluster(4)
  const victim = world.machines.find((machine) => machine !== leader)!
  const rest = world.machines.filter((machine) => machine !== victim)
  victim.kill()
  await world.pass(1000)
  await remove(world, leader, victim.name)
  await world.until("the others alone", minute, () => isWithout(rest, victim, 3))
  const idOf = ({ node }: Machine): number | undefined => node?.replicaView().memberId
  for (const machine of rest) {
    const before = idOf(machine)
    machine.kill()
    machine.wipe()
    machine.start()
    await world.until("it as another", 10 * minute, () => {
      const now = isWithout(rest, victim, 3)
      const isVoter = now && votersOf(now).includes(machine.name)
      return (
        isVoter && idOf(machine) !== before && machine.replicated?.index === now.replicated?.index
      )
    })
  }
  victim.start()
  await world.until("it to know", 3 * minute, () => victim.node?.replicaView().clusterId === "")
  expect(isWithout(rest, victim, 3)).toBeDefined()
})

test("the leader is removed: it hands over first", async () => {
  const { world, leader } = await formCluster(4)
  const rest = world.machines.filter((machine) => machine !== leader)
  await remove(world, leader, leader.name)
  await world.until("the others alone", minute, () => isWithout(rest, leader, 3))
})

test("attempts of a removed node are settled at once, whatever their node says", async () => {
  const world = new World({ seed: 4, script: () => ({ durationMs: 10 * minute }) })
  for (const number of [1, 2, 3, 4]) {
    const seeds = [1, 2, 3, 4].filter((other) => other < number)
    world.add({ number, seeds }).start()
  }
  const leader = await world.until("one cluster", minute, () => formed(world))
  const victim = world.machines.find((machine) => machine !== leader)!
  const answer = submit(world, leader, "there", victim.name)
  await world.until("it to run there", minute, () => victim.keeper.starts.length === 1)
  await remove(world, leader, victim.name)
  const run = await world.until("its verdict", 20_000, () =>
    runsOf(leader).find(({ id, state }) => id === answer.run && state === "finished"),
  )
  expect(run.verdict).toBe("lost")
  await world.until("the job to be ended", minute, () =>
    victim.keeper.list().every(({ state }) => state === "ended"),
  )
})

test("refusals have reasons: the only node, the only voter, nobody of that name", async () => {
  const { world, leader } = await formCluster(2)
  const standby = world.machines.find((machine) => machine !== leader)!
  await expect(remove(world, standby, leader.name)).rejects.toMatchObject({ code: "ERR_CONFLICT" })
  await expect(remove(world, standby, "n9")).rejects.toMatchObject({
    code: "ERR_NODE_NOT_FOUND",
  })
  await expect(transfer(world, standby, standby.name)).rejects.toMatchObject({
    code: "ERR_CONFLICT",
  })
  await remove(world, leader, standby.name)
  await expect(remove(world, leader, leader.name)).rejects.toMatchObject({ code: "ERR_CONFLICT" })
})

test("leadership is handed over, and the answer says to whom", async () => {
  const { world, leader } = await formCluster(3)
  const [first, second] = world.machines.filter((machine) => machine !== leader)
  expect(await transfer(world, second!, first!.name)).toMatchObject({
    from: leader.name,
    leader: first!.name,
  })
  await world.until("it to lead", minute, () => leads(first!))
  await transfer(world, first!)
  await world.until("another to lead", minute, () => [leader, second!].some(leads))
})

test("a leader that is started with `voter never` hands over, and votes no more", async () => {
  const { world, leader } = await formCluster(4)
  leader.kill()
  Object.assign(leader.options, { voter: "never" })
  leader.start()
  await world.until("three others", 2 * minute, () => {
    const found = world.machines.find(leads)
    const names = found && votersOf(found)
    return names?.length === 3 && !names.includes(leader.name)
  })
})

test("expect 3: two nodes found nothing, the third makes it one cluster", async () => {
  const world = new World({ seed: 2 })
  for (const number of [1, 2, 3]) world.add({ number, mdns: true, expect: 3 })
  const [first, second, third] = world.machines
  first!.start()
  second!.start()
  await world.pass(minute)
  expect([first, second].map((machine) => machine!.node!.replicaView().clusterId)).toEqual(["", ""])
  third!.start()
  await world.until("one cluster", minute, () => formed(world))
  // One founding, no dissolution.
  expect(membersOf(first!).find(({ id }) => id === 1)?.name).toBe("n1")
})

test("who asks a node that is on its way elsewhere is sent after it; a target that nobody reaches is given up", async () => {
  const world = new World({ seed: 5 })
  const one = world.add({ number: 1, mdns: true })
  const other = world.add({ number: 2, mdns: true })
  world.net.partition([one.peerId], [other.peerId])
  one.start()
  other.start()
  await world.until("two leaders", minute, () => leads(one) && leads(other))
  world.net.heal()
  const leaving = await world.until("one to dissolve", minute, () =>
    [one, other].find((machine) =>
      machine.replicated?.rows.get("cluster")?.includes("dissolvedInto"),
    ),
  )
  const target = leaving === one ? other : one
  target.kill()
  await world.until("it to have left", minute, () => leaving.node?.replicaView().clusterId === "")
  const third = world.add({ number: 3 })
  third.start()
  await world.until("the third", minute, () => third.node)
  const declaration = aDeclaration({ peerId: third.peerId, name: third.name })
  const payload = joinRequest.encode({ type: "join", declaration })
  const to = {
    peerId: leaving.peerId,
    addresses: ["/ip4/10.0.0." + leaving.options.number + "/tcp/8771"],
  }
  const signal = world.clock.timeoutSignal(5000, "a wish to join")
  const ask = world.net.node(third.peerId)!.request(to, "/troupe/join/1", payload, { signal })
  const answer = joinAnswer.decode(await world.clock.drive(ask))
  expect(answer).toMatchObject({ type: "redirect", peers: [{ peerId: target.peerId }] })
  await world.until("a cluster without the target", 2 * minute, () =>
    [leaving, third].find((machine) => leads(machine) && membersOf(machine).length === 2),
  )
})

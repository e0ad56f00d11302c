/** Which cluster a node belongs to: founding, joining, dissolving, and coming back without its data. */
import { expect, test } from "vitest"
import type { Timing } from "../../../src/node/index.ts"
import { until } from "../../../src/platform/index.ts"
import { SubmitRun, type RunView } from "../../../src/schema/index.ts"
import { joinRequest } from "../../../src/wire/index.ts"
import { leads } from "../../sim/cluster/roles.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { agreed, formed, membersOf, runsOf, sameTables } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"
import { aDeclaration } from "../../support/plans.ts"
import { formCluster } from "./formed.ts"

const minute = 60_000

/** Clusters of these sizes, each of which knows nothing of the other until `meet`. */
async function apart(
  sizes: readonly [number, number],
  seed = 1,
  timing: Partial<Timing> = {},
): Promise<{ world: World; sides: readonly [Machine[], Machine[]]; meet: () => void }> {
  const world = new World({ seed })
  const sides: [Machine[], Machine[]] = [[], []]
  const all = Array.from({ length: sizes[0] + sizes[1] }, (_, place) => place + 1)
  for (const number of all) {
    const side = number <= sizes[0] ? 0 : 1
    const seeds = all.filter((other) => other < number)
    sides[side].push(world.add({ number, seeds, timing }))
  }
  const peers = sides.map((side) => side.map(({ peerId }) => peerId))
  world.net.partition(peers[0]!, peers[1]!)
  for (const machine of world.machines) machine.start()
  for (const side of sides) {
    const wanted = side.length >= 3 ? 3 : 1
    await world.until("a cluster on each side", minute, () => {
      const [leader, ...others] = side.filter(leads)
      if (!leader || others.length > 0 || membersOf(leader).length !== side.length) return undefined
      return membersOf(leader).filter(({ role }) => role === "voter").length === wanted
    })
  }
  return { world, sides, meet: () => world.net.heal() }
}

async function run(world: World, machine: Machine, key: string): Promise<RunView> {
  const document = "api_version: v1\nroles:\n  only:\n    command: [work]\n"
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const caller = { principal: "anonymous", key }
  const work = machine.node!.submitRun(SubmitRun.parse({ document }), caller, { signal })
  return (await world.clock.drive(until(work, signal))).run
}

test.each<[number, number]>([
  [1, 1],
  [1, 3],
  [2, 1],
  [2, 2],
  [3, 1],
  [3, 2],
  [3, 3],
])("pristine clusters of %i and %i become one", async (one, other) => {
  const { world, meet } = await apart([one, other])
  meet()
  await world.until("one cluster", minute, () => formed(world))
})

test("a leader that lingers, and hears of the dissolution from who has left before, leaves once", async () => {
  // It lingers for three heartbeats: long enough here for the others to arrive.
  const { world, sides, meet } = await apart([3, 3], 1, { heartbeatTicks: 16 })
  meet()
  const all = [...sides[0], ...sides[1]]
  const leader = await world.until("a dissolution", minute, () =>
    all.find((machine) => leads(machine) && isDissolved(machine)),
  )
  const from = leader.replicated!.clusterId
  const side = sides.find((machines) => machines.includes(leader))!
  const into = sides.find((machines) => !machines.includes(leader))!.find(leads)!
    .replicated!.clusterId
  const left: string[] = []
  world.onLine = (line) => {
    if (line.startsWith(`${leader.name} info the cluster dissolved`)) left.push(line)
  }
  await world.pass(1000)
  const before = side.find((machine) => machine !== leader)!
  const { peerId, name } = before
  const hello = {
    cluster: "sim",
    clusterId: into,
    pristine: true,
    members: 4,
    declaration: aDeclaration({ peerId, name }),
    redirects: [{ from, into }],
    seekers: [],
  }
  const payload = joinRequest.encode({ type: "hello", hello })
  const signal = world.clock.timeoutSignal(1000, "a hello")
  const to = { peerId: leader.peerId, addresses: [] }
  await world.clock.drive(
    world.net.node(peerId)!.request(to, "/troupe/join/1", payload, { signal }),
  )
  await world.until("one cluster", minute, () => formed(world))
  await world.pass(1000)
  expect(formed(world)?.replicated?.clusterId).toBe(into)
  expect(left.length).toBe(1)
})

test.each<[number, number]>([
  [1, 1],
  [1, 3],
  [3, 1],
  [3, 3],
])(
  "a cluster of %i that has accepted a run stays, and the pristine %i join it",
  async (...sizes) => {
    const { world, sides, meet } = await apart(sizes)
    const accepted = await run(world, sides[0][0]!, "kept")
    const clusterId = sides[0].find(leads)!.replicated!.clusterId
    meet()
    const leader = await world.until("one cluster", minute, () => formed(world))
    expect(leader.replicated?.clusterId).toBe(clusterId)
    expect(runsOf(leader).map(({ id }) => id)).toEqual([accepted.id])
  },
)

test("a node that is killed anywhere on its way into another cluster arrives there", async () => {
  for (let atMs = 0; atMs <= 60; atMs += 3) {
    const { world, sides, meet } = await apart([1, 1], 5)
    meet()
    const [a, b] = [sides[0][0]!, sides[1][0]!]
    const leaving = await world.until("somebody to leave", minute, () =>
      [a, b].find((machine) => leads(machine) && isDissolved(machine)),
    )
    await world.pass(atMs)
    leaving.kill()
    await world.pass(20)
    leaving.start()
    await world.until(`one cluster after a kill ${atMs} ms later`, minute, () => formed(world))
  }
})

function isDissolved(machine: Machine): boolean {
  const row = machine.replicated?.rows.get("cluster")
  return row !== undefined && row.includes("dissolvedInto")
}

test("a founder that is killed anywhere while it founds leads its cluster in the end", async () => {
  for (let atMs = 695; atMs <= 730; atMs += 1) {
    const world = new World({ seed: 3 })
    const machine = world.add({ number: 1 })
    machine.start()
    await world.pass(atMs)
    machine.kill()
    await world.pass(5)
    machine.start()
    await world.until(`a leader after a kill at ${atMs} ms`, minute, () => formed(world))
  }
})

test("a node that is killed anywhere while it joins and becomes a voter is one in the end", async () => {
  const usual = await formCluster(3)
  const tookMs = usual.world.clock.boottime()
  for (let atMs = 600; atMs < tookMs + 200; atMs += 101) {
    const world = new World({ seed: 1 })
    for (const number of [1, 2, 3]) {
      world.add({ number, seeds: [1, 2, 3].filter((other) => other < number) }).start()
    }
    await world.pass(atMs)
    const victim = world.machines[1 + (atMs % 2)]!
    victim.kill()
    await world.pass(30)
    victim.start()
    await world.until(`one cluster after a kill at ${atMs} ms`, minute, () => formed(world))
  }
})

test("a deleted data directory: the node is a new member, the old voter is replaced, no run is lost", async () => {
  const { world, leader } = await formCluster(3)
  await run(world, leader, "before")
  const victim = world.machines.find((machine) => machine !== leader)!
  victim.kill()
  victim.wipe()
  await world.pass(1000)
  victim.start()
  const after = await world.until("three voters again", 2 * minute, () => {
    const found = formed(world)
    const row = found && membersOf(found).find(({ peerId }) => peerId === victim.peerId)
    return row?.role === "voter" && agreed(world, found!) ? found : undefined
  })
  sameTables(world, after)
  expect(runsOf(after)).toMatchObject([{ key: "before", verdict: "succeeded" }])
  // It is not counted twice.
  await world.until("the ghost is gone", minute, () => membersOf(after).length === 3)
})

test("the leader's data directory deleted: another leads, and it comes back as a new member", async () => {
  const { world, leader } = await formCluster(3)
  const { id } = await run(world, leader, "before")
  leader.kill()
  leader.wipe()
  leader.start()
  const after = await world.until("three voters again", 2 * minute, () => {
    const found = formed(world)
    const row = found && membersOf(found).find(({ peerId }) => peerId === leader.peerId)
    return row?.role === "voter" && agreed(world, found!) ? found : undefined
  })
  expect(runsOf(after).map((one) => one.id)).toEqual([id])
})

test("a voter that was replaced comes back as a worker, answers calls and runs tasks", async () => {
  const world = new World({ seed: 2 })
  for (const number of [1, 2, 3, 4]) {
    const seeds = [1, 2, 3, 4].filter((other) => other < number)
    world.add({ number, seeds, timing: { replaceVoterMs: 3000 } }).start()
  }
  const leader = await world.until("one cluster", minute, () => formed(world))
  const isVoter = (machine: Machine): boolean =>
    membersOf(leader).some(({ peerId, role }) => peerId === machine.peerId && role === "voter")
  const victim = world.machines.find((machine) => machine !== leader && isVoter(machine))!
  victim.kill()
  await world.until("its place to be taken", minute, () => !isVoter(victim))
  victim.start()
  await world.until("everybody in", minute, () => formed(world))
  expect(victim.node!.ready().ready).toBe(true)
  const document = `api_version: v1\nroles:\n  only:\n    command: [work]\n    agent: ${victim.name}\n`
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const caller = { principal: "anonymous", key: "here" }
  const work = victim.node!.submitRun(SubmitRun.parse({ document }), caller, { signal })
  const submitted = await world.clock.drive(work)
  const finished = await world.until("its verdict", minute, () =>
    runsOf(leader).find(({ id, state }) => id === submitted.run.id && state === "finished"),
  )
  expect(finished.verdict).toBe("succeeded")
  expect(victim.keeper.starts.map(({ task }) => task)).toEqual(["only"])
})

test("C-40: a worker that slept while everybody changed is let in by the leader it never heard of", async () => {
  const world = new World({ seed: 4 })
  const founder = world.add({ number: 1 })
  const sleeper = world.add({ number: 4, seeds: [1], voter: "never" })
  founder.start()
  sleeper.start()
  await world.until("two members", minute, () => membersOf(founder).length === 2)
  await world.pass(500)
  sleeper.kill()
  const others = [2, 3].map((number) => world.add({ number, seeds: [1] }))
  for (const machine of others) machine.start()
  await world.until("three voters", minute, () => {
    const roles = membersOf(founder).map(({ role }) => role)
    return roles.filter((role) => role === "voter").length === 3
  })
  await world.clock.drive(founder.stop())
  await world.until("another leader", minute, () => others.find(leads))
  founder.start()
  sleeper.start()
  await world.until("everybody in", minute, () => formed(world))
  const status = await run(world, sleeper, "awake")
  expect(status.entryNode).toBe(sleeper.name)
})

test("C-40: a replaced voter comes back under a leader it never heard of", async () => {
  const world = new World({ seed: 6 })
  const timing = { replaceVoterMs: 3000 }
  for (const number of [1, 2, 3]) {
    const seeds = [1, 2, 3].filter((other) => other < number)
    world.add({ number, seeds, timing }).start()
  }
  const first = await world.until("one cluster", minute, () => formed(world))
  const victim = world.machines.find((machine) => machine !== first)!
  victim.kill()
  const stranger = world.add({ number: 4, seeds: [1, 2, 3], timing })
  stranger.start()
  const isVoter = (): boolean =>
    membersOf(stranger).some(({ peerId, role }) => peerId === stranger.peerId && role === "voter")
  await world.until("the stranger to vote", minute, isVoter)
  // With the other one down it is the stranger whom the leader hands over to.
  const leader = await world.until("a leader", minute, () => world.machines.find(leads))
  const other = world.machines.find((one) => ![victim, stranger, leader].includes(one))!
  if (leader !== stranger) {
    other.kill()
    await world.pass(500)
    await world.clock.drive(leader.stop())
    leader.start()
    other.start()
  }
  await world.until("the stranger to lead", minute, () => leads(stranger))
  victim.start()
  await world.until("everybody in", minute, () => formed(world))
  expect(leads(stranger)).toBe(true)
})

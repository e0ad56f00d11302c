/** Nodes that get no new work, are emptied, are dead by somebody's word, or have no room left. */
import { expect, test } from "vitest"
import type { CordonNode, NodeCordoned, NodeDeclaredDead } from "../../../src/schema/index.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { formCluster } from "./formed.ts"
import { aJob, minute, Stage } from "./stage.ts"

async function say(
  stage: Stage,
  node: string,
  fields: Partial<CordonNode> & Pick<CordonNode, "mode">,
): Promise<NodeCordoned> {
  const { clock } = stage.world
  const signal = clock.timeoutSignal(minute, "a word")
  const request = { reason: "", ...fields }
  return await clock.drive(stage.leader.node!.cordonNode(node, request, { signal }))
}

async function declareDead(
  stage: Stage,
  node: string,
  { force = false } = {},
): Promise<NodeDeclaredDead> {
  const { clock } = stage.world
  const signal = clock.timeoutSignal(minute, "a word")
  const asked = stage.leader.node!.declareDead(node, { reason: "burnt", force }, { signal })
  return await clock.drive(asked)
}

/** Where the newest attempt of the job is. */
function placeOf(stage: Stage, run: string): Machine | undefined {
  const node = stage.find(run, "job")?.attempts.at(-1)?.node
  return stage.world.machines.find((machine) => stage.member(machine).id === node)
}

test("drained: what runs may go on until the deadline, then it runs again elsewhere; nothing new comes", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 90_000 }))
  const run = await stage.submit([aJob({ retries: 0 })])
  const first = await stage.world.until("a place", minute, () => placeOf(stage, run))
  await stage.started(first)
  const told = await say(stage, first.name, {
    mode: "drain",
    reason: "new disk",
    deadlineMs: 30_000,
  })
  expect(told).toMatchObject({ node: first.name, attempts: 1, holds: [`${run}/job`] })
  await stage.world.pass(28_000)
  expect(stage.of(first, "end")).toEqual([])
  const more = await stage.submit([aJob({ count: 6 })])
  await stage.world.until("it elsewhere", minute, () => placeOf(stage, run) !== first)
  expect(stage.task(run, "job").attempts[0]).toMatchObject({ drained: true })
  expect((await stage.finished(run)).verdict).toBe("succeeded")
  expect((await stage.finished(more)).verdict).toBe("succeeded")
  expect(stage.of(first, "start")).toHaveLength(1)
  const health = await stage.world.clock.drive(stage.leader.node!.health())
  expect(health.notes).toContain(`${first.name} is drained (new disk)`)
  await say(stage, first.name, { mode: "open" })
  await stage.finished(await stage.submit([aJob({ needs: { node: first.name } })]))
  expect(stage.of(first, "start")).toHaveLength(2)
})

test("drained: a service moves at once, a batch job without a deadline stays", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 10 * minute }))
  const victim = stage.other
  const batch = await stage.submit([aJob({ needs: { node: victim.name } })])
  await stage.started(victim)
  const runs: string[] = []
  for (let n = 0; n < 3; n++) runs.push(await stage.submit([aJob({ life: "service" })]))
  const service = await stage.world.until("a service there", minute, () =>
    runs.find((run) => placeOf(stage, run) === victim),
  )
  await stage.started(victim, 2)
  await say(stage, victim.name, { mode: "drain" })
  await stage.world.until("it elsewhere", minute, () => placeOf(stage, service) !== victim)
  await stage.world.pass(minute)
  expect(placeOf(stage, batch)).toBe(victim)
  expect(stage.of(victim, "end")).toHaveLength(1)
})

test("drained: a leader hands over, and does not lead again while somebody else can", async () => {
  const stage = await Stage.open(3)
  const before = stage.leader
  await say(stage, before.name, { mode: "drain" })
  await stage.world.until("another leader", minute, () => stage.leader !== before)
  await stage.world.pass(minute)
  expect(stage.leader).not.toBe(before)
})

test("refusals have reasons: nobody else takes work, no such node, a deadline without a drain", async () => {
  const stage = await Stage.open(3)
  const [first, second] = stage.world.machines.filter((machine) => machine !== stage.leader)
  await say(stage, first!.name, { mode: "cordon" })
  await say(stage, stage.leader.name, { mode: "cordon" })
  const last = say(stage, second!.name, { mode: "drain" })
  await expect(last).rejects.toMatchObject({
    code: "ERR_CONFLICT",
    message: expect.stringContaining(`no node but ${second!.name} takes work`) as string,
  })
  expect(await say(stage, second!.name, { mode: "cordon" })).toMatchObject({
    warnings: expect.arrayContaining(["no node takes new work now: what is submitted waits"]) as [],
  })
  await expect(say(stage, "n22", { mode: "cordon" })).rejects.toMatchObject({
    code: "ERR_NODE_NOT_FOUND",
  })
  const late = say(stage, "n1", { mode: "cordon", deadlineMs: 5 })
  await expect(late).rejects.toMatchObject({ code: "ERR_REQUEST_INVALID" })
})

test("declared dead: what waits for its node runs elsewhere now; back again, the old attempt is ended and ignored", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 2 * minute }))
  const run = await stage.submit([aJob({ onLoss: "wait" })])
  const victim = await stage.world.until("a place", minute, () => placeOf(stage, run))
  await stage.started(victim)
  stage.world.net.isolate(victim.peerId)
  await stage.world.pass(10_000)
  expect(await declareDead(stage, victim.name)).toMatchObject({ node: victim.name, attempts: 1 })
  await stage.world.until("it elsewhere", 5000, () => placeOf(stage, run) !== victim)
  expect(stage.member(victim).dead).toMatchObject({ reason: "burnt" })
  stage.world.net.heal()
  await stage.world.until("it alive", minute, () => stage.member(victim).dead === undefined)
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
  expect((await stage.finished(run)).verdict).toBe("succeeded")
  expect(stage.task(run, "job").attempts).toHaveLength(2)
})

test("declared dead: not while it answers, unless forced; then everything there is given up before it counts again", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 2 * minute }))
  const victim = stage.other
  const run = await stage.submit([aJob({ count: 6, onLoss: "wait" })])
  await stage.started(victim)
  await expect(declareDead(stage, victim.name)).rejects.toMatchObject({
    code: "ERR_CONFLICT",
    message: expect.stringContaining("answers, so it is not dead") as string,
  })
  await expect(declareDead(stage, stage.leader.name, { force: true })).rejects.toMatchObject({
    code: "ERR_CONFLICT",
  })
  const held = stage.of(victim, "start").length
  expect(await declareDead(stage, victim.name, { force: true })).toMatchObject({ attempts: held })
  await stage.world.until("it alive", minute, () => stage.member(victim).dead === undefined)
  await stage.world.until(
    "the old ones ended",
    minute,
    () => stage.of(victim, "end").length >= held,
  )
  expect((await stage.finished(run)).verdict).toBe("succeeded")
  const tries = Array.from({ length: 6 }, (_, n) => stage.task(run, `job[${n}]`).attempts.length)
  expect(tries.filter((count) => count === 2)).toHaveLength(held)
})

test("the only node is neither drained nor dead", async () => {
  const { world, leader } = await formCluster(1)
  const signal = world.clock.timeoutSignal(minute, "a word")
  const drained = leader.node!.cordonNode("n1", { mode: "drain", reason: "" }, { signal })
  await expect(world.clock.drive(drained)).rejects.toMatchObject({ code: "ERR_CONFLICT" })
  const dead = leader.node!.declareDead("n1", { reason: "", force: true }, { signal })
  await expect(world.clock.drive(dead)).rejects.toMatchObject({ code: "ERR_CONFLICT" })
})

test("a node whose disk is 90 % full takes no new work and does not lead, until it has room again", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 1000 }))
  const full = stage.leader
  full.diskUsed = 0.9
  await stage.world.until("another leader", minute, () => stage.leader !== full)
  const health = await stage.world.clock.drive(stage.leader.node!.health())
  expect(health.problems).toContain(
    `${full.name} has 90 % of its disk in use and takes no work: make room in its data directory`,
  )
  const run = await stage.submit([aJob({ needs: { node: full.name } })])
  await stage.world.pass(20_000)
  expect(stage.of(full, "start")).toEqual([])
  // A little less is not enough: it would flutter.
  full.diskUsed = 0.89
  await stage.world.pass(5000)
  expect(stage.of(full, "start")).toEqual([])
  full.diskUsed = 0.8
  expect((await stage.finished(run)).verdict).toBe("succeeded")
})

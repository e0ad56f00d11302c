/** What a member does that holds no copy of the tables, and what becomes of results that nobody hears. */
import { beforeEach, expect, test } from "vitest"
import { type LogChunk, type Run, SubmitRun } from "../../../src/schema/index.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { formed, membersOf, runsOf } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"

const minute = 60_000
const workMs = 4000

let world: World
let leader: Machine
/** Member, but no replica. */
let worker: Machine

beforeEach(async () => {
  world = new World({
    seed: 11,
    script: () => ({
      durationMs: workMs,
      output: [
        { atMs: 100, text: "first\n" },
        { atMs: 2000, text: "second\n" },
      ],
    }),
  })
  for (const number of [1, 2, 3, 4]) {
    world.add({ number, seeds: [1, 2, 3, 4].filter((other) => other < number) }).start()
  }
  leader = await world.until("one cluster", minute, () => formed(world))
  worker = world.machines.find((machine) => roleOf(machine) === "worker")!
})

function roleOf(machine: Machine): string | undefined {
  return membersOf(leader).find(({ peerId }) => peerId === machine.peerId)?.role
}

async function submit(at: Machine): Promise<string> {
  const document = `api_version: v1\nroles:\n  only:\n    command: [work]\n    agent: ${worker.name}\n`
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const caller = { principal: "anonymous", key: "one" }
  const work = at.node!.submitRun(SubmitRun.parse({ document }), caller, { signal })
  return (await world.clock.drive(work)).run.id
}

/** As the leader of the moment has it. */
function rowOf(id: string): Run | undefined {
  const rows = world.machines.flatMap((machine) => runsOf(machine))
  const states = rows.filter((run) => run.id === id)
  return states.find(({ state }) => state === "finished") ?? states[0]
}

async function finished(id: string): Promise<Run> {
  return await world.until("its verdict", minute, () => {
    const row = rowOf(id)
    return row?.state === "finished" ? row : undefined
  })
}

async function started(): Promise<void> {
  await world.until("its start", 10_000, () => worker.keeper.starts.length > 0)
}

async function log(at: Machine, run: string, offset: number): Promise<LogChunk> {
  const signal = world.clock.timeoutSignal(20_000, "a log")
  const query = { task: "only", stream: "stdout", attempt: undefined, max: 1000 } as const
  return await world.clock.drive(
    at.node!.readLog(run, { ...query, offset, waitMs: 5000 }, { signal }),
  )
}

const text = (chunk: LogChunk): string => Buffer.from(chunk.data, "base64").toString()

test("a worker without a replica has a roster, takes calls and performs tasks", async () => {
  expect(worker.replicated).toBeUndefined()
  const id = await submit(worker)
  const run = await finished(id)
  expect(run.verdict).toBe("succeeded")
  expect(worker.keeper.starts.map(({ task }) => task)).toEqual(["only"])
  const signal = world.clock.timeoutSignal(5000, "a status")
  const status = await world.clock.drive(worker.node!.clusterStatus({ signal }))
  expect(status).toMatchObject({ role: "worker", raftState: "none", leader: leader.name })
  expect(status.nodes.length).toBe(4)
})

test("its logs are read at any node: as they grow, and after they were collected", async () => {
  const id = await submit(leader)
  await started()
  const reader = world.machines.find((machine) => machine !== leader && machine !== worker)!
  const first = await log(reader, id, 0)
  expect(text(first)).toBe("first\n")
  expect(first).toMatchObject({ node: worker.name, attempt: 1, next: 6, ended: false })
  const second = await log(worker, id, first.next)
  expect(text(second)).toBe("second\n")
  await finished(id)
  const whole = await log(leader, id, 0)
  expect(text(whole)).toBe("first\nsecond\n")
  expect(whole.ended).toBe(true)
})

test("a log of a task that has none names those that have", async () => {
  const id = await submit(leader)
  const signal = world.clock.timeoutSignal(5000, "a log")
  const query = { stream: "stdout", attempt: undefined, offset: 0, max: 10, waitMs: 0 } as const
  const asked = leader.node!.readLog(id, { ...query, task: "bundle" }, { signal })
  await expect(world.clock.drive(asked)).rejects.toMatchObject({
    code: "ERR_TASK_NOT_FOUND",
    message: expect.stringContaining("there are: only") as string,
  })
})

test("a result that no leader hears is told until one has it", async () => {
  const id = await submit(leader)
  await started()
  // For as long as its session lasts at most: a lost one is another matter.
  await world.pass(workMs - 1500)
  for (const { peerId } of world.machines) {
    if (peerId !== worker.peerId) world.net.cut(worker.peerId, peerId)
  }
  await world.pass(3000)
  expect(rowOf(id)?.state).toBe("active")
  world.net.heal()
  expect((await finished(id)).verdict).toBe("succeeded")
  expect(worker.keeper.starts.length).toBe(1)
})

test("a result of a node that is killed before it is told is told by its next life", async () => {
  const id = await submit(leader)
  await started()
  worker.kill()
  await world.pass(workMs + 100)
  worker.start()
  expect((await finished(id)).verdict).toBe("succeeded")
  expect(worker.keeper.starts.length).toBe(1)
})

test("the leader dies with the result on its way: the next one has it", async () => {
  const id = await submit(leader)
  await started()
  await world.pass(workMs - 1)
  leader.kill()
  expect((await finished(id)).verdict).toBe("succeeded")
  expect(worker.keeper.starts.length).toBe(1)
})

test("a change of leader stops and starts nothing", async () => {
  const id = await submit(worker)
  await started()
  await world.clock.drive(leader.stop())
  await world.pass(1000)
  leader.start()
  const run = await finished(id)
  expect(run.verdict).toBe("succeeded")
  expect(worker.keeper.starts.length).toBe(1)
})

test("a cancelled run ends on a node that was cut off, as soon as it is back", async () => {
  const id = await submit(leader)
  await started()
  world.net.isolate(worker.peerId)
  const signal = world.clock.timeoutSignal(5000, "cancelling")
  const caller = { principal: "anonymous" }
  await world.clock.drive(leader.node!.cancelRun(id, "no more", caller, { signal }))
  await world.pass(1000)
  world.net.heal()
  expect((await finished(id)).verdict).toBe("cancelled")
})

test("when a run is over its node forgets it", async () => {
  const id = await submit(leader)
  await finished(id)
  await world.pass(3000)
  expect(worker.keeper.list()).toEqual([])
})

test("a role whose node is gone for good fails, and the run with it", async () => {
  const id = await submit(leader)
  await started()
  worker.kill()
  const run = await finished(id)
  expect(run.verdict).not.toBe("succeeded")
  expect(run.reason).toBeDefined()
  // Back again, the leftovers are let go.
  worker.start()
  await world.until("nothing held", minute, () => worker.keeper.list().length === 0)
  expect(worker.keeper.starts.length).toBe(1)
})

test("a keeper that dies while its node starts is waited for", async () => {
  const follower = world.machines.find((one) => one !== leader && roleOf(one) === "voter")!
  for (let ms = 0; ms < 15; ms += 0.5) {
    follower.kill()
    follower.start()
    await world.pass(ms)
    follower.keeper.crash()
    await world.until("it to be ready", 10_000, () => follower.node?.ready().ready === true)
  }
  const run = await finished(await submit(worker))
  expect(run.verdict).toBe("succeeded")
})

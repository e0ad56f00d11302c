/** Jobs and runs that repeat others, at whole nodes in virtual time: through any node, from rows that left memory. */
import { expect, test } from "vitest"
import {
  isTroupeError,
  type RunView,
  SubmitJob,
  type SubmitJobInput,
} from "../../../src/schema/index.ts"
import { planKey } from "../../../src/state/index.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { World } from "../../sim/cluster/world.ts"
import { formed } from "../../sim/cluster/verify.ts"
import { formCluster } from "./formed.ts"

const minute = 60_000
const anybody = { principal: "anonymous", key: undefined }

interface Stage {
  readonly world: World
  readonly at: Machine
  readonly signal: () => { signal: AbortSignal }
}

async function stage(): Promise<Stage> {
  const { world, leader } = await formCluster(3)
  const at = world.machines.find((machine) => machine !== leader)!
  return { world, at, signal: () => ({ signal: world.clock.timeoutSignal(minute, "an answer") }) }
}

async function submit({ world, at, signal }: Stage, input: SubmitJobInput, key?: string) {
  const caller = { ...anybody, key }
  return await world.clock.drive(at.node!.submitJob(SubmitJob.parse(input), caller, signal()))
}

async function ended({ world, at, signal }: Stage, run: string): Promise<RunView> {
  const clock = world.clock
  for (let turn = 0; turn < 600; turn++) {
    const view = await clock.drive(at.node!.getRun(run, signal()))
    if (view.state === "finished") return view
    await world.pass(200)
  }
  throw new Error(`${run} does not end`)
}

async function refusal(world: World, asked: Promise<unknown>): Promise<string> {
  try {
    await world.clock.drive(asked)
  } catch (error) {
    if (isTroupeError(error)) return `${error.code}: ${error.message}`
    throw error
  }
  throw new Error("it was not refused")
}

test("a job is accepted through any node, runs to its end, and runs again", async () => {
  const scene = await stage()
  const { run, existing } = await submit(scene, { command: ["work"], count: 3 }, "k")
  expect([run.kind, run.label, existing]).toEqual(["job", "work", false])
  const same = await submit(scene, { command: ["work"], count: 3 }, "k")
  expect([same.run.id, same.existing]).toEqual([run.id, true])
  const first = await ended(scene, run.id)
  expect(first).toMatchObject({ verdict: "succeeded", groups: [{ name: "job", succeeded: 3 }] })
  const { world, at, signal } = scene
  // Its rows leave memory when they are on disk.
  await world.pass(30_000)
  const leader = formed(world)!
  expect(leader.replicated?.rows.has(planKey(run.id))).toBe(true)
  const again = await world.clock.drive(
    at.node!.retryRun(run.id, { failed: false }, anybody, signal()),
  )
  expect(again.run).toMatchObject({ label: "work-2", origin: { run: run.id, how: "rerun" } })
  expect(await ended(scene, again.run.id)).toMatchObject({ verdict: "succeeded" })
})

test("what goes on, what succeeded and what is not there does not run again", async () => {
  const scene = await stage()
  const { world, at, signal } = scene
  const retry = (run: string, failed: boolean): Promise<unknown> =>
    at.node!.retryRun(run, { failed }, anybody, signal())
  expect(await refusal(world, retry("r-1000", false))).toMatch(/^ERR_RUN_NOT_FOUND/)
  const { run } = await submit(scene, { command: ["work"] })
  expect(await refusal(world, retry(run.id, false))).toMatch(/^ERR_RUN_NOT_FINISHED/)
  await ended(scene, run.id)
  expect(await refusal(world, retry(run.id, true))).toMatch(
    /^ERR_CONFLICT: .*nothing of it has failed/,
  )
})

test("an unknown node and needs that nobody meets are told at once, with each node's reason", async () => {
  const scene = await stage()
  const { world } = scene
  const unknown = submit(scene, { command: ["work"], needs: { node: "n11" } })
  expect(await refusal(world, unknown)).toMatch(/^ERR_UNPLACEABLE: there is no node n11/)
  const impossible = submit(scene, { command: ["work"], needs: { cores: 4096 } })
  expect(await refusal(world, impossible)).toBe("ERR_UNPLACEABLE: no node has what this needs")
  const wrong = submit(scene, { command: [""], count: -1 })
  expect(await refusal(world, wrong)).toBe("ERR_REQUEST_INVALID: the job has 2 mistakes")
})

test("a dry run says where each member would go and changes nothing", async () => {
  const scene = await stage()
  const { world, at, signal } = scene
  const request = SubmitJob.parse({ command: ["work"], count: 300 })
  const plan = await world.clock.drive(at.node!.planJob(request, anybody, signal()))
  expect(plan.placements).toHaveLength(100)
  expect(plan.warnings).toEqual(["the first 100 of 300 jobs are shown"])
  const { items } = await world.clock.drive(at.node!.listRuns({ limit: 10 }, signal()))
  expect(items).toEqual([])
})

test("explain names what waits once, with its number and what each node lacks", async () => {
  const scene = await stage()
  const { world, at, signal } = scene
  const { run } = await submit(scene, { command: ["work"], count: 500, parallel: 2 })
  const view = await world.clock.drive(at.node!.explainRun(run.id, undefined, signal()))
  expect(view.groups[0]).toMatchObject({ name: "job", count: 500 })
  const [waiting] = view.tasks
  expect(view.tasks).toHaveLength(1)
  expect(waiting).toMatchObject({ state: "pending" })
  expect(waiting!.count + view.groups[0]!.active + view.groups[0]!.succeeded).toBe(500)
  const one = await world.clock.drive(at.node!.explainRun(run.id, "job[499]", signal()))
  expect(one.tasks).toMatchObject([{ task: "job[499]", state: "pending", count: 1 }])
  const missing = at.node!.explainRun(run.id, "job[500]", signal())
  expect(await refusal(world, missing)).toMatch(/^ERR_TASK_NOT_FOUND/)
  const all = await world.clock.drive(at.node!.getRun(run.id, { ...signal(), tasks: "all" }))
  expect([all.tasks.length, all.omitted]).toEqual([500, undefined])
  const some = await world.clock.drive(at.node!.getRun(run.id, signal()))
  expect(some.tasks.length + some.omitted!).toBe(500)
  expect(some.tasks.length).toBeLessThan(60)
})

test("C-48: while an older node votes, a job is refused and says who is to be updated", async () => {
  const world = new World({ seed: 1 })
  for (let number = 1; number <= 3; number++) {
    const machine = world.add({
      number,
      seeds: Array.from({ length: number - 1 }, (_, at) => at + 1),
    })
    if (number === 1) machine.versions = { oldest: 1, newest: 2 }
    machine.start()
  }
  await world.until("one cluster", minute, () => formed(world))
  const signal = () => ({ signal: world.clock.timeoutSignal(minute, "an answer") })
  const scene: Stage = { world, at: world.machines[0]!, signal }
  const refused = await refusal(world, submit(scene, { command: ["work"] }))
  expect(refused).toBe("ERR_UNSUPPORTED: this works after all nodes are updated; to be updated: n1")
})

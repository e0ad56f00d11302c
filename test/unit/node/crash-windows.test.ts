/** Who dies when while an attempt is begun (consensus.md §5.3): sent again, continued, found again or unknown; never begun twice. */
import { expect, test } from "vitest"
import type { Machine } from "../../sim/cluster/machine.ts"
import { aJob, minute, Stage } from "./stage.ts"

const stepMs = 400

/** A job on a node that does not lead, whose keeper takes a moment for each step; its order has just come. */
async function ordered(onLoss: "wait" | "requeue"): Promise<{
  stage: Stage
  run: string
  victim: Machine
}> {
  const stage = await Stage.open(3, () => ({ durationMs: 5000 }), {
    keeperMs: { sync: () => stepMs, spawn: () => stepMs },
  })
  const victim = stage.other
  const run = await stage.submit([aJob({ onLoss, needs: { node: victim.name } })])
  await stage.world.until("the order", minute, () => victim.keeper.list().length > 0)
  return { stage, run, victim }
}

type Who = "keeper" | "node" | "leader"

/** From the order: accepted is durable after a step, the process is there after two, `started` is durable after three. */
const windows = {
  "before `accepted` is durable": stepMs / 2,
  "after `accepted`, before the spawn": stepMs * 1.5,
  "after the spawn, before `started` is durable": stepMs * 2.5,
  "while it runs": stepMs * 5,
} as const

interface Row {
  readonly who: Who
  readonly when: keyof typeof windows
  readonly onLoss: "wait" | "requeue"
  readonly verdict: "succeeded" | "lost"
  readonly attempts: number
  readonly starts: number
}

const always = Object.keys(windows) as (keyof typeof windows)[]
const policies = ["wait", "requeue"] as const
const rows: readonly Row[] = [
  // The keeper goes on without its node, and the next life of that tells how it went; a leader only has sent a word.
  ...(["node", "leader"] as const).flatMap((who) =>
    always.flatMap((when) =>
      policies.map((onLoss): Row => {
        return { who, when, onLoss, verdict: "succeeded", attempts: 1, starts: 1 }
      }),
    ),
  ),
  // It was never accepted: the order is sent again.
  ...policies.map((onLoss): Row => {
    const when = "before `accepted` is durable"
    return { who: "keeper", when, onLoss, verdict: "succeeded", attempts: 1, starts: 1 }
  }),
  // Whether it ran cannot be known, so it is not begun again where that matters.
  ...always.slice(1).flatMap((when): Row[] => {
    const begun = when === "after `accepted`, before the spawn" ? 0 : 1
    return [
      { who: "keeper", when, onLoss: "wait", verdict: "lost", attempts: 1, starts: begun },
      {
        who: "keeper",
        when,
        onLoss: "requeue",
        verdict: "succeeded",
        attempts: 2,
        starts: begun + 1,
      },
    ]
  }),
]

test.each(rows)("the $who dies $when, $onLoss: $verdict after $attempts", async (row) => {
  const { stage, run, victim } = await ordered(row.onLoss)
  const { leader } = stage
  await stage.world.pass(windows[row.when])
  if (row.who === "keeper") victim.keeper.crash()
  else {
    const machine = row.who === "node" ? victim : leader
    machine.kill()
    await stage.world.pass(1000)
    machine.start()
  }
  const finished = await stage.finished(run)
  expect(finished.verdict).toBe(row.verdict)
  expect(stage.task(run, "job").attempts).toHaveLength(row.attempts)
  expect(victim.keeper.starts).toHaveLength(row.starts)
  const fences = victim.keeper.starts.map(({ fence }) => fence)
  expect(new Set(fences).size).toBe(fences.length)
  if (row.verdict === "lost") expect(finished.reason).toMatch(/is not known/)
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
})

test("cancelled before its node has heard of it: it ends as never started", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 5000 }))
  const victim = stage.other
  // It stands still for a moment: what is sent to it waits.
  victim.pause()
  const run = await stage.submit([aJob({ needs: { node: victim.name } })])
  await stage.world.pass(300)
  const { clock } = stage.world
  const signal = clock.timeoutSignal(minute, "cancelling")
  await clock.drive(stage.leader.node!.cancelRun(run, "no", { principal: "anonymous" }, { signal }))
  await stage.world.pass(700)
  victim.resume()
  expect((await stage.finished(run)).verdict).toBe("cancelled")
  expect(victim.keeper.starts.length).toBeLessThanOrEqual(1)
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
})

test("a node that has lost every trace of what it ran says so, in effect: unknown, by the task's policy", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 10 * minute }))
  const victim = stage.other
  const runs: string[] = []
  for (const onLoss of ["wait", "requeue"] as const) {
    runs.push(await stage.submit([aJob({ onLoss, needs: { node: victim.name } })]))
  }
  await stage.started(victim, 2)
  await stage.world.pass(3000)
  victim.keeper.loseAll()
  const run = await stage.finished(runs[0]!, minute)
  expect([run.verdict, run.reason]).toEqual([
    "lost",
    `job was lost: ${victim.name} has no trace of it any more`,
  ])
  expect((await stage.finished(runs[1]!, 30 * minute)).verdict).toBe("succeeded")
})

test("every order and report comes twice, the second time late and to whoever lives then: none begins twice", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 3000 }), {
    network: { echoes: 1, echoMs: 20_000 },
  })
  const runs: string[] = []
  for (const onLoss of ["wait", "requeue"] as const) {
    runs.push(await stage.submit([aJob({ onLoss, count: 12 })]))
  }
  const victim = stage.other
  await stage.started(victim)
  victim.kill()
  await stage.world.pass(1000)
  victim.start()
  const { leader } = stage
  leader.pause()
  await stage.world.pass(3000)
  leader.resume()
  for (const run of runs) expect((await stage.finished(run)).verdict).toBe("succeeded")
  // Until the last of them has come again.
  await stage.world.pass(30_000)
  for (const { keeper } of stage.world.machines) {
    const begun = keeper.starts.map(({ run, task, fence }) => `${run}/${task}/${fence}`)
    expect(new Set(begun).size).toBe(begun.length)
    expect(keeper.list()).toEqual([])
  }
})

/** A failure is made smaller, and still fails: on a made-up runner, and on a broken driver. */
import { expect, test } from "vitest"
import { minimise } from "./minimise.ts"
import type { PlannedEvent } from "./plan.ts"
import { reportRun } from "./report.ts"
import { type RunOptions, type RunResult, runSimulation } from "./run.ts"

const always = (): boolean => true

function result(options: RunOptions, failure: string | undefined): RunResult {
  return {
    seed: options.seed,
    failure,
    steps: 70,
    leaders: 0,
    commit: 0,
    acknowledged: 0,
    calls: 0,
    unknown: 0,
    unjudged: 0,
    calmMs: 0,
    events: options.events ?? planned,
    notes: [],
  }
}

const planned: readonly PlannedEvent[] = Array.from({ length: 100 }, (_, at) => ({
  at,
  kind: "crash",
  dice: at,
}))

/** Fails if the events 13 and 77 come and messages are lost; differently if 5 is the first. */
function pretended(options: RunOptions): RunResult {
  const dice = new Set((options.events ?? planned).map((event) => event.dice))
  if (dice.has(13) && dice.has(77) && !options.without?.has("loss")) {
    return result(options, `seed 1, step ${dice.size}: broken at ${dice.size}\n    more`)
  }
  return result(options, dice.has(5) ? "seed 1, step 3: something else" : undefined)
}

test("events and weather that do not matter are left out", () => {
  const options = { seed: 1, size: 3, steps: 500 }
  const smaller = minimise(options, { run: pretended, hasTime: always })
  expect(smaller?.options.events.map(({ dice }) => dice)).toEqual([13, 77])
  expect(smaller?.options.without?.has("loss")).toBe(false)
  expect(smaller?.options.without?.has("skew")).toBe(true)
  expect(smaller?.options.steps).toBe(70)
  expect(smaller?.failure).toContain("broken at 2")
})

test("what does not fail is not made smaller", () => {
  const options = { seed: 1, size: 3, steps: 500, events: [] }
  expect(minimise(options, { run: pretended, hasTime: always })).toBeUndefined()
})

test("when the time is over, the smallest so far is the answer", () => {
  let left = 3
  const options = { seed: 1, size: 3, steps: 500 }
  const smaller = minimise(options, { run: pretended, hasTime: () => left-- > 0 })
  expect(smaller?.options.events.length).toBeGreaterThan(2)
  expect(pretended(smaller!.options).failure).toContain("broken")
})

test(
  "a broken driver: few events are left, and the transcript tells them",
  { timeout: 60_000 },
  () => {
    const broken = { size: 5, steps: 4000, mutant: "wiped-disk" } as const
    let seed = 1
    while (runSimulation({ ...broken, seed }).failure === undefined) seed++
    const failed = { ...broken, seed }
    const first = runSimulation(failed)
    const smaller = minimise(failed, { run: runSimulation, hasTime: always })!
    expect(smaller.options.events.length).toBeLessThan(first.events.length / 4)
    expect(runSimulation(smaller.options).failure).toBe(smaller.failure)
    let runs = 200
    const { text } = reportRun({ failed, result: first, hasTime: () => runs-- > 0 })
    expect(text).toContain(`seed ${seed}, step`)
    expect(text).toContain("smaller:")
    expect(text).toContain("stops: crash")
  },
)

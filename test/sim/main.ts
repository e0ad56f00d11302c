/** `npm run sim -- [--seed S] [--seeds K] [--steps N] [--size M] [--minutes T] [--small SECONDS]`: runs K worlds
 *  from seed S on, or for T minutes; without a size each seed has its own, 1 to 7. Exit 1 when one breaks: it is made
 *  smaller for so many seconds, shown, and written to a file that `--replay FILE` runs again. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { parseArgs } from "node:util"
import {
  numberFrom,
  runAsProcess,
  seedRange,
  UsageError,
  wholeNumber,
} from "../support/command-line.ts"
import { readRecipe, writeRecipe } from "./raft/recipe.ts"
import { describeEnd, reportRun } from "./raft/report.ts"
import { type RunOptions, type RunResult, runSimulation } from "./raft/run.ts"
import { streamOf } from "./raft/streams.ts"

const usage = `npm run sim -- [--seed S] [--seeds K] [--steps N] [--size 1..7] [--minutes T] [--small SECONDS]
  K worlds (100; with --minutes as many as fit) from seed S (1) on, of N rough steps (5000);
  a size of 0, as without one: each seed has its own; --small: how long a failure is made smaller (60)
npm run sim -- --replay FILE
  the one run in a file that a failure has left
  exit 0: all hold; 1: one breaks, or nothing was tried; 2: wrong arguments`

/** Most clusters have three members, and most that goes wrong needs few. */
const sizes = [3, 3, 3, 5, 5, 1, 2, 4, 6, 7]

function sizeOf(seed: number): number {
  return streamOf(seed, "size").pick(sizes)
}

interface Sums {
  seeds: number
  steps: number
  leaders: number
  commits: number
  acknowledged: number
  calls: number
  unknown: number
  unjudged: number
  calmMs: number
}

function add(sums: Sums, result: RunResult): void {
  sums.seeds++
  sums.steps += result.steps
  sums.leaders += result.leaders
  sums.commits += result.commit
  sums.acknowledged += result.acknowledged
  sums.calls += result.calls
  sums.unknown += result.unknown
  sums.unjudged += result.unjudged
  sums.calmMs = Math.max(sums.calmMs, result.calmMs)
}

function show(sums: Sums): string {
  return `${sums.seeds} seeds hold: ${sums.steps} steps, ${sums.leaders} leaderships, ${sums.commits} commits, ${sums.acknowledged} acknowledged; histories of ${sums.calls} answered calls and ${sums.unknown} without answer are linearizable, ${sums.unjudged} too hard to judge; agreed after at most ${Math.round(sums.calmMs)} ms of calm`
}

/** Where the smaller run is left, for whoever mends it. */
function recipeOf(seed: number): string {
  return `runs/sim-seed-${seed}.json`
}

function showFailure(failed: RunOptions, result: RunResult, seconds: number): void {
  const { seed, steps, size } = failed
  const end = performance.now() + seconds * 1000
  const { text, smaller } = reportRun({ failed, result, hasTime: () => performance.now() < end })
  console.error(text)
  console.error(`again: npm run sim -- --seed ${seed} --seeds 1 --steps ${steps} --size ${size}`)
  if (!smaller) return
  const file = recipeOf(seed)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, writeRecipe(smaller))
  console.error(`smaller again: npm run sim -- --replay ${file}`)
}

function replay(file: string): number {
  let text: string
  try {
    text = readFileSync(file, "utf8")
  } catch (error) {
    throw new UsageError(`--replay: ${(error as Error).message}`)
  }
  const options = readRecipe(text)
  if (typeof options === "string") throw new UsageError(`${file} is no run: ${options}`)
  const result = runSimulation({ ...options, isNoted: true })
  if (result.failure === undefined) {
    console.log(`seed ${result.seed} holds: ${result.steps} steps, ${result.commit} commits`)
    return 0
  }
  console.error(describeEnd(result.notes, result.failure).join("\n"))
  return 1
}

await runAsProcess(usage, (args) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string" },
      minutes: { type: "string", default: "0" },
      steps: { type: "string", default: "5000" },
      size: { type: "string", default: "0" },
      small: { type: "string", default: "60" },
      replay: { type: "string" },
    },
  })
  if (values.replay !== undefined) return replay(values.replay)
  const minutes = numberFrom("minutes", values.minutes, { min: 0 })
  const small = numberFrom("small", values.small, { min: 0 })
  const steps = wholeNumber("steps", values.steps, { min: 1 })
  const wanted = wholeNumber("size", values.size, { min: 0, max: 7 })
  const most = minutes > 0 ? "1000000000" : "100"
  const { first, count } = seedRange({ seed: values.seed, seeds: values.seeds ?? most })
  const end = minutes > 0 ? performance.now() + minutes * 60_000 : Infinity
  const sums: Sums = {
    seeds: 0,
    steps: 0,
    leaders: 0,
    commits: 0,
    acknowledged: 0,
    calls: 0,
    unknown: 0,
    unjudged: 0,
    calmMs: 0,
  }
  for (let seed = first; seed < first + count && performance.now() < end; seed++) {
    const options = { seed, steps, size: wanted > 0 ? wanted : sizeOf(seed) }
    const result = runSimulation(options)
    if (result.failure !== undefined) {
      showFailure(options, result, small)
      return 1
    }
    add(sums, result)
  }
  console.log(show(sums))
  if (sums.acknowledged > 0) return 0
  console.error("nothing was acknowledged in any world: this shows nothing")
  return 1
})

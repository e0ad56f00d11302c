/** `npm run sim -- [--seed S] [--seeds K] [--steps N] [--size M] [--minutes T] [--small SECONDS]`: runs K worlds
 *  from seed S on, or for T minutes; without a size each seed has its own, 1 to 7. Exit 1 when one breaks: it is made
 *  smaller for so many seconds, and shown. */
import { parseArgs } from "node:util"
import { describeRun } from "./raft/report.ts"
import { type RunOptions, type RunResult, runSimulation } from "./raft/run.ts"
import { streamOf } from "./raft/streams.ts"

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

function showFailure(failed: RunOptions, result: RunResult, seconds: number): void {
  const { seed, steps, size } = failed
  const end = performance.now() + seconds * 1000
  console.error(describeRun({ failed, result, hasTime: () => performance.now() < end }))
  console.error(`again: npm run sim -- --seed ${seed} --seeds 1 --steps ${steps} --size ${size}`)
}

function main(): number {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string" },
      minutes: { type: "string", default: "0" },
      steps: { type: "string", default: "5000" },
      size: { type: "string", default: "0" },
      small: { type: "string", default: "60" },
    },
  })
  const minutes = Number(values.minutes)
  const first = Number(values.seed)
  const count = Number(values.seeds ?? (minutes > 0 ? Number.MAX_SAFE_INTEGER : 100))
  const steps = Number(values.steps)
  const wanted = Number(values.size)
  if (![first, count, steps, wanted].every(Number.isInteger) || wanted < 0 || wanted > 7) {
    console.error("seed, seeds, steps and size are whole numbers, size 1 to 7 (0: by seed)")
    return 2
  }
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
      showFailure(options, result, Number(values.small))
      return 1
    }
    add(sums, result)
  }
  console.log(show(sums))
  return 0
}

process.exitCode = main()

/** `npm run sim -- [--seed S] [--seeds K] [--steps N] [--size M]`: runs K worlds from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runSimulation } from "./raft/run.ts"

function main(): number {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string", default: "100" },
      steps: { type: "string", default: "5000" },
      size: { type: "string", default: "5" },
    },
  })
  const first = Number(values.seed)
  const count = Number(values.seeds)
  const steps = Number(values.steps)
  const size = Number(values.size)
  if (![first, count, steps, size].every(Number.isInteger) || size < 1 || size > 7) {
    console.error("seed, seeds, steps and size are whole numbers, size 1 to 7")
    return 2
  }
  const sums = { leaders: 0, commits: 0, acknowledged: 0, calmMs: 0 }
  for (let seed = first; seed < first + count; seed++) {
    const result = runSimulation({ seed, steps, size })
    if (result.failure !== undefined) {
      console.error(result.failure)
      console.error(
        `again: npm run sim -- --seed ${seed} --seeds 1 --steps ${steps} --size ${size}`,
      )
      return 1
    }
    sums.leaders += result.leaders
    sums.commits += result.commit
    sums.acknowledged += result.acknowledged
    sums.calmMs = Math.max(sums.calmMs, result.calmMs)
  }
  console.log(
    `${count} seeds of ${steps} steps hold: ${sums.leaders} leaderships, ${sums.commits} commits, ${sums.acknowledged} acknowledged; agreed after at most ${Math.round(sums.calmMs)} ms of calm`,
  )
  return 0
}

process.exitCode = main()

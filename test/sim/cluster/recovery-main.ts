/** `node test/sim/cluster/recovery-main.ts [--seed S] [--seeds K] [--trace]`: K lost majorities from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runRecovery } from "./recovery.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "100" },
    trace: { type: "boolean", default: false },
    "keep-going": { type: "boolean", default: false },
  },
})
const first = Number(values.seed)
const count = Number(values.seeds)
const sums = { held: 0, destroyed: 0, runs: 0, gone: 0 }
for (let seed = first; seed < first + count; seed++) {
  const result = await runRecovery({
    seed,
    ...(values.trace && { onLine: (line: string) => console.log(line) }),
  })
  if (result.failure !== undefined) {
    console.error(result.failure)
    console.error(`again: node test/sim/cluster/recovery-main.ts --seed ${seed} --seeds 1`)
    process.exitCode = 1
    if (!values["keep-going"]) break
    continue
  }
  sums.held++
  sums.destroyed += result.destroyed
  sums.runs += result.runs
  sums.gone += result.gone
}
console.log(
  `${sums.held} of ${count} recoveries hold: ${sums.destroyed} disks lost, ${sums.runs} runs, ${sums.gone} that only lost disks had`,
)

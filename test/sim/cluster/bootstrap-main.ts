/** `node test/sim/cluster/bootstrap-main.ts [--seed S] [--seeds K] [--trace]`: K beginnings from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runBootstrap } from "./bootstrap.ts"

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
const sums = { held: 0, accepted: 0, apart: 0 }
for (let seed = first; seed < first + count; seed++) {
  const result = await runBootstrap({
    seed,
    ...(values.trace && { onLine: (line: string) => console.log(line) }),
  })
  if (result.failure !== undefined) {
    console.error(result.failure)
    console.error(`again: node test/sim/cluster/bootstrap-main.ts --seed ${seed} --seeds 1`)
    process.exitCode = 1
    if (!values["keep-going"]) break
    continue
  }
  sums.held++
  sums.accepted += result.accepted
  if (result.clusters > 1) sums.apart++
}
console.log(
  `${sums.held} of ${count} beginnings hold: ${sums.accepted} runs accepted, ${sums.apart} worlds with several used clusters`,
)

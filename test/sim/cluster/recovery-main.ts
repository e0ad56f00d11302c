/** `node test/sim/cluster/recovery-main.ts [--seed S] [--seeds K] [--trace]`: K lost majorities from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runAsProcess, seedRange } from "../../support/command-line.ts"
import { runRecovery } from "./recovery.ts"

const usage = `node test/sim/cluster/recovery-main.ts [--seed S] [--seeds K] [--trace] [--keep-going]
  K lost majorities (100) from seed S (1) on
  exit 0: all hold; 1: one breaks, or nothing was tried; 2: wrong arguments`

await runAsProcess(usage, async (args) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string", default: "100" },
      trace: { type: "boolean", default: false },
      "keep-going": { type: "boolean", default: false },
    },
  })
  const { first, count } = seedRange(values)
  const sums = { held: 0, destroyed: 0, runs: 0, gone: 0 }
  let failed = 0
  for (let seed = first; seed < first + count; seed++) {
    const result = await runRecovery({
      seed,
      ...(values.trace && { onLine: (line: string) => console.log(line) }),
    })
    if (result.failure !== undefined) {
      console.error(result.failure)
      console.error(`again: node test/sim/cluster/recovery-main.ts --seed ${seed} --seeds 1`)
      failed++
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
  if (sums.runs === 0) console.error("no run was accepted in any world: this shows nothing")
  return failed === 0 && sums.runs > 0 ? 0 : 1
})

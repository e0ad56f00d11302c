/** `node test/sim/cluster/main.ts [--seed S] [--seeds K] [--size N] [--lines L]`: K clusters from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runCluster } from "./run.ts"

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string", default: "100" },
      size: { type: "string" },
      lines: { type: "string", default: "80" },
      trace: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
      "keep-going": { type: "boolean", default: false },
    },
  })
  const first = Number(values.seed)
  const count = Number(values.seeds)
  const sums = { faults: 0, runs: 0, succeeded: 0, started: 0, compared: 0, ordered: 0, failed: 0 }
  const special: Record<string, number> = {}
  for (let seed = first; seed < first + count; seed++) {
    const result = await runCluster({
      seed,
      lines: Number(values.lines),
      ...(values.trace && { onLine: (line) => console.log(line) }),
      ...(values.size !== undefined && { size: Number(values.size) }),
    })
    if (values.verbose) console.log(JSON.stringify(result))
    if (result.failure !== undefined) {
      console.error(result.failure)
      console.error(`again: node test/sim/cluster/main.ts --seed ${seed} --seeds 1`)
      sums.failed++
      if (!values["keep-going"]) return 1
    }
    for (const [what, times] of Object.entries(result.special)) {
      special[what] = (special[what] ?? 0) + times
    }
    for (const name of ["faults", "runs", "succeeded", "started", "compared", "ordered"] as const) {
      sums[name] += result[name]
    }
  }
  for (const [what, times] of Object.entries(special)) console.log(`  ${what}: ${times}`)
  console.log(
    `${count - sums.failed} of ${count} seeds hold: ${sums.faults} faults, ${sums.runs} runs (${sums.succeeded} succeeded), ${sums.started} starts, ${sums.compared} comparisons of tables, ${sums.ordered} calls in order`,
  )
  return sums.failed === 0 ? 0 : 1
}

process.exitCode = await main()

/** `node test/sim/cluster/main.ts [--seed S] [--seeds K] [--size N] [--lines L]`: K clusters from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import { runAsProcess, seedRange, wholeNumber } from "../../support/command-line.ts"
import { runCluster } from "./run.ts"

const usage = `node test/sim/cluster/main.ts [--seed S] [--seeds K] [--size 1..7] [--lines L] [--trace] [--verbose] [--keep-going]
  K clusters of whole nodes (100) from seed S (1) on; a failure shows L lines of log (80)
  exit 0: all hold; 1: one breaks, or nothing was tried; 2: wrong arguments`

await runAsProcess(usage, async (args) => {
  const { values } = parseArgs({
    args: [...args],
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
  const { first, count } = seedRange(values)
  const lines = wholeNumber("lines", values.lines, { min: 0 })
  const size =
    values.size === undefined ? {} : { size: wholeNumber("size", values.size, { min: 1, max: 7 }) }
  const sums = { faults: 0, runs: 0, succeeded: 0, started: 0, compared: 0, ordered: 0, failed: 0 }
  const special: Record<string, number> = {}
  for (let seed = first; seed < first + count; seed++) {
    const result = await runCluster({
      seed,
      lines,
      ...(values.trace && { onLine: (line) => console.log(line) }),
      ...size,
    })
    if (values.verbose) console.log(JSON.stringify(result))
    if (result.failure !== undefined) {
      console.error(result.failure)
      console.error(
        `again: node test/sim/cluster/main.ts --seed ${seed} --seeds 1${values.size === undefined ? "" : ` --size ${values.size}`}`,
      )
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
  if (sums.runs === 0) console.error("no cluster was given any run: this shows nothing")
  return sums.failed === 0 && sums.runs > 0 ? 0 : 1
})

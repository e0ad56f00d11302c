/** `node test/sim/engine/main.ts [--seed S] [--seeds K] [--lines L] [--trace]`: K worlds from seed S on; exit 1 when one breaks. */
import { parseArgs } from "node:util"
import {
  numberFrom,
  runAsProcess,
  seedRange,
  UsageError,
  wholeNumber,
} from "../../support/command-line.ts"
import { faultKinds } from "./faults.ts"
import { runEngine } from "./run.ts"

const usage = `node test/sim/engine/main.ts [--seed S] [--seeds K | --minutes T] [--lines L] [--faults KIND,…] [--trace] [--verbose] [--keep-going]
  K worlds (100), or as many as fit in T minutes, from seed S (1) on: plans of every shape, hosts that crash, sleep and lose each other
  a failure shows L lines of log (80); faults: ${faultKinds.join(", ")}
  exit 0: all hold; 1: one breaks, or nothing was tried; 2: wrong arguments`

type Counts = Record<string, number>

function add(sums: Counts, more: Iterable<readonly [string, number]>): void {
  for (const [what, times] of more) sums[what] = (sums[what] ?? 0) + times
}

function show(counts: Counts): string {
  return Object.entries(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([what, times]) => `${what} ${times}`)
    .join(", ")
}

await runAsProcess(usage, async (args) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string" },
      minutes: { type: "string", default: "0" },
      lines: { type: "string", default: "80" },
      faults: { type: "string" },
      trace: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
      "keep-going": { type: "boolean", default: false },
    },
  })
  const minutes = numberFrom("minutes", values.minutes, { min: 0 })
  const most = minutes > 0 ? "1000000000" : "100"
  const { first, count } = seedRange({ seed: values.seed, seeds: values.seeds ?? most })
  const end = minutes > 0 ? performance.now() + minutes * 60_000 : Infinity
  const lines = wholeNumber("lines", values.lines, { min: 0 })
  const kinds = values.faults?.split(",").map((name) => {
    const kind = faultKinds.find((one) => one === name)
    if (!kind) throw new UsageError(`no such fault: ${name}`)
    return kind
  })
  const faults: Counts = {}
  const verdicts: Counts = {}
  const outcomes: Counts = {}
  const sums: Counts = {
    runs: 0,
    starts: 0,
    attempts: 0,
    overlaps: 0,
    buried: 0,
    crowded: 0,
    checks: 0,
  }
  let failed = 0
  let tried = 0
  let virtualMs = 0
  for (let seed = first; seed < first + count && performance.now() < end; seed++) {
    const result = await runEngine({
      seed,
      lines,
      ...(kinds && { kinds }),
      ...(values.trace && { onLine: (line: string) => console.log(line) }),
    })
    tried++
    virtualMs += result.virtualMs
    if (values.verbose) {
      console.log(JSON.stringify({ ...result, faults: Object.fromEntries(result.faults) }))
    }
    add(faults, result.faults)
    add(verdicts, Object.entries(result.verdicts))
    add(outcomes, Object.entries(result.outcomes))
    const { runs, starts, attempts, overlaps, buried, crowded, checks } = result
    add(sums, Object.entries({ runs, starts, attempts, overlaps, buried, crowded, checks }))
    if (result.failure === undefined) continue
    console.error(result.failure)
    const same = values.faults === undefined ? "" : ` --faults ${values.faults}`
    console.error(`again: node test/sim/engine/main.ts --seed ${seed} --seeds 1${same} --trace`)
    failed++
    if (!values["keep-going"]) break
  }
  console.log(
    `${tried - failed} of ${tried} seeds hold, ${Math.round(virtualMs / 3_600_000)} hours: ${show(sums)}`,
  )
  console.log(
    `  verdicts: ${show(verdicts)}\n  endings: ${show(outcomes)}\n  faults: ${show(faults)}`,
  )
  if (sums["starts"] === 0) console.error("nothing was ever started: this shows nothing")
  return failed === 0 && sums["starts"] !== 0 ? 0 : 1
})

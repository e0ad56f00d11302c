/** `npm run rough -- [--seed S] [--jobs N] [--minutes M] [--nodes 3|5|7] [--faults kill,keeper,…] [--out DIR] [--keep]`: many
 *  jobs on a real cluster that is struck every few seconds; exit 1 when one is not accounted for. */
import { rmSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { hasHosts } from "../e2e/hosts.ts"
import { numberFrom, runAsProcess, UsageError, wholeNumber } from "../support/command-line.ts"
import { describeRough, runRoughJobs } from "./jobs.ts"
import { type FaultKind, faultKinds, possibleFaults } from "./tools.ts"

const usual = "kill,keeper,partition"
const usage = `npm run rough -- [--seed S] [--jobs N] [--minutes M] [--nodes 3|5|7] [--faults ${usual}] [--out DIR] [--keep]
  N jobs (1000) over 3 nodes while a leader, a worker, a keeper or a link is struck every few seconds for M minutes (1)
  exit 0: all accounted for; 1: not so, or nothing was struck; 2: wrong arguments`

function kindsOf(text: string): readonly FaultKind[] {
  return text.split(",").map((name) => {
    const kind = faultKinds.find((one) => one === name)
    if (!kind) throw new UsageError(`no such fault: ${name}`)
    return kind
  })
}

await runAsProcess(usage, async (args) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      jobs: { type: "string", default: "1000" },
      minutes: { type: "string", default: "1" },
      nodes: { type: "string", default: "3" },
      faults: { type: "string", default: usual },
      out: { type: "string" },
      keep: { type: "boolean", default: false },
    },
  })
  const seed = wholeNumber("seed", values.seed, { min: 0 })
  const jobs = wholeNumber("jobs", values.jobs, { min: 1 })
  const minutes = numberFrom("minutes", values.minutes, { min: 0 })
  const nodes = wholeNumber("nodes", values.nodes, { min: 3, max: 7 })
  if (!hasHosts) {
    console.error("no network namespaces here: nothing to try. Run it by: npm run rough")
    return 0
  }
  const { kinds, lack } = possibleFaults(kindsOf(values.faults))
  for (const line of lack) console.error(line)
  const directory = resolve(values.out ?? `runs/rough-seed-${seed}`)
  const result = await runRoughJobs({
    seed,
    jobs,
    nodes,
    ms: minutes * 60_000,
    kinds,
    directory,
    say: (line) => console.log(line),
  })
  console.log(describeRough(result))
  const isStruck = result.struck.size > 0
  if (result.faults.length === 0 && isStruck) {
    if (!values.keep) rmSync(directory, { recursive: true, force: true })
    return 0
  }
  for (const fault of result.faults) console.error(fault)
  if (!isStruck) console.error("nothing was struck: this shows nothing")
  console.error(`record and logs of all nodes: ${directory}`)
  console.error(
    `again: npm run rough -- --seed ${seed} --jobs ${jobs} --minutes ${minutes} --nodes ${nodes} --faults ${values.faults}`,
  )
  return 1
})

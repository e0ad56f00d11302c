/**
 * `npm run chaos -- [--seed S] [--minutes M] [--nodes 3|5|7] [--faults kill,stop,…] [--commit REF] [--plant BUG] [--out DIR]
 * [--keep]`: hurts a real cluster and checks what its clients were told; exit 1 when that cannot be true.
 * `--look DIR` judges a record again.
 */
import { existsSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { hasHosts } from "../e2e/hosts.ts"
import { numberFrom, runAsProcess, UsageError, wholeNumber } from "../support/command-line.ts"
import { runChaos } from "./chaos.ts"
import { judge, paintAll } from "./judge.ts"
import { describe } from "./describe.ts"
import { planted } from "./planted.ts"
import { readRecords } from "./record.ts"
import { type FaultKind, faultKinds, possibleFaults } from "./tools.ts"

function isKind(name: string): name is FaultKind {
  return (faultKinds as readonly string[]).includes(name)
}

const nothing = "no call was put in order, or no fault came: this shows nothing"

function look(directory: string): number {
  const file = join(directory, "record.jsonl")
  if (!existsSync(file)) throw new UsageError(`there is no ${file}`)
  const records = readRecords(file)
  const judgement = judge(records)
  const { faults } = judgement
  console.log(describe({ judgement }))
  for (const fault of faults) console.error(fault)
  console.log(paintAll(directory, records, { title: directory, faults }).join("\n"))
  if (judgement.ordered === 0) console.error(nothing)
  return faults.length === 0 && judgement.ordered > 0 ? 0 : 1
}

const usage = `npm run chaos -- [--seed S] [--minutes M] [--nodes 3|5|7] [--faults ${faultKinds.join()}]
    [--commit REF] [--plant ${Object.keys(planted).join("|")}] [--out DIR] [--keep]
  hurts a real cluster for M minutes (2) and checks what its clients were told
npm run chaos -- --look DIR
  judges a record again
  exit 0: it can be true; 1: it cannot, or nothing was tried; 2: wrong arguments`

await runAsProcess(usage, async (args) => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      minutes: { type: "string", default: "2" },
      nodes: { type: "string", default: "3" },
      faults: { type: "string", default: faultKinds.join() },
      out: { type: "string" },
      keep: { type: "boolean", default: false },
      commit: { type: "string" },
      plant: { type: "string" },
      look: { type: "string" },
    },
  })
  if (values.look !== undefined) return look(values.look)
  const seed = wholeNumber("seed", values.seed, { min: 0 })
  const minutes = numberFrom("minutes", values.minutes, { min: 0 })
  const nodes = wholeNumber("nodes", values.nodes, { min: 3, max: 7 })
  if (minutes === 0) throw new UsageError("--minutes is above 0")
  if (nodes % 2 === 0) throw new UsageError("--nodes is 3, 5 or 7")
  const bug = values.plant === undefined ? undefined : planted[values.plant]
  if (values.plant !== undefined && !bug) throw new UsageError(`no such bug: ${values.plant}`)
  const wanted = values.faults.split(",")
  const unknown = wanted.filter((name) => !isKind(name))
  if (unknown.length > 0) throw new UsageError(`no such fault: ${unknown.join()}`)
  if (!hasHosts) {
    console.error("no network namespaces here: nothing to try. Run it by: npm run chaos")
    return 0
  }
  const { kinds, lack } = possibleFaults(wanted.filter(isKind))
  for (const line of lack) console.error(line)
  if (kinds.length === 0) {
    console.error("none of the wanted faults can be made here")
    return 2
  }
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-")
  const directory = resolve(values.out ?? `runs/chaos-${stamp}-seed-${seed}`)
  const result = await runChaos({
    seed,
    ms: minutes * 60_000,
    nodes,
    kinds,
    directory,
    commit: values.commit,
    bugs: bug ? [bug] : [],
    say: (line) => console.log(line),
  })
  console.log(describe(result))
  if (result.faults.length === 0) {
    if (values.keep) console.log(`kept in ${directory}`)
    else rmSync(directory, { recursive: true, force: true })
    const strikes = [...result.struck.values()].reduce((sum, times) => sum + times, 0)
    if (result.judgement.ordered > 0 && strikes > 0) return 0
    console.error(nothing)
    return 1
  }
  console.error(`\nseed ${seed} does not hold:`)
  for (const fault of result.faults) console.error(fault)
  console.error(`\nrecord, logs of all nodes and pictures: ${directory}`)
  for (const picture of result.pictures) console.error(`  look at ${picture}`)
  console.error(`judge it again: npm run chaos -- --look ${directory}`)
  const plant = values.plant === undefined ? "" : ` --plant ${values.plant}`
  console.error(
    `again: npm run chaos -- --seed ${seed} --minutes ${minutes} --nodes ${nodes} --faults ${kinds.join()}${plant}`,
  )
  return 1
})

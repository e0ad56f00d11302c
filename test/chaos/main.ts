/**
 * `npm run chaos -- [--seed S] [--minutes M] [--nodes 3|5|7] [--faults kill,stop,…] [--commit REF] [--plant BUG] [--out DIR]
 * [--keep]`: hurts a real cluster and checks what its clients were told; exit 1 when that cannot be true.
 * `--look DIR` judges a record again.
 */
import { rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { hasHosts } from "../e2e/hosts.ts"
import { runChaos } from "./chaos.ts"
import { judge, paintAll } from "./judge.ts"
import { describe } from "./describe.ts"
import { planted } from "./planted.ts"
import { readRecords } from "./record.ts"
import { type FaultKind, faultKinds, possibleFaults } from "./tools.ts"

function isKind(name: string): name is FaultKind {
  return (faultKinds as readonly string[]).includes(name)
}

function look(directory: string): number {
  const records = readRecords(join(directory, "record.jsonl"))
  const judgement = judge(records)
  const { faults } = judgement
  console.log(describe({ judgement }))
  for (const fault of faults) console.error(fault)
  console.log(paintAll(directory, records, { title: directory, faults }).join("\n"))
  return faults.length === 0 ? 0 : 1
}

async function main(): Promise<number> {
  const { values } = parseArgs({
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
  const [seed, minutes, nodes] = [values.seed, values.minutes, values.nodes].map(Number)
  const wanted = values.faults.split(",")
  if (!Number.isInteger(seed) || !(minutes! > 0) || ![3, 5, 7].includes(nodes!)) {
    console.error("--seed is a whole number, --minutes above 0, --nodes 3, 5 or 7")
    return 2
  }
  const bug = values.plant === undefined ? undefined : planted[values.plant]
  if (values.plant !== undefined && !bug) {
    console.error(`no such bug: ${values.plant}; there are ${Object.keys(planted).join()}`)
    return 2
  }
  const unknown = wanted.filter((name) => !isKind(name))
  if (unknown.length > 0) {
    console.error(`no such fault: ${unknown.join()}; there are ${faultKinds.join()}`)
    return 2
  }
  if (!hasHosts) {
    console.error("no network namespaces here: nothing to try. Run it by: npm run chaos")
    return 0
  }
  const { kinds, lack } = possibleFaults(wanted.filter(isKind))
  for (const line of lack) console.error(line)
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(":", "-")
  const directory = resolve(values.out ?? `runs/chaos-${stamp}-seed-${seed}`)
  const result = await runChaos({
    seed: seed!,
    ms: minutes! * 60_000,
    nodes: nodes!,
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
    return 0
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
}

process.exitCode = await main()

/** `npm run mutants -- [B-05 …] [--list] [--sim SEEDS]`: plants each bug in a copy of the sources; exit 1 when the tests
 *  let one live. `--sim`: tells also which bugs of the core the raft simulation alone finds within so many seeds. */
import { parseArgs } from "node:util"
import { runAsProcess, UsageError, wholeNumber } from "../support/command-line.ts"
import { mutants } from "./bank.ts"
import { type Outcome, runSimulation, runTests } from "./check.ts"
import type { Mutant } from "./mutant.ts"
import { createScratch, type Scratch } from "./scratch.ts"

/** One row of a Markdown table. */
function row(...cells: readonly string[]): void {
  console.log(`| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`)
}

function verdictOf(outcome: Outcome): string {
  if (outcome.kind === "passed") return "SURVIVED"
  if (outcome.kind === "broken") return `NOT RUN: ${outcome.reason.trim()}`
  return `${outcome.hung ? "only by its time limit: " : ""}${outcome.by}`
}

/** Tests that fail without any bug say nothing about one. */
async function fault(scratch: Scratch, wanted: readonly Mutant[], seeds: number): Promise<string> {
  const files = [...new Set(wanted.flatMap(({ tests }) => tests))]
  const outcomes = [await runTests(scratch.directory, files)]
  if (seeds > 0) outcomes.push(await runSimulation(scratch.directory, seeds))
  const failed = outcomes.find(({ kind }) => kind !== "passed")
  return failed === undefined ? "" : verdictOf(failed)
}

/** What the simulation finds of a bug in the core; other rooms are not in it. */
async function simulated(scratch: Scratch, mutant: Mutant, seeds: number): Promise<string> {
  if (!mutant.file.startsWith("src/consensus/")) return "–"
  const outcome = await runSimulation(scratch.directory, seeds)
  return outcome.kind === "passed" ? "not found" : verdictOf(outcome)
}

async function huntAll(
  scratch: Scratch,
  wanted: readonly Mutant[],
  seeds: number,
): Promise<number> {
  const heads = ["id", "bug", "file", "killed by"]
  if (seeds > 0) heads.push(`raft simulation, ${seeds} seeds`)
  row(...heads)
  row(...heads.map(() => "---"))
  let killed = 0
  for (const mutant of wanted) {
    const { id, what, file, tests } = mutant
    await scratch.withBug(mutant, async () => {
      const outcome = await runTests(scratch.directory, tests)
      if (outcome.kind === "noticed") killed++
      const alone = seeds > 0 ? [await simulated(scratch, mutant, seeds)] : []
      row(id, what, file, verdictOf(outcome), ...alone)
    })
  }
  return killed
}

function isCalled(id: string, name: string): boolean {
  return id.replace(/[a-z]$/, "") === name || id === name
}

function wantedOf(names: readonly string[]): readonly Mutant[] {
  const unknown = names.filter((name) => !mutants.some(({ id }) => isCalled(id, name)))
  if (unknown.length > 0) throw new UsageError(`no such bug: ${unknown.join(", ")}`)
  if (names.length === 0) return mutants
  return mutants.filter(({ id }) => names.some((name) => isCalled(id, name)))
}

const usage = `npm run mutants -- [B-05 B-20c …] [--list] [--sim SEEDS]
  plants each bug (all, unless named) in a copy of the sources and runs the tests that are for it;
  --sim: tells, too, which bugs of the core the raft simulation finds within so many seeds
  exit 0: all killed; 1: one lives; 2: wrong arguments, or tests that fail without any bug`

await runAsProcess(usage, async (args) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      list: { type: "boolean", default: false },
      sim: { type: "string", default: "0" },
    },
    allowPositionals: true,
  })
  const seeds = wholeNumber("sim", values.sim, { min: 0 })
  const wanted = wantedOf(positionals)
  if (values.list) {
    for (const { id, what, file, tests } of wanted) row(id, what, file, tests.join(" "))
    return 0
  }
  const scratch = await createScratch()
  process.once("SIGINT", () => void scratch.remove().finally(() => process.exit(130)))
  try {
    const before = await fault(scratch, wanted, seeds)
    if (before !== "") {
      console.error(`without any bug this fails already: ${before}`)
      return 2
    }
    const killed = await huntAll(scratch, wanted, seeds)
    console.log(`\n${killed} of ${wanted.length} killed`)
    return killed === wanted.length ? 0 : 1
  } finally {
    await scratch.remove()
  }
})

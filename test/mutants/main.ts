/** `npm run mutants -- [B-05 …] [--list]`: plants each bug in a copy of the sources; exit 1 when the tests let one live. */
import { parseArgs } from "node:util"
import { mutants } from "./bank.ts"
import { describeCheck, type Outcome, runCheck } from "./check.ts"
import type { Check, Mutant } from "./mutant.ts"
import { createScratch, type Scratch } from "./scratch.ts"

function say(mutant: Mutant, verdict: string): void {
  console.log(`| ${mutant.id.padEnd(5)} | ${mutant.what} | ${mutant.file} | ${verdict} |`)
}

/** What notices nothing bad in the sound sources can say something about a bug. */
async function checkSound(scratch: Scratch, checks: readonly Check[]): Promise<boolean> {
  const files = new Set(checks.flatMap((check) => ("files" in check ? check.files : [])))
  const seeds = Math.max(0, ...checks.map((check) => ("simSeeds" in check ? check.simSeeds : 0)))
  const whole: Check[] = [{ files: [...files] }]
  if (seeds > 0) whole.push({ simSeeds: seeds })
  for (const check of whole) {
    const outcome = await runCheck(scratch.directory, check)
    if (outcome.kind === "passed") continue
    const why = outcome.kind === "noticed" ? outcome.by : outcome.reason
    console.error(`without any bug this fails already: ${describeCheck(check)}\n${why}`)
    return false
  }
  return true
}

async function hunt(scratch: Scratch, mutant: Mutant): Promise<Outcome> {
  return await scratch.withBug(mutant, async () => {
    for (const check of mutant.checks) {
      const outcome = await runCheck(scratch.directory, check)
      if (outcome.kind !== "passed") return outcome
    }
    return { kind: "passed" }
  })
}

function verdictOf(outcome: Outcome): string {
  if (outcome.kind === "passed") return "SURVIVED"
  if (outcome.kind === "broken") return `NOT RUN: ${outcome.reason.trim()}`
  return `${outcome.hung ? "only by its time limit: " : ""}${outcome.by}`
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: { list: { type: "boolean", default: false } },
    allowPositionals: true,
  })
  const wanted = positionals.length === 0 ? mutants : mutants.filter(({ id }) => isNamed(id))
  function isNamed(id: string): boolean {
    return positionals.some((name) => id === name || id.replace(/[a-z]$/, "") === name)
  }
  if (wanted.length === 0) {
    console.error(`no such bug: ${positionals.join(" ")}`)
    return 2
  }
  if (values.list) {
    for (const mutant of wanted) say(mutant, mutant.checks.map(describeCheck).join(", "))
    return 0
  }
  const scratch = await createScratch()
  process.once("SIGINT", () => void scratch.remove().finally(() => process.exit(130)))
  try {
    const checks = wanted.flatMap((mutant) => mutant.checks)
    if (!(await checkSound(scratch, checks))) return 2
    console.log("| id | bug | file | killed by |\n|---|---|---|---|")
    let killed = 0
    for (const mutant of wanted) {
      const outcome = await hunt(scratch, mutant)
      if (outcome.kind === "noticed") killed++
      say(mutant, verdictOf(outcome))
    }
    console.log(`\n${killed} of ${wanted.length} killed`)
    return killed === wanted.length ? 0 : 1
  } finally {
    await scratch.remove()
  }
}

process.exitCode = await main()

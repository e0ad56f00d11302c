/**
 * `npm run lincheck -- [directory or file] [--work N]`: a verdict for each history below it. Exit 1 where one
 * disagrees with its label, or is bad without one; 2 where a file cannot be read; 3 where the work ran out.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { runAsProcess, UsageError, wholeNumber } from "../support/command-line.ts"
import { checkDirectory } from "./check-directory.ts"

const usage = `npm run lincheck -- [directory or file] [--work N]
  a verdict for each history; --work: how many steps one may take to judge
  exit 0: all as labelled; 1: bad, or against a label; 2: unreadable, none there, or wrong arguments; 3: undecided`

await runAsProcess(usage, (args) => {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { work: { type: "string" } },
    allowPositionals: true,
  })
  const limit =
    values.work === undefined ? {} : { workMax: wholeNumber("work", values.work, { min: 1 }) }
  const [asked] = positionals
  if (positionals.length > 1) throw new UsageError("one directory or file at a time")
  const path = resolve(asked ?? "../shared/testdata/linearizability")
  if (!existsSync(path)) {
    if (asked !== undefined) throw new UsageError(`there is no ${path}`)
    console.log(`skipped: there is no ${path}`)
    return 0
  }
  return checkDirectory(path, { ...limit, print: console.log, now: () => performance.now() })
})

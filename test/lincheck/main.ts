/**
 * `npm run lincheck -- [directory or file] [--work N]`: a verdict for each history below it. Exit 1 where one
 * disagrees with its label, or is bad without one; 2 where a file cannot be read; 3 where the work ran out.
 */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { checkDirectory } from "./check-directory.ts"

function main(): number {
  const { values, positionals } = parseArgs({
    options: { work: { type: "string" } },
    allowPositionals: true,
  })
  const workMax = values.work === undefined ? undefined : Number(values.work)
  if (positionals.length > 1 || (workMax !== undefined && !(workMax >= 1))) {
    console.error("usage: npm run lincheck -- [directory or file] [--work N]")
    return 2
  }
  const path = resolve(positionals[0] ?? "../shared/testdata/linearizability")
  if (!existsSync(path)) {
    const isAsked = positionals[0] !== undefined
    console.log(`${isAsked ? "error" : "skipped"}: there is no ${path}`)
    return isAsked ? 2 : 0
  }
  const limit = workMax === undefined ? {} : { workMax }
  return checkDirectory(path, { ...limit, print: console.log, now: () => performance.now() })
}

process.exitCode = main()

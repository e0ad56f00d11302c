/** `npm run replay -- [directory or file]`: a line for each transcript; exit 1 when one differs or cannot be read. */
import { statSync } from "node:fs"
import { basename, dirname, resolve } from "node:path"
import { parseArgs } from "node:util"
import { runAsProcess, UsageError } from "../support/command-line.ts"
import { replayFile } from "./replay.ts"
import { describeResult, isGood, summary } from "./report.ts"
import { findTranscripts, type Found } from "./transcripts.ts"

const usage = `npm run replay -- [directory or file]
  replays data-driven transcripts (*.txt, and files without an ending that have a line ----)
  exit 0: as expected; 1: one differs, cannot be read, or nothing was compared; 2: wrong arguments`

/** A file is replayed whatever its name. */
function transcriptsAt(path: string): Found & { readonly directory: string } {
  if (statSync(path).isDirectory()) return { directory: path, ...findTranscripts(path) }
  return { directory: dirname(path), transcripts: [basename(path)], leftOut: 0 }
}

await runAsProcess(usage, (args) => {
  const { positionals } = parseArgs({ args: [...args], allowPositionals: true })
  const [asked] = positionals
  if (positionals.length > 1) throw new UsageError("one directory or file at a time")
  const path = resolve(asked ?? "../shared/testdata/raft")
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    if (asked !== undefined) throw new UsageError(`there is no directory or file ${path}`)
    console.log(`skipped: there is no directory ${path}`)
    return 0
  }
  const { directory, transcripts, leftOut } = transcriptsAt(path)
  const results = transcripts.map((name) => {
    const result = replayFile(directory, name)
    console.log(describeResult(result))
    return result
  })
  console.log(summary(results, leftOut))
  return isGood(results) ? 0 : 1
})

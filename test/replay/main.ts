/** `npm run replay -- [directory]`: a line for each transcript; exit 1 when one differs. */
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { replayFile, showDifference, transcriptFiles } from "./replay.ts"

function main(args: readonly string[]): number {
  const directory = resolve(args[0] ?? "../shared/testdata/raft")
  if (!existsSync(directory)) {
    const isAsked = args[0] !== undefined
    console.log(`${isAsked ? "error" : "skipped"}: there is no directory ${directory}`)
    return isAsked ? 2 : 0
  }
  const results = transcriptFiles(directory).map((path) => replayFile(directory, path))
  for (const { path, commands, difference, otherWording } of results) {
    const wording = otherWording > 0 ? `, log lines worded otherwise in ${otherWording}` : ""
    console.log(`${difference ? "differs" : "ok     "} ${path} (${commands} commands${wording})`)
    if (difference) console.log(showDifference(difference))
  }
  const differing = results.filter(({ difference }) => difference !== undefined).length
  console.log(`${results.length} files, ${results.length - differing} ok, ${differing} differ`)
  return differing > 0 || results.length === 0 ? 1 : 0
}

process.exitCode = main(process.argv.slice(2))

/** The test assembly: a real node that holds runs in a phase while a file says so. Arguments: data directory, JSON flags. */
import { readFileSync } from "node:fs"
import { startNode } from "../../src/assembly/index.ts"
import { loadConfig } from "../../src/config/index.ts"

const [holdFile, flags] = process.argv.slice(2)

/** The file names the phase at which runs wait: work of it and of later phases is not assigned. */
function held(): string {
  try {
    return readFileSync(holdFile!, "utf8").trim()
  } catch {
    // No file: nothing is held.
    return ""
  }
}

const phases = [
  "stage",
  "server_start",
  "client_start",
  "collect",
  "bundle",
  "analyze",
  "diff",
  "done",
]

const { config } = loadConfig({
  flags: JSON.parse(flags!) as never,
  env: {},
})
const node = await startNode(config, {
  hold: (_run, phase) => {
    const from = phases.indexOf(held())
    return from >= 0 && phases.indexOf(phase) >= from
  },
})
process.once("SIGTERM", () => void node.stop("SIGTERM"))
console.log(JSON.stringify({ api: node.apiUrl, peerId: node.peerId }))
process.exitCode = await node.done
process.exit()

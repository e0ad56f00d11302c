/** How a node starts its keeper: detached, so that it outlives the node. */
import { spawn } from "node:child_process"
import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from "node:fs"
import { join } from "node:path"
import type { KeeperPaths } from "./paths.ts"

/** Keeps the program small: one user thread of V8, a young generation that is collected early, two for the disk. */
const flags = [
  "--max-semi-space-size=1",
  "--v8-pool-size=1",
  "--disable-warning=ExperimentalWarning",
]
const logBytesMax = 1 << 20

/** Node and the keeper program. */
export function keeperCommand(): readonly string[] {
  return [process.execPath, ...flags, keeperProgram()]
}

/** The one beside this file: `main.ts` in the source, `keeper.js` in a build. */
export function keeperProgram(): string {
  const here = import.meta.dirname
  const candidates = [join(here, "main.ts"), join(here, "keeper.js"), join(here, "..", "keeper.js")]
  // In a build this file is part of another program, whose own main.ts is not there.
  const program = candidates.find((path) => existsSync(path))
  if (program === undefined) throw new Error(`no keeper program beside ${here}`)
  return program
}

/** Starts it and returns; it opens its socket when it is up, or leaves when another one holds the directory. */
export function spawnKeeper(
  start: {
    readonly directory: string
    readonly paths: KeeperPaths
    readonly command: readonly string[]
  },
  exited: () => void,
): void {
  const { directory, paths, command } = start
  mkdirSync(paths.root, { recursive: true, mode: 0o700 })
  if ((statSync(paths.log, { throwIfNoEntry: false })?.size ?? 0) > logBytesMax) {
    renameSync(paths.log, `${paths.log}.1`)
  }
  const log = openSync(paths.log, "a", 0o600)
  try {
    const [program, ...args] = command
    const child = spawn(program!, [...args, directory], {
      cwd: paths.root,
      detached: true,
      stdio: ["ignore", log, log],
    })
    // Whether it came up is seen at its socket; its own words stand in its log.
    child.on("error", () => undefined)
    child.on("exit", exited)
    child.unref()
  } finally {
    closeSync(log)
  }
}

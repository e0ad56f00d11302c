/** The program that is measured: the bundle as users get it, built from this source into a folder of its own. */
import { execFileSync } from "node:child_process"
import { symlinkSync } from "node:fs"
import { join, resolve } from "node:path"

export interface Program {
  /** What starts it, before its arguments. */
  readonly command: readonly string[]
  /** Where data directories and scratch files go; on the disk of the temporary directory. */
  readonly directory: string
  /** Nodes write CPU profiles here when they stop. */
  readonly profiles: string | undefined
}

const root = resolve(import.meta.dirname, "..", "..")

/** Beside it a link to node_modules, since the compiled part of LevelDB is not bundled. */
export function buildProgram(directory: string, profiles: string | undefined): Program {
  const out = join(directory, "dist")
  execFileSync(process.execPath, [join(root, "scripts/build.ts"), "--out", out], {
    stdio: ["ignore", "ignore", "inherit"],
  })
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  return { command: [process.execPath, join(out, "troupe.js")], directory, profiles }
}

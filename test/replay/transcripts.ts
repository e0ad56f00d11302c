/** Which files below a directory are transcripts. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { extname, join } from "node:path"

export interface Found {
  /** Paths from the directory, in order. */
  readonly transcripts: readonly string[]
  /** How many other files there are. */
  readonly leftOut: number
}

/** `*.txt`; and, as some suites name them, files without an ending, where they look like one (a LICENSE does not). */
export function findTranscripts(directory: string): Found {
  const files = [...filesBelow(directory, "")]
  const transcripts = files.filter((path) => isTranscript(directory, path)).toSorted()
  return { transcripts, leftOut: files.length - transcripts.length }
}

/** Hidden ones (`.git`) belong to tools. */
function* filesBelow(directory: string, below: string): Generator<string> {
  for (const entry of readdirSync(join(directory, below), { withFileTypes: true })) {
    const path = join(below, entry.name)
    if (entry.name.startsWith(".")) continue
    if (entry.isDirectory()) yield* filesBelow(directory, path)
    else if (entry.isFile() || (entry.isSymbolicLink() && isFile(join(directory, path)))) yield path
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false
}

function isTranscript(directory: string, path: string): boolean {
  const ending = extname(path)
  if (ending !== "") return ending === ".txt"
  try {
    return /^----\r?$/m.test(readFileSync(join(directory, path), "utf8"))
  } catch {
    // Whether it is one cannot be told; replaying it says why.
    return true
  }
}

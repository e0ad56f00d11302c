/** The few things that are done to a cgroup: its files read and written, one made, one removed. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** The kernel's tree, or a test's. */
export interface CgroupFiles {
  /** Undefined when it is not there. */
  read(path: string): string | undefined
  /** Throws the system's error: EBUSY, EACCES, EROFS, ENOENT, … */
  write(path: string, text: string): void
  /** One that is there already is taken as it is. */
  make(directory: string): void
  /** Its children with it; false while a process stands in one of them. */
  remove(directory: string): boolean
  /** Names of the cgroups right below it. */
  children(directory: string): string[]
}

export const realCgroups: CgroupFiles = {
  read(path) {
    try {
      return readFileSync(path, "utf8")
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === "ENOENT" || code === "ENODEV") return undefined
      throw error
    }
  },
  write: (path, text) => writeFileSync(path, text),
  make: (directory) => void mkdirSync(directory, { recursive: true }),
  remove(directory) {
    // Jobs seldom make cgroups of their own below theirs.
    if (removeOne(directory)) return true
    return nested(directory).toReversed().every(removeOne)
  },
  children(directory) {
    try {
      return readdirSync(directory, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    } catch {
      // Never made, or removed.
      return []
    }
  },
}

function nested(directory: string): string[] {
  const below = realCgroups.children(directory)
  return [directory, ...below.flatMap((name) => nested(join(directory, name)))]
}

/** Pids in it and in those below it. */
export function membersOf(directory: string): number[] {
  const pids: number[] = []
  for (const one of nested(directory)) {
    const text = realCgroups.read(join(one, "cgroup.procs")) ?? ""
    for (const line of text.split("\n")) if (line) pids.push(Number(line))
  }
  return pids
}

function removeOne(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "EBUSY" || code === "ENOTEMPTY") return false
    if (code === "ENOENT") return true
    throw error
  }
}

/** A cgroup for each job where this host lets us make one: nothing that the job starts can leave it. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export type CgroupKind = "cgroup2" | "freezer" | "pids"

/** Where cgroups of a kind can be made: below the keeper's own. */
interface Root {
  readonly kind: CgroupKind
  readonly directory: string
}

export interface Cgroups {
  readonly kind: CgroupKind
  /** Path of one job's cgroup; the same after a restart of the keeper. */
  pathOf(name: string): string
  /** Makes it and runs `work` with this process inside: what it forks is born there, and nothing can slip out before
   *  it is moved. False when that is refused: `work` ran outside, session and group must do. */
  around(path: string, work: () => void): boolean
  /** Pids inside, descendants of a nested cgroup included. */
  members(path: string): number[]
  /** KILL to all at once, so that nothing forks away meanwhile. */
  kill(path: string): void
  /** Removes it; false while something runs in it. */
  remove(path: string): boolean
  /** Removes the folder that holds them, unless something is still in it. */
  close(): void
}

/** Tries v2 (`cgroup.kill`), then v1's freezer, then pids, or only the one asked for. Undefined where none is writable. */
export function findCgroups(name: string, only?: string): Cgroups | undefined {
  for (const root of candidates()) {
    if (only !== undefined && root.kind !== only) continue
    const base = join(root.directory, name)
    if (isUsable(root, base)) return cgroupsIn(root, base)
  }
  return undefined
}

function candidates(): Root[] {
  let own: string
  let mounts: string
  try {
    own = readFileSync("/proc/self/cgroup", "utf8")
    mounts = readFileSync("/proc/self/mountinfo", "utf8")
  } catch {
    // No /proc or no cgroups: not Linux, or a kernel without them.
    return []
  }
  return parseCandidates(own, mounts)
}

/** From /proc/self/cgroup (`id:controllers:path`) and mountinfo (`… root mountpoint … - type source options`). */
export function parseCandidates(own: string, mounts: string): Root[] {
  const paths = new Map<string, string>()
  for (const line of own.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    for (const controller of controllers.split(",")) paths.set(controller, path)
  }
  const roots: Root[] = []
  for (const line of mounts.split("\n")) {
    const [before, after] = line.split(" - ")
    const [, , , mountRoot, point] = (before ?? "").split(" ")
    const [type, , options] = (after ?? "").split(" ")
    if (!point || !mountRoot) continue
    const kind = kindOf(type ?? "", (options ?? "").split(","))
    const path = kind && paths.get(kind === "cgroup2" ? "" : kind)
    if (!kind || path === undefined) continue
    // Inside a container the mount may show only a part of the hierarchy.
    const below = path.startsWith(mountRoot) ? path.slice(mountRoot.length) : path
    roots.push({ kind, directory: join(point, below) })
  }
  const order: readonly CgroupKind[] = ["cgroup2", "freezer", "pids"]
  return roots.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
}

function kindOf(type: string, options: readonly string[]): CgroupKind | undefined {
  if (type === "cgroup2") return "cgroup2"
  if (type !== "cgroup") return undefined
  if (options.includes("freezer")) return "freezer"
  return options.includes("pids") ? "pids" : undefined
}

function isUsable({ kind, directory }: Root, base: string): boolean {
  const trial = join(base, "trial")
  try {
    mkdirSync(trial, { recursive: true })
    // v2 before Linux 5.14 has no cgroup.kill: there v1 or the session is better.
    const needed = kind === "cgroup2" ? "cgroup.kill" : "cgroup.procs"
    let usable = readdirSync(trial).includes(needed)
    // First home, where we are already: whoever may not do that would not come back from a trip.
    for (const place of usable ? [directory, trial, directory] : []) usable = moveTo(place)
    rmdirSync(trial)
    return usable
  } catch {
    // Read-only or not ours: the next kind is tried.
    return false
  }
}

function moveTo(place: string): boolean {
  writeFileSync(join(place, "cgroup.procs"), String(process.pid))
  return true
}

function cgroupsIn({ kind, directory: home }: Root, base: string): Cgroups {
  return {
    kind,
    pathOf: (name) => join(base, name),
    around: (path, work) => runInside(path, home, work),
    members: (path) => membersOf(path),
    kill(path) {
      const members = membersOf(path)
      if (members.length === 0) return
      if (members.includes(process.pid)) killListed(path)
      else if (kind === "cgroup2") writeIfThere(join(path, "cgroup.kill"), "1")
      else if (kind === "freezer") killFrozen(path)
      else killListed(path)
    },
    remove: (path) => removeTree(path),
    close() {
      removeTree(base)
    },
  }
}

function runInside(path: string, home: string, work: () => void): boolean {
  try {
    mkdirSync(path, { recursive: true })
    moveTo(path)
  } catch {
    // The host took the right away since the start.
    work()
    return false
  }
  try {
    work()
  } finally {
    moveTo(home)
  }
  return true
}

function membersOf(path: string): number[] {
  const pids: number[] = []
  for (const directory of nested(path)) {
    const text = readIfThere(join(directory, "cgroup.procs"))
    for (const line of text.split("\n")) if (line) pids.push(Number(line))
  }
  return pids
}

function nested(path: string): string[] {
  let children: string[]
  try {
    children = readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name))
  } catch {
    // Never made, or removed.
    return []
  }
  return [path, ...children.flatMap(nested)]
}

// Frozen, nothing in it can fork between the listing and the kill; pending KILLs act when it thaws.
function killFrozen(path: string): void {
  const state = join(path, "freezer.state")
  writeIfThere(state, "FROZEN")
  killListed(path)
  writeIfThere(state, "THAWED")
}

function killListed(path: string): void {
  for (const pid of membersOf(path)) {
    if (pid === process.pid) continue
    try {
      process.kill(pid, "SIGKILL")
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== "ESRCH" && code !== "EPERM") throw error
    }
  }
}

function removeTree(path: string): boolean {
  // Jobs seldom make cgroups of their own below theirs.
  if (removeOne(path)) return true
  return nested(path).toReversed().every(removeOne)
}

function removeOne(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "EBUSY" || code === "ENOTEMPTY") return false
    if (code === "ENOENT") return true
    throw error
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === "ENOENT" || code === "ENODEV") return ""
    throw error
  }
}

function writeIfThere(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== "ENOENT" && code !== "ENODEV") throw error
  }
}

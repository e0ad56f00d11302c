/** A cgroup for each job where this host lets us make one: nothing that the job starts can leave it. */
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"

export type CgroupKind = "cgroup2" | "freezer" | "pids"

/** Where cgroups of a kind can be made: below the keeper's own. */
interface Root {
  readonly kind: CgroupKind
  readonly directory: string
}

/** All cgroups of one keeper: `home` is its own, the others stand in `base`. */
export interface Cage {
  readonly kind: CgroupKind
  readonly home: string
  readonly base: string
}

export interface Cgroups {
  readonly cage: Cage
  /** Processes that start others: they stand in a job's cgroup for a moment and are no part of the job. */
  readonly staff: Set<number>
  /** Makes a new one and moves this process into it: what it forks is born there, and nothing can slip out before it is
   *  moved. Answers its name. The kernel takes some 10 ms for the first such move in a while. */
  enter(): Promise<string>
  /** Back to where this process was started. */
  leave(): void
  pathOf(name: string): string
  /** The name of the one that holds this process. */
  holding(pid: number): string | undefined
  /** Pids inside, descendants of a nested cgroup included, staff left out. */
  members(path: string): number[]
  /** KILL to all at once, so that nothing forks away meanwhile. */
  kill(path: string): void
  /** Removes it; false while something of the job runs in it. */
  remove(path: string): boolean
  /** Removes all that are empty. */
  sweep(): void
  /** Removes the folder that holds them, unless something is still in it. */
  close(): void
}

/** Tries v2 (`cgroup.kill`), then v1's freezer, then pids, or only the one asked for. Undefined where none is writable. */
export function findCgroups(name: string, only?: string): Cgroups | undefined {
  for (const root of candidates()) {
    if (only !== undefined && root.kind !== only) continue
    const base = join(root.directory, name)
    if (isUsable(root, base)) return openCgroups({ kind: root.kind, home: root.directory, base })
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

/** Those of a keeper, for it and for its further spawners. */
export function openCgroups(cage: Cage): Cgroups {
  const { kind, home, base } = cage
  const staff = new Set([process.pid])
  // Jobs that are over, while a spawner still stands in their cgroup.
  const left = new Set<string>()
  const members = (path: string) => membersOf(path).filter((pid) => !staff.has(pid))
  const remove = (path: string) => {
    for (const one of left) if (one === path || removeTree(one)) left.delete(one)
    if (removeTree(path)) return true
    if (members(path).length > 0) return false
    left.add(path)
    return true
  }
  return {
    cage,
    staff,
    members,
    remove,
    async enter() {
      const name = randomBytes(8).toString("hex")
      const path = join(base, name)
      await mkdir(path, { recursive: true })
      await writeFile(join(path, "cgroup.procs"), String(process.pid))
      return name
    },
    leave: () => void moveTo(home),
    pathOf: (name) => join(base, name),
    holding: (pid) => childrenOf(base).find((name) => membersOf(join(base, name)).includes(pid)),
    kill(path) {
      const all = membersOf(path)
      if (all.length === 0) return
      if (all.some((pid) => staff.has(pid))) killListed(members(path))
      else if (kind === "cgroup2") writeIfThere(join(path, "cgroup.kill"), "1")
      else if (kind === "freezer") killFrozen(path)
      else killListed(all)
    },
    sweep() {
      for (const name of childrenOf(base)) removeTree(join(base, name))
    },
    close() {
      removeTree(base)
    },
  }
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
  return [path, ...childrenOf(path).flatMap((name) => nested(join(path, name)))]
}

function childrenOf(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch {
    // Never made, or removed.
    return []
  }
}

// Frozen, nothing in it can fork between the listing and the kill; pending KILLs act when it thaws.
function killFrozen(path: string): void {
  const state = join(path, "freezer.state")
  writeIfThere(state, "FROZEN")
  killListed(membersOf(path))
  writeIfThere(state, "THAWED")
}

function killListed(pids: readonly number[]): void {
  for (const pid of pids) {
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

/** A cgroup for each job where this host lets us make one: nothing that the job starts can leave it. */
import { randomBytes } from "node:crypto"
import { mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { membersOf, realCgroups } from "./cgroup-files.ts"
import { type Hierarchy, readHierarchies } from "./hierarchies.ts"

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
  for (const root of candidatesIn(readHierarchies())) {
    if (only !== undefined && root.kind !== only) continue
    const base = join(root.directory, name)
    if (isUsable(root, base)) return openCgroups({ kind: root.kind, home: root.directory, base })
  }
  return undefined
}

/** Kinds of cgroup, the best first. */
export function candidatesIn(hierarchies: readonly Hierarchy[]): Root[] {
  const roots = hierarchies.flatMap(({ version, controllers, own: directory }): Root[] => {
    if (version === 2) return [{ kind: "cgroup2", directory }]
    if (controllers.includes("freezer")) return [{ kind: "freezer", directory }]
    return controllers.includes("pids") ? [{ kind: "pids", directory }] : []
  })
  const order: readonly CgroupKind[] = ["cgroup2", "freezer", "pids"]
  return roots.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
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
    for (const one of left) if (one === path || realCgroups.remove(one)) left.delete(one)
    if (realCgroups.remove(path)) return true
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
    holding: (pid) =>
      realCgroups.children(base).find((name) => membersOf(join(base, name)).includes(pid)),
    kill(path) {
      const all = membersOf(path)
      if (all.length === 0) return
      if (all.some((pid) => staff.has(pid))) killListed(members(path))
      else if (kind === "cgroup2") writeIfThere(join(path, "cgroup.kill"), "1")
      else if (kind === "freezer") killFrozen(path)
      else killListed(all)
    },
    sweep() {
      for (const name of realCgroups.children(base)) realCgroups.remove(join(base, name))
    },
    close() {
      realCgroups.remove(base)
    },
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

function writeIfThere(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== "ENOENT" && code !== "ENODEV") throw error
  }
}

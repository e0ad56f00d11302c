/** What a job may use at most: the cgroups that hold it to that, the launcher that enters them, and what they report. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Limits } from "../schema/index.ts"
import { type CgroupFiles, membersOf, realCgroups } from "./cgroup-files.ts"
import { type Cells, type Controller, findCells, makeBase } from "./controllers.ts"
import { readHierarchies } from "./hierarchies.ts"

/** By the names of the manifest. */
export const limitNames = ["memory", "cpus", "pids", "open_files"] as const
export type LimitName = (typeof limitNames)[number]

/** Which limits can be enforced here, and why the others cannot. */
export interface LimitAbilities {
  readonly enforced: readonly LimitName[]
  readonly missing: readonly { readonly limit: LimitName; readonly reason: string }[]
  /** The most that `open_files` may ask for. */
  readonly openFilesMax: number
  /** Where limited cgroups are made: version and folder. */
  readonly places: readonly { readonly version: 1 | 2; readonly directory: string }[]
}

const controllerOf = { memory: "memory", cpus: "cpu", pids: "pids" } as const

/** How a limited job is started, and the cgroups that were made for it. */
export interface Enclosure {
  /** Stands before the program: enters the cgroups, sets what a process sets itself, then becomes the program. */
  readonly launcher: readonly string[]
  readonly paths: readonly string[]
}

/** Exits so when it could not enter; the line that says why begins with the nonce. */
export const launcherExit = 125
const launcherScript = `refuse() { echo "$TROUPE_NONCE $1" >&2; exit ${launcherExit}; }
while [ "$1" != -- ]; do
  case $1 in
    -n) ulimit -n "$2" || refuse "open_files of $2 cannot be set"; shift ;;
    *) { echo $$ > "$1/cgroup.procs"; } 2>/dev/null || refuse "the cgroup $1 cannot be entered" ;;
  esac
  shift
done
shift
exec "$@"`

const cpuPeriodUs = 100_000
/** The kernel takes no less than a millisecond of each period. */
const cpuQuotaUsMin = 1000

export class LimitedCgroups {
  readonly #found: Cells
  readonly #files: CgroupFiles
  readonly #shell: string | undefined
  readonly #openFilesMax: number

  constructor(
    found: Cells,
    parts: { files: CgroupFiles; shell: string | undefined; openFilesMax: number },
  ) {
    this.#found = found
    this.#files = parts.files
    this.#shell = parts.shell
    this.#openFilesMax = parts.openFilesMax
  }

  get abilities(): LimitAbilities {
    const reasons = limitNames.map((limit) => ({ limit, reason: this.#whyNot(limit) }))
    return {
      enforced: limitNames.filter((limit) => this.#whyNot(limit) === undefined),
      missing: reasons.flatMap(({ limit, reason }) => (reason ? [{ limit, reason }] : [])),
      openFilesMax: this.#openFilesMax,
      places: this.#found.cells.map(({ version, base }) => ({ version, directory: base })),
    }
  }

  #whyNot(limit: LimitName): string | undefined {
    if (this.#shell === undefined) return "there is no sh on the PATH, which sets limits"
    return limit === "open_files" ? undefined : this.#found.missing[controllerOf[limit]]
  }

  /** Makes what the limits need; one sentence when one of them cannot be enforced. */
  enclose(name: string, limits: Limits): Enclosure | string {
    const asked = limitNames.filter((limit) => valueOf(limits, limit) !== undefined)
    for (const limit of asked) {
      const reason = this.#whyNot(limit)
      if (reason !== undefined)
        return `its limit ${limit} cannot be enforced on this node: ${reason}`
    }
    const { openFiles } = limits
    if (openFiles !== undefined && openFiles > this.#openFilesMax) {
      return `it may have ${openFiles} open files, but this node's own limit is ${this.#openFilesMax}; raise LimitNOFILE= of its unit, or ulimit -n before it is started`
    }
    const paths: string[] = []
    try {
      for (const cell of this.#found.cells) {
        const { version, base, controllers } = cell
        const settings = settingsOf(limits, version).filter((one) => controllers.includes(one.of))
        if (settings.length === 0) continue
        const path = join(base, name)
        makeBase(cell, this.#files)
        this.#files.make(path)
        paths.push(path)
        this.#apply(path, settings)
      }
    } catch (error) {
      this.release(paths)
      return `its limits cannot be set: ${(error as Error).message}`
    }
    const files = openFiles === undefined ? [] : ["-n", String(openFiles)]
    const argv = [this.#shell!, "-c", launcherScript, "troupe-limits", ...files, ...paths, "--"]
    return { launcher: argv, paths }
  }

  #apply(path: string, settings: readonly Setting[]): void {
    for (const { file, value, isOptional } of settings) {
      // Swap accounting and the like: not on every kernel, and then there is nothing to be held down.
      if (isOptional && this.#files.read(join(path, file)) === undefined) continue
      this.#files.write(join(path, file), value)
    }
  }

  release(paths: readonly string[]): void {
    for (const path of paths) this.#files.remove(path)
  }

  /** Removes those that nobody claims and nothing runs in. */
  sweep(claimed: ReadonlySet<string>): void {
    for (const { base } of this.#found.cells) {
      for (const name of this.#files.children(base)) {
        const path = join(base, name)
        if (!claimed.has(path)) this.#files.remove(path)
      }
    }
  }

  /** Removes the folders, unless something is still in them. */
  close(): void {
    for (const { base } of this.#found.cells) this.#files.remove(base)
  }
}

/** Looks at this host and process; `name` is of the folders that hold the limited cgroups. */
export function findLimits(name: string, shell: string | undefined): LimitedCgroups {
  const found = findCells(readHierarchies(), { name, pid: process.pid, files: realCgroups })
  return new LimitedCgroups(found, { files: realCgroups, shell, openFilesMax: openFilesMax() })
}

function openFilesMax(): number {
  try {
    const [, hard] =
      /^Max open files +\S+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? []
    return Number(hard ?? Number.MAX_SAFE_INTEGER)
  } catch {
    // Not Linux: ulimit itself will say.
    return Number.MAX_SAFE_INTEGER
  }
}

function valueOf(limits: Limits, limit: LimitName): number | undefined {
  const { memoryBytes, cpus, pids, openFiles } = limits
  return { memory: memoryBytes, cpus, pids, open_files: openFiles }[limit]
}

interface Setting {
  readonly of: Controller
  readonly file: string
  readonly value: string
  readonly isOptional?: true
}

function settingsOf({ memoryBytes, cpus, pids }: Limits, version: 1 | 2): Setting[] {
  const memory = String(memoryBytes)
  const quota = String(Math.max(cpuQuotaUsMin, Math.round((cpus ?? 0) * cpuPeriodUs)))
  const process = { of: "pids", file: "pids.max", value: String(pids) } as const
  const old: Setting[] = [
    { of: "memory", file: "memory.limit_in_bytes", value: memory },
    { of: "memory", file: "memory.memsw.limit_in_bytes", value: memory, isOptional: true },
    { of: "cpu", file: "cpu.cfs_period_us", value: String(cpuPeriodUs) },
    { of: "cpu", file: "cpu.cfs_quota_us", value: quota },
    process,
  ]
  const unified: Setting[] = [
    { of: "memory", file: "memory.max", value: memory },
    { of: "memory", file: "memory.swap.max", value: "0", isOptional: true },
    // One process of a job gone is a job that is broken in an unknown way: the kernel then takes all of it.
    { of: "memory", file: "memory.oom.group", value: "1", isOptional: true },
    { of: "cpu", file: "cpu.max", value: `${quota} ${cpuPeriodUs}` },
    process,
  ]
  const asked = { memory: memoryBytes, cpu: cpus, pids }
  return (version === 1 ? old : unified).filter(({ of }) => asked[of] !== undefined)
}

/** What the kernel did to keep a job within its limits. */
export interface LimitHits {
  /** Processes that it killed for want of memory. */
  readonly oomKills: number
  /** Forks and threads that it refused. */
  readonly forksRefused: number
}

/** To be read before the cgroups are removed. */
export function readHits(paths: readonly string[], files: CgroupFiles): LimitHits {
  const count = (name: string, key: string) =>
    Math.max(
      0,
      ...paths.map((path) => {
        const match = new RegExp(`^${key} (\\d+)$`, "m").exec(files.read(join(path, name)) ?? "")
        return Number(match?.[1] ?? 0)
      }),
    )
  return {
    oomKills: Math.max(count("memory.events", "oom_kill"), count("memory.oom_control", "oom_kill")),
    forksRefused: count("pids.events", "max"),
  }
}

/** Everything that runs in them. */
export function limitedMembers(paths: readonly string[]): number[] {
  return paths.flatMap(membersOf)
}

/** KILL to all in those of v2, which have a file for it; v1's are reached through the tree's own cgroup and by signals. */
export function killLimited(paths: readonly string[], files: CgroupFiles): void {
  for (const path of paths) {
    const file = join(path, "cgroup.kill")
    if (files.read(join(path, "cgroup.controllers")) === undefined) continue
    try {
      files.write(file, "1")
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // Removed meanwhile, or a kernel before 5.14, which has no such file: signals do it then.
      if (!["ENOENT", "ENODEV", "EACCES", "EPERM"].includes(code ?? "")) throw error
    }
  }
}

/** `32 MiB`, `1.5 GiB`, `1000 bytes`. */
export function sizeText(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"]
  const power = Math.min(Math.floor(Math.log2(Math.max(1, bytes)) / 10), units.length)
  if (power === 0) return `${bytes} bytes`
  const value = bytes / 1024 ** power
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[power - 1]}`
}

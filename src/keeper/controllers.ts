/** Where this keeper can make cgroups that limit memory, processor time and processes: v1 below its own, v2 below the
 *  nearest ancestor that may hand the controllers down. */
import { dirname, join } from "node:path"
import type { CgroupFiles } from "./cgroup-files.ts"
import type { Hierarchy } from "./hierarchies.ts"

const controllers = ["memory", "cpu", "pids"] as const
export type Controller = (typeof controllers)[number]

/** The folder that holds the limited cgroups, and which limits it can set. */
export interface Cell {
  readonly version: 1 | 2
  readonly base: string
  readonly controllers: readonly Controller[]
}

export interface Cells {
  readonly cells: readonly Cell[]
  /** Of those that no cell has: one sentence why, with the remedy. */
  readonly missing: Readonly<Partial<Record<Controller, string>>>
}

interface Trial {
  readonly name: string
  readonly pid: number
  readonly files: CgroupFiles
}

/** Tries what it answers: a cell was made, entered and left. `name` is of the folder that it makes. */
export function findCells(hierarchies: readonly Hierarchy[], trial: Trial): Cells {
  const cells: Cell[] = []
  const missing: Partial<Record<Controller, string>> = {}
  const open = new Set<Controller>(controllers)
  const take = (cell: Cell | string, wanted: readonly Controller[]) => {
    if (typeof cell === "string") {
      for (const one of wanted) missing[one] ??= cell
    } else {
      cells.push(cell)
      // Made again for the first job that has limits: most hosts never see one.
      trial.files.remove(cell.base)
      for (const one of cell.controllers) open.delete(one)
    }
  }
  for (const hierarchy of hierarchies.toSorted((a, b) => b.version - a.version)) {
    const has = hierarchy.version === 2 ? availableIn(hierarchy, trial) : hierarchy.controllers
    const wanted = controllers.filter((one) => open.has(one) && has.includes(one))
    if (wanted.length === 0) continue
    const find = hierarchy.version === 2 ? findUnified : findOld
    take(find(hierarchy, { ...trial, wanted }), wanted)
  }
  for (const one of controllers) {
    if (!open.has(one)) delete missing[one]
    else missing[one] ??= `this host has no cgroup controller ${one}; mount cgroup2 or v1's ${one}`
  }
  return { cells, missing }
}

type Search = Trial & { readonly wanted: readonly Controller[] }

/** What the kernel offers v2 at all: read where the mount begins. */
function availableIn({ mount }: Hierarchy, { files }: Trial): readonly string[] {
  return words(files.read(join(mount, "cgroup.controllers")))
}

function words(text: string | undefined): readonly string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "")
}

function findOld({ own }: Hierarchy, { name, pid, files, wanted }: Search): Cell | string {
  const base = join(own, name)
  const problem = tryOut(base, { own, pid, files })
  if (problem === undefined) return { version: 1, base, controllers: wanted }
  return `${own} lets no cgroup be made (${problem}); run the node as root`
}

const remedy =
  "run the node as a systemd unit with Delegate=yes and DelegateSubgroup=main, or in an empty delegated cgroup"

/** Goes up from our own cgroup: one with processes in it cannot hand controllers to its children, the kernel says. */
function findUnified(hierarchy: Hierarchy, search: Search): Cell | string {
  const { name, pid, files } = search
  const { own, mount } = hierarchy
  let best: Cell | undefined
  let reason = ""
  for (let at = own; at.startsWith(mount); at = dirname(at)) {
    const given = handDown(at, search)
    reason ||= given.problem ?? ""
    const more = given.controllers.length > (best?.controllers.length ?? 0)
    const base = join(at, name)
    const problem = more ? prepareBase(base, { own, pid, files, given: given.controllers }) : "less"
    if (problem === undefined) {
      if (best) files.remove(best.base)
      best = { version: 2, base, controllers: given.controllers }
      if (given.controllers.length === search.wanted.length) return best
    } else if (more) reason ||= problem
    if (at === mount) break
  }
  return best ?? `no cgroup above ${own} hands its controllers down (${reason}); ${remedy}`
}

/** Which of the wanted ones the children of this cgroup have, or get now. */
function handDown(
  directory: string,
  { files, wanted }: Search,
): { readonly controllers: readonly Controller[]; readonly problem?: string } {
  const file = join(directory, "cgroup.subtree_control")
  const there = words(files.read(join(directory, "cgroup.controllers")))
  const lacking = wanted.filter(
    (one) => there.includes(one) && !words(files.read(file)).includes(one),
  )
  let problem: string | undefined
  for (const one of lacking) {
    try {
      files.write(file, `+${one}`)
    } catch (error) {
      problem ??= `${directory}: ${codeOf(error)}`
    }
  }
  const enabled = words(files.read(file))
  return { controllers: wanted.filter((one) => enabled.includes(one)), ...(problem && { problem }) }
}

function prepareBase(
  base: string,
  place: { own: string; pid: number; files: CgroupFiles; given: readonly Controller[] },
): string | undefined {
  const { files, given } = place
  try {
    makeBase({ version: 2, base, controllers: given }, files)
  } catch (error) {
    files.remove(base)
    return codeOf(error)
  }
  return tryOut(base, place)
}

/** The folder of a cell, ready to hold limited cgroups. Throws the system's error. */
export function makeBase({ version, base, controllers: given }: Cell, files: CgroupFiles): void {
  files.make(base)
  if (version === 1) return
  for (const one of given) files.write(join(base, "cgroup.subtree_control"), `+${one}`)
}

/** Into a new one and back. First home, where we are already: whoever may not do that would not come back. */
function tryOut(
  base: string,
  { own, pid, files }: { own: string; pid: number; files: CgroupFiles },
): string | undefined {
  const trial = join(base, "trial")
  try {
    files.make(trial)
    for (const place of [own, trial, own]) files.write(join(place, "cgroup.procs"), String(pid))
    files.remove(trial)
    return undefined
  } catch (error) {
    files.remove(trial)
    files.remove(base)
    return codeOf(error)
  }
}

function codeOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code ?? message
}

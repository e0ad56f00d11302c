/** A tree of cgroups in memory with the kernel's rules: what hands controllers down, who may be where, who may write. */
import { dirname } from "node:path"
import type { CgroupFiles } from "../../src/keeper/cgroup-files.ts"

interface FakeCgroup {
  readonly given: readonly string[]
  readonly handed: Set<string>
  readonly files: Map<string, string>
}

const filesOf: Readonly<Record<string, readonly string[]>> = {
  memory: ["memory.max", "memory.swap.max", "memory.events", "memory.oom.group"],
  cpu: ["cpu.max", "cpu.stat"],
  pids: ["pids.max", "pids.events"],
}

function refuse(code: string, path: string): never {
  throw Object.assign(new Error(`${code}: ${path}`), { code })
}

/** One hierarchy of v2. */
export class FakeCgroups implements CgroupFiles {
  readonly #mount: string
  readonly #groups = new Map<string, FakeCgroup>()
  readonly #standing = new Map<number, string>()
  /** Only in and below these may be written; undefined: everywhere. */
  writable: readonly string[] | undefined

  constructor(mount: string, controllers: readonly string[]) {
    this.#mount = mount
    this.#groups.set(mount, { given: controllers, handed: new Set(), files: new Map() })
  }

  /** Makes a cgroup and those above it, each handing these down. */
  plant(directory: string, handed: readonly string[]): void {
    if (directory === this.#mount) return
    this.plant(dirname(directory), handed)
    for (const one of handed) this.#groups.get(dirname(directory))!.handed.add(one)
    this.make(directory)
  }

  put(pid: number, directory: string): void {
    this.#standing.set(pid, directory)
  }

  whereIs(pid: number): string | undefined {
    return this.#standing.get(pid)
  }

  handedDown(directory: string): readonly string[] {
    return [...(this.#groups.get(directory)?.handed ?? [])].toSorted()
  }

  has(directory: string): boolean {
    return this.#groups.has(directory)
  }

  read(path: string): string | undefined {
    const group = this.#groups.get(dirname(path))
    const name = path.slice(dirname(path).length + 1)
    if (name === "cgroup.controllers") return group?.given.join(" ")
    if (name === "cgroup.subtree_control") return group && [...group.handed].join(" ")
    return group?.files.get(name)
  }

  write(path: string, text: string): void {
    const directory = dirname(path)
    const name = path.slice(directory.length + 1)
    const group = this.#groups.get(directory) ?? refuse("ENOENT", path)
    this.#checkWritable(directory)
    if (name === "cgroup.subtree_control") return this.#handDown(directory, text.slice(1))
    if (name === "cgroup.procs") return this.#enter(directory, Number(text))
    if (!group.files.has(name)) refuse("EACCES", path)
    group.files.set(name, text)
  }

  #checkWritable(directory: string): void {
    const allowed = this.writable?.some(
      (one) => directory === one || directory.startsWith(`${one}/`),
    )
    if (allowed === false) refuse("EACCES", directory)
  }

  // "No internal processes": whoever hands controllers down holds none, the root excepted.
  #handDown(directory: string, controller: string): void {
    const group = this.#groups.get(directory)!
    if (!group.given.includes(controller)) refuse("ENOENT", directory)
    const isInhabited = [...this.#standing.values()].includes(directory)
    if (isInhabited && directory !== this.#mount) refuse("EBUSY", directory)
    group.handed.add(controller)
  }

  #enter(directory: string, pid: number): void {
    const group = this.#groups.get(directory)!
    if (group.handed.size > 0 && directory !== this.#mount) refuse("EBUSY", directory)
    this.#standing.set(pid, directory)
  }

  make(directory: string): void {
    if (this.#groups.has(directory)) return
    if (!directory.startsWith(`${this.#mount}/`)) refuse("ENOENT", directory)
    this.make(dirname(directory))
    this.#checkWritable(dirname(directory))
    const parent = this.#groups.get(dirname(directory))!
    const given = [...parent.handed]
    const names = given.flatMap((one) => filesOf[one] ?? [])
    const files = new Map(names.map((name) => [name, "max"]))
    this.#groups.set(directory, { given, handed: new Set(), files })
  }

  remove(directory: string): boolean {
    const below = [...this.#groups.keys()].filter(
      (one) => one === directory || one.startsWith(`${directory}/`),
    )
    if ([...this.#standing.values()].some((one) => below.includes(one))) return false
    for (const one of below) this.#groups.delete(one)
    return true
  }

  children(directory: string): string[] {
    return [...this.#groups.keys()]
      .filter((one) => one !== directory && dirname(one) === directory)
      .map((one) => one.slice(directory.length + 1))
  }
}

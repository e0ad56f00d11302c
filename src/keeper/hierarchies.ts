/** The cgroup hierarchies that this process stands in, as /proc tells of them. */
import { readFileSync } from "node:fs"
import { join } from "node:path"

export interface Hierarchy {
  readonly version: 1 | 2
  /** v1: its controllers. v2 has one hierarchy, whose controllers stand in its files. */
  readonly controllers: readonly string[]
  /** Where it is mounted; nothing above it can be reached. */
  readonly mount: string
  /** The cgroup of this process. */
  readonly own: string
}

/** None where there is no /proc or no cgroups: not Linux, or a kernel without them. */
export function readHierarchies(): Hierarchy[] {
  try {
    const own = readFileSync("/proc/self/cgroup", "utf8")
    return parseHierarchies(own, readFileSync("/proc/self/mountinfo", "utf8"))
  } catch {
    // No such files: not Linux.
    return []
  }
}

/** From /proc/self/cgroup (`id:controllers:path`) and mountinfo (`… root mountpoint … - type source options`). */
export function parseHierarchies(own: string, mounts: string): Hierarchy[] {
  const paths = new Map<string, string>()
  for (const line of own.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers === undefined || path === undefined) continue
    for (const controller of controllers.split(",")) paths.set(controller, path)
  }
  return mounts.split("\n").flatMap((line) => {
    const [before, after] = line.split(" - ")
    const [, , , mountRoot, mount] = (before ?? "").split(" ")
    const [type, , options] = (after ?? "").split(" ")
    if (!mount || !mountRoot || (type !== "cgroup" && type !== "cgroup2")) return []
    const version = type === "cgroup2" ? 2 : 1
    const controllers = version === 2 ? [] : (options ?? "").split(",").filter((o) => paths.has(o))
    const path = paths.get(version === 2 ? "" : (controllers[0] ?? "none"))
    if (path === undefined) return []
    // Inside a container the mount may show only a part of the hierarchy.
    const below = path.startsWith(mountRoot) ? path.slice(mountRoot.length) : path
    return [{ version, controllers, mount, own: join(mount, below) } satisfies Hierarchy]
  })
}

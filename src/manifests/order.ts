/** Which role must have started before which: servers before clients, and whoever's address is used before its user. */
import type { Edge } from "../schema/index.ts"
import type { RoleTask } from "./groups.ts"

/** Edges of each role, or two neighbours of a circle: the second starts only after the first. */
export function referenceEdges(
  tasks: readonly RoleTask[],
):
  | { readonly after: ReadonlyMap<string, readonly Edge[]> }
  | { readonly cycle: readonly [user: string, used: string] } {
  const servers = tasks.filter((task) => task.role.life === "server")
  const after = new Map<string, readonly Edge[]>()
  for (const task of tasks) {
    const edges = new Map<string, Edge>()
    for (const name of task.names) edges.set(name, { group: name, on: "started" })
    if (task.role.life === "batch") {
      for (const { role, readiness } of servers) {
        edges.set(role.name, { group: role.name, on: readiness ? "ready" : "started" })
      }
    }
    after.set(task.role.name, [...edges.values()])
  }
  for (const task of tasks) {
    for (const used of task.names) {
      if (reaches(after, used, task.role.name)) return { cycle: [task.role.name, used] }
    }
  }
  return { after }
}

function reaches(
  after: ReadonlyMap<string, readonly Edge[]>,
  from: string,
  target: string,
): boolean {
  const seen = new Set<string>()
  const open = [from]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name === target) return true
    if (seen.has(name)) continue
    seen.add(name)
    open.push(...(after.get(name) ?? []).map((edge) => edge.group))
  }
  return false
}

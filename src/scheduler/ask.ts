/** What a member of a group asks of a node, and what it takes there while its attempt lives. */
import type { Needs, TaskGroup } from "../schema/index.ts"

/** What an attempt takes of its node. Builtin work takes nothing. */
export interface Use {
  readonly slots: 0 | 1
  readonly cores: number
  readonly memoryBytes: number
  readonly gpus: number
  readonly exclusive?: "node" | "network" | undefined
  /** A service: nobody knows when it ends. */
  readonly isLasting: boolean
}

/** Groups with the same key fit on the same nodes. */
export interface Ask {
  readonly key: string
  readonly needs: Needs
  readonly use: Use
  /** Bookkeeping of what ran on that very node, which is done on a closed node too. */
  readonly isTied: boolean
}

const nothingUsed: Use = { slots: 0, cores: 0, memoryBytes: 0, gpus: 0, isLasting: false }

export function askOf(group: TaskGroup): Ask {
  const { needs } = group
  const isBuiltin = group.work.driver === "builtin"
  const use: Use = isBuiltin
    ? nothingUsed
    : {
        slots: 1,
        cores: needs.cores ?? 0,
        memoryBytes: needs.memoryBytes ?? 0,
        gpus: needs.gpus ?? 0,
        exclusive: group.exclusive,
        isLasting: group.life === "service",
      }
  const isTied = isBuiltin && group.with !== undefined
  return { key: JSON.stringify([needs, use, isTied]), needs, use, isTied }
}

/** Whether it is, or chooses the node of, a role: those are spread over the nodes. */
export function takesPlace(group: TaskGroup): boolean {
  return group.role || (group.work.driver === "builtin" && group.work.verb === "stage")
}

const exclusiveness = { none: 0, network: 1, node: 2 }

/** The least of each kind. */
export function leastUse(uses: readonly Use[]): Use {
  const [first = nothingUsed, ...others] = uses
  return others.reduce(
    (least, use) => ({
      slots: 1,
      cores: Math.min(least.cores, use.cores),
      memoryBytes: Math.min(least.memoryBytes, use.memoryBytes),
      gpus: Math.min(least.gpus, use.gpus),
      exclusive: rankOf(use) < rankOf(least) ? use.exclusive : least.exclusive,
      isLasting: false,
    }),
    first,
  )
}

function rankOf({ exclusive }: Use): number {
  return exclusiveness[exclusive ?? "none"]
}

/** Whether it asks more of something: then the other may fit where this does not. */
export function asksMore(use: Use, than: Use): boolean {
  return (
    use.cores > than.cores ||
    use.memoryBytes > than.memoryBytes ||
    use.gpus > than.gpus ||
    rankOf(use) > rankOf(than)
  )
}

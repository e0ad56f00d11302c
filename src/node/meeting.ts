/** What two clusters of one name are to each other when they meet: one gives way, or both stay and say so. */
import type { Clock, Logger } from "../platform/index.ts"
import type { Hello } from "../wire/index.ts"
import { type ClusterRow, readCluster, type View } from "../state/index.ts"
import { redirectsOf, wayTo } from "./redirects.ts"

/** What this cluster does about another. `supersede`: that one was recovered from this one at `index`. */
export type Verdict =
  | { readonly do: "stay" }
  | { readonly do: "dissolve" }
  | { readonly do: "supersede"; readonly index: number }

const conflictsMax = 64
/** A cluster that was not met for this long is no conflict any more. */
const conflictFreshMs = 60_000
/** What this cluster was recovered from comes over by itself, unless it has accepted work since. */
const patienceMs = 30_000

interface Conflict {
  /** A node of the other cluster. */
  readonly node: string
  readonly since: number
  seenAt: number
}

const stay: Verdict = { do: "stay" }

export class Meeting {
  readonly #clock: Clock
  readonly #logger: Logger
  /** Other clusters that do not give way, by id. */
  readonly #conflicts = new Map<string, Conflict>()

  constructor(parts: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = parts.clock
    this.#logger = parts.logger
  }

  /** Other used clusters of the same name: clusterId → a node of it. They never merge by themselves. */
  conflicts(row: ClusterRow | undefined): ReadonlyMap<string, string> {
    const now = this.#clock.boottime()
    const earlier = new Set(row?.earlier?.map(({ clusterId }) => clusterId))
    const shown = new Map<string, string>()
    for (const [clusterId, { node, since, seenAt }] of this.#conflicts) {
      if (now - seenAt > conflictFreshMs) this.#conflicts.delete(clusterId)
      else if (!earlier.has(clusterId) || now - since > patienceMs) shown.set(clusterId, node)
    }
    return shown
  }

  /** Leader only. */
  weigh(view: View | undefined, hello: Hello): Verdict {
    const row = view && readCluster(view)
    const { clusterId } = hello
    // This node may have come over to that very cluster since.
    if (!row || clusterId === undefined || clusterId === row.clusterId) return stay
    const way = wayTo(hello.redirects, row.clusterId, clusterId)
    if (way?.index !== undefined) return { do: "supersede", index: way.index }
    const isEarlier = wayTo(redirectsOf([], row), clusterId, row.clusterId) !== undefined
    if (row.pristine && !isEarlier) {
      return !hello.pristine || clusterId < row.clusterId ? { do: "dissolve" } : stay
    }
    if (!hello.pristine) this.conflict(hello, row)
    return stay
  }

  /** Both have accepted work. */
  conflict(hello: Hello, row: ClusterRow): void {
    const clusterId = hello.clusterId!
    const node = hello.declaration.name
    const now = this.#clock.boottime()
    const known = this.#conflicts.get(clusterId)
    if (known) {
      known.seenAt = now
      return
    }
    if (this.#conflicts.size >= conflictsMax) return
    this.#conflicts.set(clusterId, { node, since: now, seenAt: now })
    if (row.earlier?.some((one) => one.clusterId === clusterId)) return
    this.#logger.warn(
      "another cluster of the same name has accepted work; they never merge by themselves",
      { other: clusterId, node },
    )
  }
}

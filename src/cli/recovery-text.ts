/** What `troupe cluster recover` shows before it asks: where every replica stands, and what may be lost. */
import { incarnationOf } from "../schema/index.ts"
import type { Column } from "./table.ts"

/** One copy of the log, here or elsewhere. */
export interface Copy {
  readonly node: string
  /** A directory or a URL. */
  readonly where: string
  readonly clusterId: string
  readonly term: number
  readonly lastTerm: number
  readonly lastIndex: number
  readonly commit: number
  /** The node runs and follows this leader. */
  readonly leader?: string | undefined
  /** Nobody else votes with it: its node elects itself. */
  readonly isOnlyVoter?: boolean
}

/** Somebody who was asked and has no copy to show. */
export interface Unreached {
  readonly where: string
  readonly reason: string
  /** Whose address it is, where that is known. */
  readonly node?: string | undefined
  /** It said so: nothing of this cluster is lost with it. */
  readonly hasNothing?: boolean
}

/** One copy of each node. Who has shown one in any way is not missed at the other addresses that were tried. */
export function sortOut(
  answers: readonly (Copy | Unreached)[],
  own: Copy,
): { readonly others: readonly Copy[]; readonly unreached: readonly Unreached[] } {
  const others = new Map<string, Copy>()
  const unreached: Unreached[] = []
  for (const answer of answers) {
    if ("reason" in answer) unreached.push(answer)
    // One that runs says more than its files did.
    else if (answer.node !== own.node && others.get(answer.node)?.leader === undefined) {
      others.set(answer.node, answer)
    }
  }
  const isMissed = ({ node }: Unreached): boolean =>
    node === undefined || (node !== own.node && !others.has(node))
  return { others: [...others.values()], unreached: unreached.filter(isMissed) }
}

export const copyColumns: readonly Column<Copy>[] = [
  { title: "NODE", value: ({ node }) => node },
  { title: "TERM", value: ({ term }) => term, align: "right" },
  {
    title: "LAST ENTRY",
    value: ({ lastTerm, lastIndex }) => `${lastIndex} (term ${lastTerm})`,
    align: "right",
  },
  { title: "COMMIT", value: ({ commit }) => commit, align: "right" },
  { title: "INCARNATION", value: ({ clusterId }) => incarnationOf(clusterId), align: "right" },
  { title: "LEADER", value: ({ leader }) => leader ?? "none" },
  { title: "WHERE", value: ({ where }) => where },
]

/** Of two copies of one log, whether the first has more. */
export function isAhead(one: Copy, other: Copy): boolean {
  if (one.lastTerm !== other.lastTerm) return one.lastTerm > other.lastTerm
  return one.lastIndex > other.lastIndex
}

/** Why this copy must not be recovered from, with what to do instead. `loseNewer`: its owner has said so. */
export function refusalOf(
  own: Copy,
  others: readonly Copy[],
  loseNewer: boolean,
): { readonly reason: string; readonly remedy: string } | undefined {
  const same = others.filter(({ clusterId }) => clusterId === own.clusterId)
  const led = same.find(({ leader }) => leader !== undefined)
  if (led) {
    return {
      reason: `the cluster works: ${led.node} follows ${led.leader}`,
      remedy: "start this node; it joins in. Nothing needs to be recovered",
    }
  }
  const later = others.find(
    ({ clusterId }) => incarnationOf(clusterId) > incarnationOf(own.clusterId),
  )
  if (later) {
    return {
      reason: `${later.node} was recovered already (incarnation ${incarnationOf(later.clusterId)})`,
      remedy: "start this node; it puts its old files aside and joins as a new member",
    }
  }
  if (own.isOnlyVoter) {
    return {
      reason: `${own.node} is the only voter of its cluster: it needs no recovery`,
      remedy: "start it: troupe node start. It leads alone, and the others join",
    }
  }
  const [newest] = same
    .filter((one) => isAhead(one, own))
    .toSorted((a, b) => (isAhead(a, b) ? -1 : 1))
  if (newest && !loseNewer) {
    const { node, lastIndex, lastTerm } = newest
    return {
      reason: `${node} has more: its log ends at ${lastIndex} (term ${lastTerm}), here it ends at ${own.lastIndex} (term ${own.lastTerm})`,
      remedy: `recover on ${node} instead; or give up what only it has with --lose-newer-entries`,
    }
  }
  return undefined
}

/** Sentences for a person who is about to decide. */
export function consequences(
  own: Copy,
  seen: { readonly others: readonly Copy[]; readonly unreached: readonly Unreached[] },
): readonly string[] {
  const newer = seen.others.filter((one) => isAhead(one, own))
  const lines = [
    `${own.node} becomes the only voter of a new incarnation of its cluster, with everything in its log up to entry ${own.lastIndex}.`,
  ]
  if (own.commit < own.lastIndex) {
    lines.push(
      `Entries ${own.commit + 1} to ${own.lastIndex} were perhaps never accepted; from now on they are.`,
    )
  }
  for (const { node, lastIndex } of newer) {
    lines.push(`What ${node} has and this node lacks is LOST: entries up to ${lastIndex}.`)
  }
  if (seen.unreached.some(({ hasNothing }) => hasNothing !== true)) {
    lines.push(
      "Nobody knows whether those who did not answer hold more. What only they had accepted is lost.",
    )
  }
  lines.push(
    "All other nodes are members no more. Whoever comes back puts its files aside and joins as a new member.",
    "Tasks that ran on other nodes are settled by their policy: tried again, failed or lost. Those here go on.",
  )
  return lines
}

/** Where clusters went: chains of dissolutions and recoveries. Pure. */
import type { Redirect } from "../schema/index.ts"
import type { ClusterRow } from "../state/index.ts"

export const redirectsMax = 64

/** What a node tells of the past: its own way, and the recoveries that its cluster's tables name. */
export function redirectsOf(
  own: readonly Redirect[],
  row: Pick<ClusterRow, "clusterId" | "earlier"> | undefined,
): readonly Redirect[] {
  const recoveries = (row?.earlier ?? []).map(({ clusterId, index }, place, all): Redirect => {
    const into = all[place + 1]?.clusterId ?? row!.clusterId
    return { from: clusterId, into, index }
  })
  const known = new Set(recoveries.map(({ from }) => from))
  return [...own.filter(({ from }) => !known.has(from)), ...recoveries].slice(-redirectsMax)
}

/** The first step of the way from one cluster to another, if the redirects lead there. Cycles lead nowhere. */
export function wayTo(
  redirects: readonly Redirect[],
  from: string,
  into: string,
): Redirect | undefined {
  const seen = new Set<string>()
  const first = redirects.find((redirect) => redirect.from === from)
  for (let step = first; step && !seen.has(step.from);) {
    if (step.into === into) return first
    seen.add(step.from)
    const { into: next } = step
    step = redirects.find((redirect) => redirect.from === next)
  }
  return undefined
}

/** Whether this leader's clock may say that something has expired (DESIGN.md §5.5). */
import { readMembers } from "../state/index.ts"
import type { Duty } from "./duty.ts"

/** A leader this far from the median of its voters' clocks proposes no expiry. */
export const clockSkewMaxMs = 60_000
const askMs = 2000

/** ms by which this clock is ahead of the median of all voters' clocks that answer, its own among them; undefined when
 *  most voters did not answer. */
export async function clockSkewMs(duty: Duty): Promise<number | undefined> {
  const { context, replica } = duty
  const { clock } = context.parts
  const { voters } = replica.status().confState
  const others = readMembers(replica.tables).filter(
    ({ id }) => voters.includes(id) && id !== replica.memberId,
  )
  const signal = AbortSignal.any([duty.signal, clock.timeoutSignal(askMs, "asking for the time")])
  const offsets = [0]
  const asked = others.map(async (member) => {
    const before = clock.now()
    const theirs = (await context.callPeer(member, "clock", {}, { signal })) as number
    // The answer was given somewhere between; half of the way is as good a guess as any.
    offsets.push(theirs - (before + clock.now()) / 2)
  })
  await Promise.allSettled(asked)
  if (offsets.length <= voters.length / 2) return undefined
  return -median(offsets)
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >>> 1
  if (sorted.length % 2 === 1) return sorted[middle]!
  return (sorted[middle - 1]! + sorted[middle]!) / 2
}

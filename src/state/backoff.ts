/** How long a task waits before it is tried again. */
import { type Task, type TaskGroup, taskName } from "../schema/index.ts"

/** Where the group says nothing. */
const backoffMaxMsDefault = 5 * 60_000
/** Beyond it a wait is longer than any cap. */
const doublingsMax = 20
const spread = 0.25

type Backoff = Pick<TaskGroup, "backoffMs" | "backoffMaxMs">

/** Doubles with each of `tries` after the first. */
export function plainBackoff(group: Backoff, tries: number): number {
  const doublings = Math.min(doublingsMax, Math.max(0, tries - 1))
  return Math.min(group.backoffMaxMs ?? backoffMaxMsDefault, group.backoffMs * 2 ** doublings)
}

/** As plainBackoff, a quarter more or less, so that what failed together is not tried together again. The same on
 *  every node: it follows from the task's name and the fence of its newest attempt. */
export function jitteredBackoff(
  group: Backoff & Pick<TaskGroup, "name" | "count">,
  task: Pick<Task, "run" | "index" | "attempts">,
  tries: number,
): number {
  const wait = plainBackoff(group, tries)
  const least = wait * (1 - spread)
  const most = Math.min(group.backoffMaxMs ?? backoffMaxMsDefault, wait * (1 + spread))
  const fence = task.attempts.at(-1)?.fence ?? 0
  const share = fraction(`${task.run}/${taskName(group, task.index)}#${fence}`)
  return Math.round(least + (most - least) * share)
}

/** 0 ≤ f < 1, evenly over texts: FNV-1a, and the mixing at the end of MurmurHash3, for texts that differ in one place. */
function fraction(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

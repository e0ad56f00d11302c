/** The newest attempt of a task: whether it lives, and which comes next. */
import type { Attempt, Task } from "../schema/index.ts"

/** An attempt that is not ended, if there is one. */
export function liveAttempt(task: Task): Attempt | undefined {
  const last = task.attempts.at(-1)
  return last !== undefined && last.state !== "ended" ? last : undefined
}

/** Number of the attempt that would come next. */
export function nextAttempt(task: Task): number {
  return (task.attempts.at(-1)?.n ?? 0) + 1
}

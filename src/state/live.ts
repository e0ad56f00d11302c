/** The newest attempt of a task: whether it lives, which comes next, and whether one will come. */
import type { Attempt, Task } from "../schema/index.ts"

/** An attempt that is not ended, if there is one. */
export function liveAttempt(task: Task): Attempt | undefined {
  const last = task.attempts.at(-1)
  return last !== undefined && last.state !== "ended" ? last : undefined
}

/** Whether it waits or runs without having been told to end for good. */
export function isOpen(task: Task): boolean {
  if (task.state === "stopping") return task.stop === "drained"
  return task.state === "pending" || task.state === "active"
}

/** Whether it was told to end together with its run or group: nobody waits for a lost node to say how it went. */
export function endsAnyway(task: Task): boolean {
  return task.stop === "cancelled" || task.stop === "timed_out" || task.stop === "failed_fast"
}

/** Number of the attempt that would come next. */
export function nextAttempt(task: Task): number {
  return (task.attempts.at(-1)?.n ?? 0) + 1
}

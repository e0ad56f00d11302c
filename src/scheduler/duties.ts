/** What a leader that has just been elected makes sure of, from the rows alone. */
import type { Run } from "../schema/index.ts"
import {
  liveAttempt,
  readTouchedTasks,
  runPrefix,
  type TaskRef,
  type View,
} from "../state/index.ts"
import type { Duties } from "./types.ts"

/** Starts that were not reported, stops that were told: each is idempotent. */
export function duties(view: View): Duties {
  const starts: TaskRef[] = []
  const stops: TaskRef[] = []
  for (const [, value] of view.range(runPrefix)) {
    const run = value as Run
    if (run.state === "finished") continue
    for (const task of readTouchedTasks(view, run.id)) {
      const live = liveAttempt(task)
      if (live === undefined) continue
      const ref = { run: task.run, group: task.group, index: task.index }
      if (task.state === "stopping") stops.push(ref)
      else if (live.state === "assigned") starts.push(ref)
    }
  }
  return { starts, stops }
}

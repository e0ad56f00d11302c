/** Every blob that a run names. */
import { readPlan, readRun, readTouchedTasks, type View } from "../state/index.ts"

const digestPattern = /^[0-9a-f]{64}$/

/** Whatever looks like a digest counts as one: better a blob too many is kept than one too few. */
export function blobsOf(view: View, run: string): ReadonlySet<string> {
  const digests = new Set<string>()
  look(readRun(view, run)?.bundle, digests)
  look(readPlan(view, run), digests)
  look(readTouchedTasks(view, run), digests)
  return digests
}

function look(value: unknown, digests: Set<string>): void {
  if (typeof value === "string") {
    if (digestPattern.test(value)) digests.add(value)
  } else if (typeof value === "object" && value !== null) {
    for (const inner of Object.values(value)) look(inner, digests)
  }
}

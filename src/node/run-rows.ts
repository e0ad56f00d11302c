/** A run as it is shown and as its tasks need it, put together from the tables. */
import { type RunView, TroupeError } from "../schema/index.ts"
import { readMembers, readPlan, type View, viewOf } from "../state/index.ts"
import type { RunRows } from "./launch.ts"

/** ERR_RUN_NOT_FOUND. */
export function runRows(tables: View, run: string): RunRows {
  const plan = readPlan(tables, run)
  if (!plan) throw runNotFound(run)
  return { run: runView(tables, run, "all"), plan, members: readMembers(tables) }
}

/** `some`: of many tasks those that say most. */
export function runView(tables: View, run: string, tasks: "all" | "some"): RunView {
  const view = viewOf(tables, run, { tasks })
  if (!view) throw runNotFound(run)
  return view
}

export function runNotFound(run: string): TroupeError<"ERR_RUN_NOT_FOUND"> {
  return new TroupeError("ERR_RUN_NOT_FOUND", `there is no run '${run}'`, { run })
}

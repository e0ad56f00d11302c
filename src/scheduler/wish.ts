/** What a group of a live run asks of a node. */
import type { TaskGroup } from "../schema/index.ts"
import type { RunBoard } from "./board.ts"
import type { Wish } from "./fit.ts"

const nothing: ReadonlyMap<number, number> = new Map()

export function wishOf(run: RunBoard, group: TaskGroup): Wish {
  return {
    run: run.run?.id ?? "",
    group,
    anchor: group.with === undefined ? undefined : (run.anchor(group.with) ?? "none"),
    outputs: group.nearOutputs ? run.outputBytes() : nothing,
  }
}

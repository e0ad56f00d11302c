/** Why a task waits, in one sentence. */
import type { Edge, TaskGroup } from "../schema/index.ts"
import { edgeState, type TaskRef } from "../state/index.ts"
import type { Board, RunBoard } from "./board.ts"
import { eligibleOf, Loads, type Misfit, misfits, nearest, pick, rejection } from "./fit.ts"
import { wishOf } from "./wish.ts"
import type { Explanation, PlacementInput } from "./types.ts"

const clause: Readonly<Record<Edge["on"], string>> = {
  started: "to start",
  ready: "to be ready",
  succeeded: "to succeed",
  finished: "to finish",
}

export function explainTask(
  board: Board,
  ref: TaskRef,
  input: Pick<PlacementInput, "facts" | "silent">,
): Explanation | undefined {
  const run = board.runs.get(ref.run)
  const group = run?.groups.get(ref.group)
  const task = group?.task(ref.index)
  if (run === undefined || group === undefined || task === undefined) return undefined
  if (task.state === "blocked") {
    return { waiting: unmetEdge(run, group.definition.after), rejected: [] }
  }
  if (task.state !== "pending") return { waiting: undefined, rejected: [] }
  const loads = new Loads(board, input.facts)
  const wish = wishOf(run, group.definition)
  const failed = misfits({ board, loads, silent: input.silent }, wish)
  const rejected = failed.map(rejection)
  if (pick(loads, wish, input, eligibleOf(board, group)) === undefined) {
    return { waiting: noneFits(group.definition, nearest(failed)), rejected }
  }
  const again = task.notBefore === undefined ? undefined : "waits before it is tried again"
  return { waiting: again ?? "is about to be placed", rejected }
}

/** Names the first failing constraint of the node that came nearest to fitting. */
function noneFits({ needs }: TaskGroup, near: Misfit | undefined): string {
  if (near === undefined) return "there are no nodes"
  if (needs.node === undefined) return `no node fits: ${near.member.name} ${near.reason}`
  if (near.rank === 0) return `there is no node ${needs.node}`
  return `${near.member.name} ${near.reason}`
}

function unmetEdge(run: RunBoard, edges: readonly Edge[]): string {
  for (const edge of edges) {
    const row = run.groups.get(edge.group)?.row
    if (edgeState(row, edge.on) !== "met") return `waits for ${edge.group} ${clause[edge.on]}`
  }
  return "is about to be placed"
}

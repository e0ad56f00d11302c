/** Why a task waits, in one sentence, and why each node does not take it. */
import { type Edge, gpusOf, type Member, type Needs } from "../schema/index.ts"
import { edgeState, gib, type TaskRef } from "../state/index.ts"
import type { Board } from "./board.ts"
import { type Case, type Misfit, misfits, nearest, rejection } from "./misfit.ts"
import type { GroupBoard, RunBoard } from "./run-board.ts"
import type { Explanation } from "./types.ts"

const clause: Readonly<Record<Edge["on"], string>> = {
  started: "to start",
  ready: "to be ready",
  succeeded: "to succeed",
  finished: "to finish",
}

/** What is the same for all pending members of a group, as long as nothing changes. */
interface Kept {
  readonly version: number
  readonly found: Explanation
}

export class Explainer {
  readonly #board: Board
  #kept = new WeakMap<GroupBoard, Kept>()

  constructor(board: Board) {
    this.#board = board
  }

  explain(ref: TaskRef): Explanation | undefined {
    const run = this.#board.runs.get(ref.run)
    const group = run?.groups.get(ref.group)
    const task = group?.task(ref.index)
    if (run === undefined || group === undefined || task === undefined) return undefined
    if (task.state === "blocked") {
      return { waiting: unmetEdge(run, group.definition.after), rejected: [] }
    }
    if (task.state !== "pending") return { waiting: undefined, rejected: [] }
    const { waiting, rejected } = this.#ofGroup(group)
    if (!group.resting.has(ref.index)) return { waiting, rejected }
    const at = new Date(task.notBefore ?? 0).toISOString()
    return { waiting: `waits until ${at} before it is tried again`, rejected }
  }

  #ofGroup(group: GroupBoard): Explanation {
    const kept = this.#kept.get(group)
    if (kept?.version === this.#board.version) return kept.found
    const { definition } = group
    const failed = misfits(this.#board, caseOf(this.#board, group))
    const live = group.live + group.claims.size
    const waiting = group.isFull
      ? `waits: ${live} of at most ${definition.parallel} members run`
      : (noneFits(this.#board, definition.needs, failed) ?? "is about to be placed")
    const found = { waiting, rejected: failed.map(rejection) }
    this.#kept.set(group, { version: this.#board.version, found })
    return found
  }
}

function caseOf({ queue }: Board, { ask, run, definition }: GroupBoard): Case {
  const to = definition.with
  const anchor = to === undefined ? undefined : run.anchor(to)
  const lane = queue.laneOf({ ask, priority: run.priority, anchor })
  return { ask, lane, tie: to === undefined ? undefined : { to, node: anchor ?? "none" } }
}

/** Why no node takes it: what none has, or the first failing constraint of the one that came nearest. */
export function noneFits(
  { nodes }: Board,
  needs: Needs,
  failed: readonly Misfit[],
): string | undefined {
  const members = Array.from(nodes.members(), ({ member }) => member)
  if (members.length === 0) return "there are no nodes"
  if (failed.length < members.length) return undefined
  const near = nearest(failed)!
  if (needs.node !== undefined) {
    return near.rank === 0 ? `there is no node ${needs.node}` : `${near.member.name} ${near.reason}`
  }
  const nobody = failed.every(({ unmet }) => unmet !== undefined)
  const what = nobody ? "no node has all that it needs" : "no node fits"
  return impossible(needs, failed, members) ?? `${what}: ${near.member.name} ${near.reason}`
}

/** What no node has, however idle: only when all lack the same. */
function impossible(
  needs: Needs,
  failed: readonly Misfit[],
  members: readonly Member[],
): string | undefined {
  const lacking = new Set(failed.map(({ unmet }) => unmet?.need))
  const [need] = lacking
  if (lacking.size > 1 || need === undefined) return undefined
  switch (need) {
    case "node":
      return undefined
    case "os":
      return `no node runs ${needs.os}`
    case "arch":
      return `no node is ${needs.arch}`
    case "cores":
      return most(members, `${needs.cores} cores`, { of: ({ cores }) => cores, said: String })
    case "memoryBytes": {
      const what = `${gib(needs.memoryBytes ?? 0)} of memory`
      return most(members, what, { of: (member) => member.memoryBytes, said: gib })
    }
    case "gpus": {
      const what = needs.gpus === 1 ? "a GPU" : `${needs.gpus} GPUs`
      return most(members, what, { of: ({ labels }) => gpusOf(labels), said: String })
    }
    case "labels": {
      const pairs = Object.entries(needs.labels ?? {}).map(([key, value]) => `${key}=${value}`)
      return pairs.length === 1
        ? `no node has the label ${pairs[0]}`
        : `no node has all the labels ${pairs.join(", ")}`
    }
    case "tools": {
      const tools = needs.tools ?? []
      return tools.length === 1
        ? `no node has ${tools[0]} on its PATH`
        : `no node has all of ${tools.join(", ")} on its PATH`
    }
    default:
      return need satisfies never
  }
}

/** `no node has 64 cores (most: 8 on n2)`. */
function most(
  members: readonly Member[],
  wanted: string,
  amount: { readonly of: (member: Member) => number; readonly said: (value: number) => string },
): string {
  const best = members.toSorted((a, b) => amount.of(b) - amount.of(a) || a.id - b.id)[0]!
  const has = amount.of(best)
  if (has === 0) return `no node has ${wanted}`
  return `no node has ${wanted} (most: ${amount.said(has)} on ${best.name})`
}

function unmetEdge(run: RunBoard, edges: readonly Edge[]): string {
  for (const edge of edges) {
    const row = run.groups.get(edge.group)?.row
    if (edgeState(row, edge.on) === "met") continue
    const reached = row === undefined || row.count === 1 ? "" : ` (${row[edge.on]} of ${row.count})`
    return `waits for ${edge.group} ${clause[edge.on]}${reached}`
  }
  return "is about to be placed"
}

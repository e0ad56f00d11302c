/** Which node takes a task: hard constraints in a fixed order, then preferences, then the lowest member id. */
import type { Member, TaskGroup } from "../schema/index.ts"
import { firstUnmet } from "../state/index.ts"
import type { Board } from "./board.ts"
import type { PlacementInput, Rejection } from "./types.ts"

/** Load as it will be when what is being decided now has been applied. */
export class Loads {
  readonly #board: Board
  readonly #facts: PlacementInput["facts"]
  readonly #slots = new Map<number, number>()
  readonly #byRun = new Map<string, Map<number, number>>()

  constructor(board: Board, facts: PlacementInput["facts"]) {
    this.#board = board
    this.#facts = facts
  }

  slots(node: number): number {
    const known = this.#slots.get(node)
    if (known !== undefined) return known
    const taken = Math.max(this.#board.slotsTaken(node), this.#facts?.get(node)?.running ?? 0)
    this.#slots.set(node, taken)
    return taken
  }

  capacity(member: Member): number {
    return this.#facts?.get(member.id)?.capacity ?? member.capacity
  }

  /** Live attempts of one run by node. */
  ofRun(run: string): ReadonlyMap<number, number> {
    return this.#ofRun(run)
  }

  #ofRun(run: string): Map<number, number> {
    const known = this.#byRun.get(run)
    if (known !== undefined) return known
    const counts = new Map<number, number>()
    for (const group of this.#board.runs.get(run)?.groups.values() ?? []) {
      for (const task of group.tasks.values()) {
        const last = task.attempts.at(-1)
        if (last === undefined || !takesPlace(group.definition)) continue
        // What was staged stays where its role will run.
        if (last.state === "ended" && group.definition.role) continue
        counts.set(last.node, (counts.get(last.node) ?? 0) + 1)
      }
    }
    this.#byRun.set(run, counts)
    return counts
  }

  add(run: string, group: TaskGroup, node: number): void {
    if (group.work.driver !== "builtin") this.#slots.set(node, this.slots(node) + 1)
    if (!takesPlace(group)) return
    const counts = this.#ofRun(run)
    counts.set(node, (counts.get(node) ?? 0) + 1)
  }
}

/** Whether it is, or chooses the node of, a role: those are spread over the nodes. */
function takesPlace(group: TaskGroup): boolean {
  return group.role || (group.work.driver === "builtin" && group.work.verb === "stage")
}

/** What one placement asks, the same for a live run and for a dry run. */
export interface Wish {
  readonly run: string
  readonly group: TaskGroup
  /** Node that `with` demands: undefined when the group has no `with`, "none" when that group is nowhere yet. */
  readonly anchor: number | "none" | undefined
  /** For nearOutputs: bytes by node. */
  readonly outputs: ReadonlyMap<number, number>
}

/** A constraint that a member fails: the later in the order, the nearer it was to fitting. */
export interface Misfit {
  readonly member: Member
  readonly rank: number
  readonly reason: string
}

/** After the steps of the needs; a node that `with` rules out is as far from fitting as one that is not named. */
const ranks = { with: -1, session: 100, capacity: 101 }

function misfit(
  place: { readonly board: Board; readonly loads: Loads; readonly input: Preferences },
  wish: Wish,
  member: Member,
): Misfit | undefined {
  const { board, loads, input } = place
  const { group, anchor } = wish
  const unmet = firstUnmet(group.needs, member)
  if (unmet !== undefined) return { member, rank: unmet.step, reason: unmet.reason }
  const session = board.sessions.get(member.id)
  if (session?.state !== "up" || input.silent?.has(member.id)) {
    const reason = session === undefined ? "has not reported yet" : "does not answer"
    return { member, rank: ranks.session, reason }
  }
  const capacity = loads.capacity(member)
  if (group.work.driver !== "builtin" && loads.slots(member.id) >= capacity) {
    const slots = capacity === 1 ? "its only slot" : `all ${capacity} of its slots`
    return { member, rank: ranks.capacity, reason: `has ${slots} taken` }
  }
  if (anchor !== undefined && anchor !== member.id) {
    const where = anchor === "none" ? "which is not placed yet" : "which is elsewhere"
    return { member, rank: ranks.with, reason: `must be the node of ${group.with}, ${where}` }
  }
  return undefined
}

type Preferences = Pick<PlacementInput, "avoid" | "silent">

export interface Choice {
  readonly member: Member | undefined
  readonly rejected: readonly Rejection[]
  /** Of the members that do not fit, the one that came furthest. */
  readonly nearest: Misfit | undefined
}

/** The best member for this wish, and why the others are none. */
export function choose(board: Board, loads: Loads, wish: Wish, input: Preferences): Choice {
  const misfits: Misfit[] = []
  const scored: { member: Member; score: readonly number[] }[] = []
  for (const member of board.members.values()) {
    const failed = misfit({ board, loads, input }, wish, member)
    if (failed === undefined) scored.push({ member, score: score(loads, wish, member, input) })
    else misfits.push(failed)
  }
  const best = scored.toSorted((a, b) => compare(a.score, b.score))[0]
  const near = misfits.toSorted((a, b) => b.rank - a.rank || a.member.id - b.member.id)[0]
  return {
    member: best?.member,
    rejected: misfits.toSorted((a, b) => a.member.id - b.member.id).map(rejection),
    nearest: near,
  }
}

function rejection({ member, reason }: Misfit): Rejection {
  return { id: member.id, node: member.name, reason }
}

/** Lower is better, first difference decides: near the outputs, spread, not the leader, few attempts, low id. */
function score(loads: Loads, wish: Wish, member: Member, input: Preferences): readonly number[] {
  const { group } = wish
  return [
    group.nearOutputs ? -(wish.outputs.get(member.id) ?? 0) : 0,
    takesPlace(group) ? (loads.ofRun(wish.run).get(member.id) ?? 0) : 0,
    member.id === input.avoid ? 1 : 0,
    loads.slots(member.id),
    member.id,
  ]
}

function compare(a: readonly number[], b: readonly number[]): number {
  const place = a.findIndex((value, index) => value !== b[index])
  return place < 0 ? 0 : a[place]! - b[place]!
}

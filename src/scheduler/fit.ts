/** Which node takes a task: hard constraints in a fixed order, then preferences, then the lowest member id. */
import type { Member, TaskGroup } from "../schema/index.ts"
import { firstUnmet } from "../state/index.ts"
import type { Board, GroupBoard } from "./board.ts"
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

type Preferences = Pick<PlacementInput, "avoid" | "silent">

/** Members that meet every constraint of the rows but `with` and room, which change with each placement. */
export function eligible(board: Board, group: TaskGroup): readonly Member[] {
  return [...board.members.values()].filter(
    (member) =>
      board.sessions.get(member.id)?.state === "up" &&
      firstUnmet(group.needs, member) === undefined,
  )
}

/** As `eligible`, kept with the group until a member or a session changes. */
export function eligibleOf(board: Board, group: GroupBoard): readonly Member[] {
  if (group.eligible?.version !== board.nodesVersion) {
    const members = eligible(board, group.definition)
    group.eligible = { version: board.nodesVersion, members }
  }
  return group.eligible.members
}

/** The best of the eligible members that has room and is where `with` wants it. */
export function pick(
  loads: Loads,
  wish: Wish,
  input: Preferences,
  members: readonly Member[],
): Member | undefined {
  let best: Member | undefined
  for (const member of members) {
    if (input.silent?.has(member.id) === true) continue
    if (wish.anchor !== undefined && wish.anchor !== member.id) continue
    if (!hasRoom(loads, wish.group, member)) continue
    if (best === undefined || isBetter(loads, wish, input, [member, best])) best = member
  }
  return best
}

function hasRoom(loads: Loads, group: TaskGroup, member: Member): boolean {
  return group.work.driver === "builtin" || loads.slots(member.id) < loads.capacity(member)
}

/** The first difference decides: near the outputs, spread over nodes, not the leader, few attempts, low id. */
function isBetter(
  loads: Loads,
  { group, outputs, run }: Wish,
  input: Preferences,
  [one, other]: readonly [Member, Member],
): boolean {
  if (group.nearOutputs) {
    const bytes = (outputs.get(one.id) ?? 0) - (outputs.get(other.id) ?? 0)
    if (bytes !== 0) return bytes > 0
  }
  if (takesPlace(group)) {
    const counts = loads.ofRun(run)
    const spread = (counts.get(one.id) ?? 0) - (counts.get(other.id) ?? 0)
    if (spread !== 0) return spread < 0
  }
  if (one.id === input.avoid || other.id === input.avoid) return other.id === input.avoid
  const slots = loads.slots(one.id) - loads.slots(other.id)
  return slots === 0 ? one.id < other.id : slots < 0
}

/** A constraint that a member fails: the later in the order, the nearer it was to fitting. */
export interface Misfit {
  readonly member: Member
  readonly rank: number
  readonly reason: string
}

/** After the steps of the needs; a node that `with` rules out is as far from fitting as one that is not named. */
const ranks = { with: -1, session: 100, capacity: 101 }

/** Where a wish is looked at. */
interface Scene {
  readonly board: Board
  readonly loads: Loads
  readonly silent?: ReadonlySet<number> | undefined
}

function misfit({ board, loads, silent }: Scene, wish: Wish, member: Member): Misfit | undefined {
  const { group, anchor } = wish
  const unmet = firstUnmet(group.needs, member)
  if (unmet !== undefined) return { member, rank: unmet.step, reason: unmet.reason }
  const session = board.sessions.get(member.id)
  if (session?.state !== "up" || silent?.has(member.id) === true) {
    const reason = session === undefined ? "has not reported yet" : "does not answer"
    return { member, rank: ranks.session, reason }
  }
  if (!hasRoom(loads, group, member)) {
    const capacity = loads.capacity(member)
    const slots = capacity === 1 ? "its only slot" : `all ${capacity} of its slots`
    return { member, rank: ranks.capacity, reason: `has ${slots} taken` }
  }
  if (anchor !== undefined && anchor !== member.id) {
    const where = anchor === "none" ? "which is not placed yet" : "which is elsewhere"
    const reason = `must be the node of ${group.with}, ${where}`
    return { member, rank: ranks.with, reason }
  }
  return undefined
}

/** Every member that cannot take it now, with the first constraint that it fails, by id. */
export function misfits(scene: Scene, wish: Wish): readonly Misfit[] {
  return [...scene.board.members.values()]
    .flatMap((member) => misfit(scene, wish, member) ?? [])
    .toSorted((a, b) => a.member.id - b.member.id)
}

/** The one that came furthest. */
export function nearest(all: readonly Misfit[]): Misfit | undefined {
  return all.toSorted((a, b) => b.rank - a.rank || a.member.id - b.member.id)[0]
}

export function rejection({ member, reason }: Misfit): Rejection {
  return { id: member.id, node: member.name, reason }
}

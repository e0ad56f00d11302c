/** Placing a plan that is no run: tried with the very code that places runs, and undone. */
import { type Plan, taskName } from "../schema/index.ts"
import type { Placement } from "../state/index.ts"
import type { Board } from "./board.ts"
import { noneFits } from "./explain.ts"
import { type Case, misfit, type Misfit, rejection } from "./misfit.ts"
import type { NodeBoard } from "./node-board.ts"
import { pick } from "./pick.ts"
import { type Claim, type GroupBoard, RunBoard } from "./run-board.ts"
import type { DryPlacement, PlacementInput, Rejection } from "./types.ts"

/** Where each task of the plan would go if all began now; what has a limit of its own takes turns on the same nodes. */
export function dryRun(board: Board, plan: Plan): readonly DryPlacement[] {
  const run = new RunBoard("", plan)
  const firsts = new Map<string, NodeBoard>()
  const claims: Claim[] = []
  const placed: DryPlacement[] = []
  for (const group of run.groups.values()) {
    placed.push(...dryGroup(board, group, { firsts, claims }))
  }
  for (const claim of claims) board.letGo(claim)
  return placed
}

interface Trial {
  /** Where the first member of each group went. */
  readonly firsts: Map<string, NodeBoard>
  readonly claims: Claim[]
}

function dryGroup(board: Board, group: GroupBoard, { firsts, claims }: Trial): DryPlacement[] {
  const { definition, run, ask } = group
  const to = definition.with
  const anchor = to === undefined ? undefined : firsts.get(to)?.id
  const lane = board.queue.laneOf({ ask, priority: run.priority, anchor })
  const tie = to === undefined ? undefined : { to, node: anchor ?? ("none" as const) }
  const refusals = new Refusals(board, { ask, lane, tie })
  const taken: NodeBoard[] = []
  const placed: DryPlacement[] = []
  for (let index = 0; index < definition.count; index++) {
    if (group.isCarried(index)) continue
    const turn = definition.parallel === undefined ? -1 : index - definition.parallel
    const isTied = to === undefined || anchor !== undefined
    const node = taken[turn] ?? (isTied ? chosen(board, group, lane) : undefined)
    const { rejected } = refusals
    const base = { group: definition.name, index, task: taskName(definition, index), rejected }
    if (node === undefined) placed.push({ ...base, ...refusals.waiting(definition.needs) })
    else {
      placed.push({ ...base, node: { id: node.id, name: node.name } })
      if (index === 0) firsts.set(definition.name, node)
      taken.push(node)
      if (turn < 0) claims.push(board.claim(group, index, node))
      refusals.look(node)
    }
  }
  return placed
}

function chosen(board: Board, group: GroupBoard, lane: Case["lane"]): NodeBoard | undefined {
  const { run, definition } = group
  const places = group.takesPlace ? run.places : undefined
  const wish = { lane, group: definition, places, outputs: undefined }
  const node = pick(board.nodes, wish, board.queue.hold)
  return node === "denied" ? undefined : node
}

/** Why nodes refuse a group, kept up while its members are placed. */
class Refusals {
  readonly #board: Board
  readonly #case: Case
  readonly #misfits = new Map<number, Misfit>()
  #rejected: readonly Rejection[] | undefined

  constructor(board: Board, asked: Case) {
    this.#board = board
    this.#case = asked
    for (const node of board.nodes.members()) this.look(node)
  }

  look(node: NodeBoard): void {
    const before = this.#misfits.get(node.id)?.reason
    const found = misfit(this.#board, this.#case, node)
    if (found?.reason === before) return
    if (found === undefined) this.#misfits.delete(node.id)
    else this.#misfits.set(node.id, found)
    this.#rejected = undefined
  }

  #all(): readonly Misfit[] {
    return [...this.#misfits.values()].toSorted((a, b) => a.member.id - b.member.id)
  }

  get rejected(): readonly Rejection[] {
    this.#rejected ??= this.#all().map(rejection)
    return this.#rejected
  }

  waiting(needs: Parameters<typeof noneFits>[1]): { readonly waiting?: string } {
    const waiting = noneFits(this.#board, needs, this.#all())
    return waiting === undefined ? {} : { waiting }
  }
}

/** What of a new run may go along with its submission: as long as it is next in the queue. `run` is not known yet. */
export function firstPlacements(
  board: Board,
  plan: Plan,
  input: Pick<PlacementInput, "addressOf"> & { readonly budget: number },
): { readonly placements: readonly Placement[]; readonly claims: readonly Claim[] } {
  const run = new RunBoard("", plan)
  const placements: Placement[] = []
  const claims: Claim[] = []
  for (const group of run.groups.values()) {
    const { after, with: tie, count } = group.definition
    if (after.length > 0 || tie !== undefined) continue
    const lane = board.queue.laneOf({ ask: group.ask, priority: run.priority, anchor: undefined })
    for (let index = 0; index < count; index++) {
      if (placements.length >= input.budget || group.isFull) break
      if (group.isCarried(index)) continue
      if (group.ask.use.slots > 0 && !isNext(board, run)) break
      const node = chosen(board, group, lane)
      if (node?.session === undefined) break
      claims.push(board.claim(group, index, node))
      const ref = { run: "", group: group.definition.name, index }
      const { lease } = node.session
      const address = input.addressOf(node.id)
      placements.push({ ...ref, attempt: 1, node: node.id, lease, address })
    }
  }
  return { placements, claims }
}

/** Nobody who waits comes before this run, which is younger than all. */
function isNext({ queue }: Board, run: RunBoard): boolean {
  const first = queue.best()
  if (first === undefined) return true
  if (first.lane.priority !== run.priority) return run.priority > first.lane.priority
  return run.slots < first.run.slots
}

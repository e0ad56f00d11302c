/** The scheduler: indexes kept up by observing writes, decisions computed from them and from what is under way. */
import type { Plan, Run } from "../schema/index.ts"
import {
  type Command,
  type DecideItem,
  nextAttempt,
  type Placement,
  type TaskRef,
  type View,
  type Write,
} from "../state/index.ts"
import { Board } from "./board.ts"
import { dryRun, firstPlacements } from "./dry-run.ts"
import { Explainer } from "./explain.ts"
import type { Entry } from "./lane.ts"
import type { NodeBoard } from "./node-board.ts"
import { pick } from "./pick.ts"
import type { Claim, GroupBoard } from "./run-board.ts"
import { lossPatienceUsual } from "./timers.ts"
import type {
  DecideInput,
  DryPlacement,
  Explanation,
  LossPatience,
  PlacementInput,
  Scheduler,
} from "./types.ts"

/** Items of one entry, whatever the budget. */
const itemsMax = 512

class RowScheduler implements Scheduler {
  readonly #board: Board
  readonly #explainer: Explainer
  /** Placements that were proposed and have not been settled. */
  readonly #underWay = new Map<readonly Placement[], readonly Claim[]>()

  constructor(patience: LossPatience) {
    this.#board = new Board(patience)
    this.#explainer = new Explainer(this.#board)
  }

  reset(view: View): void {
    this.#underWay.clear()
    this.#board.reset(view)
  }

  observe(writes: readonly Write[]): void {
    this.#board.observe(writes)
  }

  decide(input: DecideInput): readonly Command[] {
    const budget = Math.min(input.budget, itemsMax)
    const board = this.#board
    board.nodes.sync(input)
    board.wakeRested(input.now)
    const items = board.timers.items(input.now, budget)
    board.queue.refresh()
    board.queue.chooseHold(input.now)
    const placements = this.#placements(input, { budget: budget - items.length, items })
    const commands: Command[] = []
    if (items.length > 0) commands.push({ type: "decide", items })
    if (placements.length > 0) commands.push({ type: "assign", items: placements })
    return commands
  }

  placeFirst(
    plan: Plan,
    input: PlacementInput & { readonly budget: number },
  ): readonly Placement[] {
    this.#board.nodes.sync(input)
    this.#board.queue.refresh()
    const budget = Math.min(input.budget, itemsMax)
    const { placements, claims } = firstPlacements(this.#board, plan, { ...input, budget })
    this.#keep(placements, claims)
    return placements
  }

  settle(placements: readonly Placement[]): void {
    for (const claim of this.#underWay.get(placements) ?? []) this.#board.letGo(claim)
    this.#underWay.delete(placements)
  }

  #keep(placements: readonly Placement[], claims: readonly Claim[]): void {
    if (claims.length > 0) this.#underWay.set(placements, claims)
  }

  explain(
    task: TaskRef,
    input: Pick<PlacementInput, "facts" | "silent"> = {},
  ): Explanation | undefined {
    this.#board.nodes.sync(input)
    return this.#explainer.explain(task)
  }

  place(plan: Plan, input: PlacementInput): readonly DryPlacement[] {
    this.#board.nodes.sync(input)
    this.#board.queue.refresh()
    return dryRun(this.#board, plan)
  }

  nextWake(now: number): number | undefined {
    return this.#board.timers.next(now)
  }

  attemptsOn(node: number): readonly TaskRef[] {
    return this.#board.on(node)
  }

  runState(run: string): Run["state"] | undefined {
    return this.#board.runs.get(run)?.run?.state
  }

  // ---------------------------------------------------------------- placement

  #placements(
    input: DecideInput,
    step: { readonly budget: number; readonly items: readonly DecideItem[] },
  ): readonly Placement[] {
    const { queue, nodes } = this.#board
    const placements: Placement[] = []
    const claims: Claim[] = []
    // What is stopped by the same decision is not begun.
    const over = new Set(
      step.items.flatMap((item) => (item.kind === "run-timeout" ? [item.run] : [])),
    )
    while (placements.length < step.budget) {
      const entry = queue.best()
      if (entry === undefined) break
      const group = over.has(entry.run.id) ? undefined : notHeld(entry, input)
      if (group === undefined) {
        queue.setAside(entry)
        continue
      }
      const index = group.next()
      if (index === undefined) {
        throw new Error(`${entry.run.id}/${group.definition.name} waits without a member that does`)
      }
      const task = group.tasks.get(index)
      if (task?.notBefore !== undefined && task.notBefore > input.now) {
        // A leader whose clock went back: apply would refuse it.
        this.#board.restAgain(group, index, task.notBefore)
        continue
      }
      const { run, definition } = group
      const places = group.takesPlace ? run.places : undefined
      const outputs = definition.nearOutputs ? run.outputs : undefined
      const { lane } = entry
      const node = pick(nodes, { lane, group: definition, places, outputs }, queue.hold)
      if (node === undefined || node === "denied") {
        queue.block(lane, node === "denied")
        continue
      }
      claims.push(this.#board.claim(group, index, node))
      const attempt = task === undefined ? 1 : nextAttempt(task)
      const ref = { run: run.id, group: definition.name, index }
      placements.push({ ...ref, attempt, ...placeOn(node, input) })
    }
    queue.restore()
    this.#keep(placements, claims)
    return placements
  }
}

/** The first group whose phase is not held. */
function notHeld({ run, groups }: Entry, { hold }: DecideInput): GroupBoard | undefined {
  return hold === undefined
    ? groups[0]
    : groups.find(({ definition }) => !hold(run.run!, definition.phase))
}

function placeOn(
  node: NodeBoard,
  input: PlacementInput,
): Pick<Placement, "node" | "lease" | "address"> {
  return { node: node.id, lease: node.session!.lease, address: input.addressOf(node.id) }
}

/** Nothing observed yet. */
export function createScheduler(patience: LossPatience = lossPatienceUsual): Scheduler {
  return new RowScheduler(patience)
}

/** A lane: all pending work that asks the same of a node, so that when one finds none, none of it does. */
import type { Ask } from "./ask.ts"
import { Bits } from "./bits.ts"
import { Heap, type Ranked } from "./heap.ts"
import type { NodeBoard } from "./node-board.ts"
import type { Nodes } from "./nodes.ts"
import type { GroupBoard, RunBoard } from "./run-board.ts"

/** What one run has in a lane. */
export interface Entry extends Ranked {
  readonly lane: Lane
  readonly run: RunBoard
  /** In the order of the plan; each has something that may be placed. */
  readonly groups: GroupBoard[]
  /** Slots of its run when it was ranked. */
  slots: number
}

export interface LaneAsk {
  readonly ask: Ask
  readonly priority: number
  /** The node that `with` demands. */
  readonly anchor: number | undefined
}

/** Fewest slots first, then the oldest. */
function isBefore(one: Entry, other: Entry): boolean {
  return one.slots === other.slots ? one.run.age < other.run.age : one.slots < other.slots
}

export class Lane implements Ranked {
  place = -1
  readonly key: string
  readonly ask: Ask
  readonly priority: number
  readonly anchor: number | undefined
  readonly entries = new Heap<Entry>(isBefore)
  readonly byRun = new Map<RunBoard, Entry>()
  /** Positions of nodes that are right for it but for room, and of those that may have room now. */
  readonly eligible = new Bits()
  readonly maybe = new Bits()
  /** Since when its first has got nothing, as found at the last decision. */
  since = 0
  /** Some node may have room: it has not been looked at since one improved. */
  isOpen = true

  constructor(key: string, { ask, priority, anchor }: LaneAsk) {
    this.key = key
    this.ask = ask
    this.priority = priority
    this.anchor = anchor
  }

  /** Looks at a node anew; answers whether it may have room for this. */
  look(node: NodeBoard): boolean {
    if (node.position < 0) return false
    const isRight = this.anchor === undefined || this.anchor === node.id
    if (isRight && node.isEligible(this.ask)) {
      this.eligible.add(node.position)
      this.maybe.add(node.position)
      return true
    }
    this.eligible.delete(node.position)
    this.maybe.delete(node.position)
    return false
  }

  /** Looks at every node anew. */
  survey(nodes: Nodes): void {
    this.eligible.clear()
    this.maybe.clear()
    if (this.anchor === undefined) for (const node of nodes.members()) this.look(node)
    else this.look(nodes.of(this.anchor))
  }

  get first(): Entry | undefined {
    return this.entries.first()
  }
}

export function laneKey({ ask, priority, anchor }: LaneAsk): string {
  return `${priority} ${anchor ?? ""} ${ask.key}`
}

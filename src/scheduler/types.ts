/** What the scheduler is asked and what it answers. */
import type { Plan, Run } from "../schema/index.ts"
import type { Command, Placement, TaskRef, View, Write } from "../state/index.ts"

/** Newer than the member's row, by gossip or lease: how many attempts a node takes, and how many it runs. */
export interface NodeLoad {
  readonly capacity: number
  readonly running: number
}

/** What a placement depends on besides the rows. */
export interface PlacementInput {
  readonly facts?: ReadonlyMap<number, NodeLoad>
  /** Member id of the leader: gets work only when nobody else is as near and as free. */
  readonly avoid?: number
  /** Members that do not answer the leader now, though their sessions still stand: they get nothing new. */
  readonly silent?: ReadonlySet<number>
  /** Members that take nothing new by their own word, and why, as a clause that follows their name. */
  readonly full?: ReadonlyMap<number, string>
  /** Address of a member as the others reach it, for `${roles.x.address}`. */
  readonly addressOf: (member: number) => string
}

export interface DecideInput extends PlacementInput {
  /** Leader's wall clock, ms: what the entries will carry as `at`. */
  readonly now: number
  /** Most items in all commands together; ask again when they are applied. */
  readonly budget: number
  /** True: no work of this phase of this run is assigned now (tests hold a run in a phase). */
  readonly hold?: (run: Pick<Run, "id" | "label">, phase: string) => boolean
}

export interface Rejection {
  /** Member id and name. */
  readonly id: number
  readonly node: string
  /** The first constraint that fails there, as a clause: `has 4 cores, 8 are needed`. */
  readonly reason: string
}

export interface Explanation {
  /** Why it waits, in one sentence; undefined when it does not wait. */
  readonly waiting: string | undefined
  /** Nodes that cannot take it now; empty while an edge is not met. */
  readonly rejected: readonly Rejection[]
}

/** Where a task of a plan would go. */
export interface DryPlacement {
  readonly group: string
  readonly index: number
  /** As people write it. */
  readonly task: string
  /** Absent when no node fits. */
  readonly node?: { readonly id: number; readonly name: string }
  /** When no node fits: why, in one sentence, as `explain` says it. */
  readonly waiting?: string
  readonly rejected: readonly Rejection[]
}

/** How long a leader waits before it moves what may still run on a node that was lost. */
export interface LossPatience {
  /** ms after the loss of the session, where the node ends by itself what had no lease for `leaseMs`. */
  readonly requeueMs: number
  readonly leaseMs: number
}

/** Where work goes and what has waited too long. Its indexes follow from the rows: observing every write gives the same
 *  as a reset. Beside the rows it knows only what it has proposed: a placement counts on its node from the moment it is
 *  answered until its task's row comes or `settle` is called, so that nothing is promised twice. */
export interface Scheduler {
  /** Begins anew from all rows, with nothing under way. */
  reset(view: View): void
  /** After each apply, with its writes. */
  observe(writes: readonly Write[]): void
  /** At most one `decide` and one `assign`, in this order. Every `assign` must be settled. */
  decide(input: DecideInput): readonly Command[]
  /** Placements to send along with a submit: of the groups that wait for nothing, as far as they are next. `run` is
   *  empty. Must be settled. */
  placeFirst(plan: Plan, input: PlacementInput & { readonly budget: number }): readonly Placement[]
  /** The proposal of these very placements (items of an `assign`, or an answer of placeFirst) is applied, refused or lost;
   *  not before its writes were observed. What was not applied may be placed again. */
  settle(placements: readonly Placement[]): void
  /** Why a task waits; undefined when no unfinished run has it. */
  explain(task: TaskRef, input?: Pick<PlacementInput, "facts" | "silent">): Explanation | undefined
  /** Dry run of a whole plan over the nodes as they are now, for --print-plan. */
  place(plan: Plan, input: PlacementInput): readonly DryPlacement[]
  /** State time at which decide may have something new to say although nothing was applied; undefined: never. */
  nextWake(now: number): number | undefined
  /** Tasks with a live attempt on this member. */
  attemptsOn(node: number): readonly TaskRef[]
  /** undefined: no such run, or it is finished. */
  runState(run: string): Run["state"] | undefined
}

/** What a new leader makes sure of again: every start and stop is idempotent. */
export interface Duties {
  /** Live attempts whose start is not yet reported. */
  readonly starts: readonly TaskRef[]
  /** Live attempts that were told to stop. */
  readonly stops: readonly TaskRef[]
}

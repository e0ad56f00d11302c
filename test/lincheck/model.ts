/** What a checker is told: a sequential model, and the history of what clients called and were answered. */

/** What a client asks for. `op` tells the members of a model's union of calls apart. */
export interface Call {
  readonly op: string
  readonly input: unknown
}

/**
 * One call of a history. Times are of one clock, in any unit; of equal times the invocation counts as first, so calls
 * that only touch are concurrent. Without `completedAt` the outcome is unknown: the call took effect at any time after
 * its invocation, or never, and `output` does not count. A call that certainly had no effect is left out of the history.
 */
export type HistoryEvent<C extends Call, Output> = C & {
  readonly client: string | number
  readonly invokedAt: number
  readonly completedAt: number | undefined
  readonly output: Output | undefined
}

/** How the thing under test would behave if all calls came one after another. */
export interface Model<State extends {} | null, C extends Call, Output> {
  readonly init: State
  /** The state after the call, undefined where the output cannot come from `state`. An undefined output fits always. */
  step(state: State, call: C, output: Output | undefined): State | undefined
  /** An integer; equal states have equal hashes. */
  hash(state: State): number
  equal(left: State, right: State): boolean
  /** Calls of different partitions never touch the same state; each partition starts from `init`. */
  partition?(call: C): string
  /** True only where the call, so answered, changes no state whatever: such calls are never worth a choice. */
  isRead?(call: C, output: Output | undefined): boolean
  /** Equal only for calls that act alike on every state: of such calls without outcome one stands for the other. */
  kind?(call: C): string
  /**
   * Where states only grow, most wrong orders show long before the next answer is due. False only where no calls but
   * those of `isReset` lead from `state` to one in which `call` is answered so.
   */
  couldLeadTo?(state: State, call: C, output: Output | undefined): boolean
  /** True only where the state after the call does not depend on the one before, nor does its answer. */
  isReset?(call: C): boolean
  showState(state: State): string
  showCall(call: C): string
  showOutput(output: Output): string
}

/** scheduler: which task goes to which node, what has waited too long, and why something waits. */
export { duties } from "./duties.ts"
export { patienceMs } from "./queue.ts"
export { createScheduler } from "./scheduler.ts"
export { bookkeepingMs, lossAfterMs, overdueMarginMs, requeueAfterMs } from "./timers.ts"
export type {
  DecideInput,
  DryPlacement,
  Duties,
  Explanation,
  LossPatience,
  NodeLoad,
  PlacementInput,
  Rejection,
  Scheduler,
} from "./types.ts"

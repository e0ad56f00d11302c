/** state: the replicated tables. `apply` is a pure function of the rows it names and one entry. */
export type * from "./types.ts"
export { apply } from "./apply.ts"
export { firstUnmet, gib, type Unmet } from "./constraints.ts"
export {
  checkpointKey,
  clusterKey,
  eventKey,
  eventPrefix,
  groupKey,
  groupPrefix,
  idempotencyPrefix,
  memberKey,
  memberPrefix,
  type ParsedKey,
  parseKey,
  planKey,
  rowPrefixesOf,
  runId,
  runKey,
  runPrefix,
  sessionKey,
  sessionPrefix,
  standingPrefixes,
  taskGroupPrefix,
  taskKey,
  taskPrefix,
  taskRefOf,
  wasteKey,
  wastePrefix,
} from "./keys.ts"
export { endsAnyway, isOpen, liveAttempt, nextAttempt } from "./live.ts"
export { edgeState } from "./outcome.ts"
export {
  type EventPageRows,
  findRun,
  listRuns,
  readCluster,
  readEvents,
  readGroup,
  readGroups,
  readMember,
  readMembers,
  readPlan,
  readRemoved,
  readRun,
  readSession,
  readTask,
  readTasks,
  readTouchedTasks,
  runEventsMax,
  type RunQuery,
  untouchedTask,
} from "./read.ts"
export { carryOver } from "./carry.ts"
export { recoveryWrites } from "./recovery.ts"
export { createTables, type Tables } from "./tables.ts"
export { activeVersion, membersBehind, migrate } from "./versions.ts"
export { phasesOf, viewOf } from "./view.ts"

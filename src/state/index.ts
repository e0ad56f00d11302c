/** state: the replicated tables. `apply` is a pure function of the rows it names and one entry. */
export type * from "./types.ts"
export { apply } from "./apply.ts"
export { liveAttempt, nextAttempt } from "./attempts.ts"
export { firstUnmet, type Unmet } from "./constraints.ts"
export {
  clusterKey,
  eventKey,
  eventPrefix,
  groupKey,
  groupPrefix,
  memberKey,
  memberPrefix,
  type ParsedKey,
  parseKey,
  planKey,
  runId,
  runKey,
  runPrefix,
  sessionKey,
  sessionPrefix,
  taskGroupPrefix,
  taskKey,
  taskPrefix,
  taskRefOf,
} from "./keys.ts"
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
  readRun,
  readSession,
  readTask,
  readTasks,
  readTouchedTasks,
  runEventsMax,
  type RunQuery,
  untouchedTask,
} from "./read.ts"
export { createTables, type Tables } from "./tables.ts"
export { phasesOf, viewOf } from "./view.ts"

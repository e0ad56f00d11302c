/** Runs, tasks and attempts as the state holds them and as REST shows them. Times are ms since the epoch, state time. */
import * as z from "zod"
import { Digest } from "./plan.ts"

export const Verdict = z.enum(["succeeded", "failed", "timed_out", "cancelled", "lost"])
export type Verdict = z.infer<typeof Verdict>

/** One output of a task: a file of the bundle or an artifact, held as a blob. */
export const Output = z.strictObject({
  /** Path in the bundle with forward slashes, e.g. `roles/server/stdout.log`. */
  path: z.string(),
  digest: Digest,
  bytes: z.int().nonnegative(),
})
export type Output = z.infer<typeof Output>

/** How an attempt ended. `unknown`: it ran, and how it ended cannot be known (never invented). */
export const Ending = z.strictObject({
  outcome: z.enum(["exited", "signalled", "not_started", "unknown", "lost", "done"]),
  exitCode: z.int().optional(),
  signal: z.string().optional(),
  /** One sentence for people; required unless exited 0 / done. */
  reason: z.string().optional(),
  /** True when troupe itself stopped it (stop, cancel, timeout, deadline). */
  stopped: z.boolean(),
  /** Node wall clock, ms. */
  startedAt: z.number().optional(),
  endedAt: z.number().optional(),
})
export type Ending = z.infer<typeof Ending>

const AttemptState = z.enum(["assigned", "started", "ready", "ended"])

export const Attempt = z.strictObject({
  /** 1, 2, … */
  n: z.int().positive(),
  /** Log index of the assignment. */
  fence: z.int(),
  /** Member id and the id of its session at assignment. */
  node: z.int(),
  lease: z.int(),
  /** The node's address at assignment, for `${roles.x.address}`. */
  address: z.string(),
  state: AttemptState,
  assignedAt: z.number(),
  startedAt: z.number().optional(),
  readyAt: z.number().optional(),
  endedAt: z.number().optional(),
  ending: Ending.optional(),
  /** Ended because its node was drained: it was no try. */
  drained: z.literal(true).optional(),
})
export type Attempt = z.infer<typeof Attempt>

/** blocked: an edge is not met · pending: waits for a node · active: has a live attempt ·
 *  stopping: told to stop · finished: will not run again. */
const TaskState = z.enum(["blocked", "pending", "active", "stopping", "finished"])

export const Task = z.strictObject({
  run: z.string(),
  group: z.string(),
  index: z.int().nonnegative(),
  /** As people write it: `server`, `shard[3]`. */
  name: z.string(),
  state: TaskState,
  /** Only when finished. `skipped`: an edge can never be met. */
  result: z.enum(["succeeded", "failed", "skipped", "lost", "cancelled", "timed_out"]).optional(),
  reason: z.string().optional(),
  /** Why it was told to stop: nothing needs the server any more, the run was cancelled or timed out, another member
   *  of a fail-fast group failed, or its node is drained (it runs again elsewhere). */
  stop: z.enum(["unneeded", "cancelled", "timed_out", "failed_fast", "drained"]).optional(),
  /** Not placed before this state time (backoff). */
  notBefore: z.number().optional(),
  attempts: z.array(Attempt),
  outputs: z.array(Output),
})
export type Task = z.infer<typeof Task>

/** The sealed bundle: a tar of `<label>/…`. */
export const BundleRef = z.strictObject({
  digest: Digest,
  bytes: z.int().nonnegative(),
  files: z.int().nonnegative(),
  /** Members that hold a copy. */
  holders: z.array(z.int()),
})
export type BundleRef = z.infer<typeof BundleRef>

export const Run = z.strictObject({
  /** `r-<index of the entry>`; further runs of one entry get `r-<index>.<item>`. */
  id: z.string(),
  label: z.string(),
  kind: z.string(),
  /** active: tasks run or wait · ending: the outcome of the roles is decided, the bundle is being made · finished */
  state: z.enum(["active", "ending", "finished"]),
  /** Set by the first cause (or when the roles have ended well); final only when state is finished. */
  verdict: Verdict.optional(),
  reason: z.string().optional(),
  principal: z.string(),
  key: z.string().optional(),
  /** Name of the node that accepted it. */
  entryNode: z.string(),
  createdAt: z.number(),
  /** When it must end by itself. */
  deadlineAt: z.number(),
  endedAt: z.number().optional(),
  cancelRequested: z.string().optional(),
  bundle: BundleRef.optional(),
  /** Number of its events so far; ids of events are `<index>-<n>`. */
  events: z.int(),
  /** Kept until it is unpinned, however old it is. */
  pinned: z.literal(true).optional(),
})
export type Run = z.infer<typeof Run>

/** An event of a run, kept in a bounded table and streamed by SSE. */
export const RunEvent = z.strictObject({
  /** `<log index>-<n>`, n counts within the run. */
  id: z.string(),
  at: z.number(),
  type: z.enum([
    "run-accepted",
    "task-pending",
    "task-assigned",
    "task-started",
    "task-ready",
    "task-stopping",
    "task-ended",
    "run-cancelling",
    "run-ending",
    "run-finished",
  ]),
  task: z.string().optional(),
  attempt: z.int().optional(),
  /** Node name. */
  node: z.string().optional(),
  message: z.string().optional(),
})
export type RunEvent = z.infer<typeof RunEvent>

/** A phase of the run's view: derived from its tasks, never stored. */
export const Phase = z.strictObject({
  name: z.string(),
  state: z.enum(["waiting", "active", "completed", "failed", "skipped"]),
})
export type Phase = z.infer<typeof Phase>

/** Members of one group by how they stand; together they are `count`. */
export const GroupView = z.strictObject({
  name: z.string(),
  count: z.int(),
  /** true: a user's task, false: bookkeeping. */
  role: z.boolean(),
  blocked: z.int(),
  pending: z.int(),
  active: z.int(),
  stopping: z.int(),
  succeeded: z.int(),
  failed: z.int(),
  skipped: z.int(),
  lost: z.int(),
  cancelled: z.int(),
  timed_out: z.int(),
})
export type GroupView = z.infer<typeof GroupView>

/** What REST shows of one run. */
export const RunView = Run.extend({
  phase: z.string(),
  phases: z.array(Phase),
  /** In the order of the plan. */
  groups: z.array(GroupView).optional(),
  /** The finished run that this one repeats. */
  origin: z.strictObject({ run: z.string(), how: z.enum(["rerun", "failed"]) }).optional(),
  /** How many more tasks there are than `tasks` lists: of many, those that say most. */
  omitted: z.int().positive().optional(),
  tasks: z.array(
    Task.extend({
      /** Name of the node of the last attempt. */
      node: z.string().optional(),
      /** Why it waits: the first failing constraint. */
      waiting: z.string().optional(),
    }),
  ),
})
export type RunView = z.infer<typeof RunView>

/** The shapes that the routes take and give, with the names they have in the OpenAPI document. */
import * as z from "zod"
import {
  Attempt,
  BundleRef,
  ClusterStatus,
  Cordon,
  CordonNode,
  DeclareDead,
  Digest,
  Ending,
  ExplainedTask,
  ExplainView,
  Facts,
  GroupView,
  HealthView,
  LeaderTransferred,
  Member,
  MemberRole,
  NodeCordoned,
  NodeDeclaredDead,
  NodeRemoved,
  NodeHealth,
  NodeView,
  NodeVitals,
  Output,
  OutputPositions,
  OutputRecord,
  Phase,
  PlacementView,
  PlanView,
  Problem,
  RemoveNode,
  ReplicaView,
  RetryRun,
  Run,
  RunEvent,
  RunList,
  RunView,
  SubmitJob,
  SubmitRun,
  TransferLeader,
  Verdict,
  Vitals,
} from "../schema/index.ts"

/** Ids of the OpenAPI components. Our own registry: zod's global one would be shared with whoever imports zod. */
export const schemaNames = z.registry<{ id?: string; description?: string }>()

/** The schema with a description. zod's own describe() would write to its global registry. */
function told<S extends z.ZodType>(schema: S, description: string): S {
  const copy = schema.clone()
  schemaNames.add(copy, { description })
  return copy
}

export const BlobStored = z.strictObject({
  digest: Digest,
  bytes: z.int().nonnegative(),
  /** false: it was here before. */
  created: z.boolean(),
})

export const NodeList = z.strictObject({ items: z.array(NodeView) })

/** What stands in an event stream beside the run's events. */
export const ResetEvent = z.strictObject({
  type: told(z.literal("reset"), "The events asked for are gone: here is the whole run"),
  id: z.string().optional(),
  run: RunView,
})
export const ProblemEvent = z.strictObject({
  type: told(z.literal("problem"), "The stream ends because of an error"),
  problem: Problem,
})

const named = {
  OutputPositions,
  OutputRecord,
  Attempt,
  BlobStored,
  BundleRef,
  ClusterStatus,
  Cordon,
  CordonNode,
  DeclareDead,
  Digest,
  Ending,
  ExplainedTask,
  ExplainView,
  Facts,
  GroupView,
  HealthView,
  LeaderTransferred,
  Member,
  MemberRole,
  NodeCordoned,
  NodeDeclaredDead,
  NodeHealth,
  NodeList,
  NodeRemoved,
  NodeView,
  NodeVitals,
  Output,
  Phase,
  PlacementView,
  PlanView,
  Problem,
  ProblemEvent,
  RemoveNode,
  ReplicaView,
  ResetEvent,
  RetryRun,
  Run,
  RunEvent,
  RunList,
  RunView,
  SubmitJob,
  SubmitRun,
  TaskView: RunView.shape.tasks.element,
  TransferLeader,
  Verdict,
  Vitals,
}
for (const [id, schema] of Object.entries(named)) schemaNames.add(schema, { id })

// ---------------------------------------------------------------- parts of requests

const yesNo = z.enum(["true", "false"]).optional()
const eventId = z
  .string()
  .max(40)
  .regex(/^\d+-\d+$/, "is an event id like `120-7`")
  .optional()

// Digest is a component, and a reference in a parameter cannot carry words of its own.
const runName = z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, "is a run id like `r-12`, or a label")
const digestName = z.string().regex(/^[0-9a-f]{64}$/, "is a SHA-256 in lower-case hex")

export const RunParams = z.strictObject({
  id: told(runName, "Run id (`r-12`) or label; of several runs with one label the newest"),
})

const nodeName = z.string().min(1).max(128)
export const NodeParams = z.strictObject({ node: told(nodeName, "Name or member id of a node") })

export const BlobParams = z.strictObject({
  sha256: told(digestName, "SHA-256 of the bytes, lower-case hex"),
})

export const RunQuery = z.strictObject({
  tasks: told(
    z.enum(["all"]).optional(),
    "`all`: every task; otherwise, of more than 200, those that say most",
  ),
})

const taskName = z.string().min(1).max(256)
export const TaskParams = z.strictObject({
  id: RunParams.shape.id,
  task: told(taskName, "Task name, e.g. `server` or `shard[3]`"),
})

export const SubmitQuery = z.strictObject({
  dryRun: told(yesNo, "true: validate, compile and place, and change nothing"),
})

const key = z
  .string()
  .regex(/^"?[\x21\x23-\x7e]{1,255}"?$/, "is 1–255 visible ASCII characters")
  .optional()
export const SubmitHeaders = z.object({
  "idempotency-key": told(
    key,
    "The same key again answers the same run (kept for 7 days at least)",
  ),
})

export const ListQuery = z.strictObject({
  state: told(z.enum(["active", "ending", "finished"]).optional(), "Only runs in this state"),
  limit: told(z.coerce.number().int().min(1).max(1000).default(100), "Runs in one answer"),
  cursor: told(z.string().min(1).max(256).optional(), "`nextCursor` of the answer before"),
})

export const EventsQuery = z.strictObject({
  after: told(eventId, "Only events after this id; `Last-Event-ID` goes before it"),
})
export const EventsHeaders = z.object({
  "last-event-id": told(eventId, "Id of the last event that was received"),
  accept: told(z.string().optional(), "`text/event-stream` (default) or `application/x-ndjson`"),
})

export { OutputPositions }
/** As it is streamed; only described, never checked. */
export const outputBody: z.ZodType = OutputRecord

export const OutputQuery = z.strictObject({
  task: told(
    z.union([z.string().min(1).max(256), z.array(z.string().min(1).max(256)).max(1000)]).optional(),
    "A task or a whole group; may be repeated. Absent: all roles",
  ),
  stream: told(z.enum(["stdout", "stderr"]).optional(), "Absent: both"),
  follow: told(yesNo, "true: go on until the run is over, also with tasks that begin later"),
  since: told(z.coerce.number().min(0).optional(), "Only what came since: ms since the epoch"),
  sinceMs: told(z.coerce.number().min(0).optional(), "Only what came in the last so many ms"),
  tail: told(
    z.coerce.number().int().min(0).max(1_000_000).optional(),
    "Of each stream at most so many last lines",
  ),
})
export type OutputQueryValues = z.output<typeof OutputQuery>

const byteOffset = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0)
export const LogsQuery = z.strictObject({
  task: told(z.string().min(1).max(256), "Task name, e.g. `server` or `shard[3]`"),
  stream: told(z.enum(["stdout", "stderr"]).default("stdout"), "Which of the two"),
  attempt: told(z.coerce.number().int().min(1).optional(), "Absent: the newest"),
  offset: told(byteOffset, "First byte"),
  follow: told(yesNo, "true: go on until the task has ended"),
})

export const CancelQuery = z.strictObject({
  reason: told(z.string().min(1).max(1000).optional(), "Shown with the run"),
})

export const ReadyQuery = z.strictObject({
  verbose: told(z.string().optional(), "Present: one line a check"),
})

// ---------------------------------------------------------------- parts of answers

/** An answer as JSON. */
export function jsonAnswer<S extends z.ZodType>(schema: S, description: string) {
  return { description, content: { "application/json": { schema } } }
}

/** Text that is streamed or built by hand; only described, never checked. */
export const textBody: z.ZodType = z.string()

/** Bytes: OpenAPI 3.1 says nothing of them but their content type. */
export const bytesBody: z.ZodType = z.unknown()

/** Every route can end in a problem. */
export const problemResponse = {
  description: "What went wrong (RFC 9457)",
  content: { "application/problem+json": { schema: Problem } },
}

/** The shapes that the routes take and give, with the names they have in the OpenAPI document. */
import * as z from "zod"
import {
  Attempt,
  BundleRef,
  ClusterStatus,
  Digest,
  Ending,
  Facts,
  HealthView,
  Label,
  Member,
  MemberRole,
  NodeView,
  Output,
  Phase,
  PlacementView,
  PlanView,
  Problem,
  Run,
  RunEvent,
  RunList,
  RunView,
  SubmitRun,
  Verdict,
} from "../schema/index.ts"

/** Ids of the OpenAPI components. Our own registry: zod's global one would be shared with whoever imports zod. */
export const schemaNames = z.registry<{ id: string }>()

export const BlobStored = z.strictObject({
  digest: Digest,
  bytes: z.int().nonnegative(),
  /** false: it was here before. */
  created: z.boolean(),
})

export const NodeList = z.strictObject({ items: z.array(NodeView) })

/** What stands in an event stream beside the run's events. */
export const ResetEvent = z.strictObject({
  type: z.literal("reset").describe("The events asked for are gone: here is the whole run"),
  id: z.string().optional(),
  run: RunView,
})
export const ProblemEvent = z.strictObject({
  type: z.literal("problem").describe("The stream ends because of an error"),
  problem: Problem,
})

const named = {
  Attempt,
  BlobStored,
  BundleRef,
  ClusterStatus,
  Digest,
  Ending,
  Facts,
  HealthView,
  Label,
  Member,
  MemberRole,
  NodeList,
  NodeView,
  Output,
  Phase,
  PlacementView,
  PlanView,
  Problem,
  ProblemEvent,
  ResetEvent,
  Run,
  RunEvent,
  RunList,
  RunView,
  SubmitRun,
  TaskView: RunView.shape.tasks.element,
  Verdict,
}
for (const [id, schema] of Object.entries(named)) schemaNames.add(schema, { id })

// ---------------------------------------------------------------- parts of requests

const yesNo = z.enum(["true", "false"]).optional()
const eventId = z
  .string()
  .max(40)
  .regex(/^\d+-\d+$/, "is an event id like `120-7`")

/** A run's id (`r-12`) or its label; of several runs with one label the newest. */
export const RunParams = z.strictObject({
  id: Label.describe("Run id (`r-12`) or label; of several runs with one label the newest"),
})

export const BlobParams = z.strictObject({
  sha256: Digest.describe("SHA-256 of the bytes, lower-case hex"),
})

export const SubmitQuery = z.strictObject({
  dryRun: yesNo.describe("true: validate, compile and place, and change nothing"),
})

export const SubmitHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^"?[\x21\x23-\x7e]{1,255}"?$/, "is 1–255 visible ASCII characters")
    .optional()
    .describe("The same key again answers the same run; kept for 7 days"),
})

export const ListQuery = z.strictObject({
  state: z.enum(["active", "ending", "finished"]).optional().describe("Only runs in this state"),
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe("Runs in one answer"),
  cursor: z.string().min(1).max(256).optional().describe("`nextCursor` of the answer before"),
})

export const EventsQuery = z.strictObject({
  after: eventId.optional().describe("Only events after this id; `Last-Event-ID` goes before it"),
})
export const EventsHeaders = z.object({
  "last-event-id": eventId.optional().describe("Id of the last event that was received"),
  accept: z.string().optional().describe("`text/event-stream` (default) or `application/x-ndjson`"),
})

export const LogsQuery = z.strictObject({
  task: z.string().min(1).max(256).describe("Task name, e.g. `server` or `shard[3]`"),
  stream: z.enum(["stdout", "stderr"]).default("stdout"),
  attempt: z.coerce.number().int().min(1).optional().describe("Absent: the newest"),
  offset: z.coerce
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .default(0)
    .describe("First byte"),
  follow: yesNo.describe("true: go on until the task has ended"),
})

export const CancelQuery = z.strictObject({
  reason: z.string().min(1).max(1000).optional().describe("Shown with the run"),
})

export const ReadyQuery = z.strictObject({
  verbose: z.string().optional().describe("Present: one line a check"),
})

// ---------------------------------------------------------------- parts of answers

/** Text that is streamed or built by hand; only described, never checked. */
export function textBody(description: string): z.ZodType {
  return z.string().describe(description)
}

/** Bytes: OpenAPI 3.1 says nothing of them but their content type. */
export function bytesBody(description: string): z.ZodType {
  return z.unknown().describe(description)
}

/** Every route can end in a problem. */
export const problemResponse = {
  description: "What went wrong (RFC 9457)",
  content: { "application/problem+json": { schema: Problem } },
}

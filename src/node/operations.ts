/** What only the leader answers: submissions, cancellations, and reads that must not be stale. */
import { compileManifest, parseManifest } from "../manifests/index.ts"
import { type Issue, Plan, type PlanView, SubmitRun, TroupeError } from "../schema/index.ts"
import { readMembers } from "../state/index.ts"
import type { Hello } from "../wire/index.ts"
import { accept, type Accepted, findTools, type PlanBody } from "./accepting.ts"
import { admit, declare, meet, readmit, removeNode, transferLeader } from "./cluster-operations.ts"
import type { CallOptions, NodeContext } from "./context.ts"
import { cordonNode, declareDead } from "./node-operations.ts"
import { explainRun } from "./explaining.ts"
import { planJob, retryRun, submitJob } from "./job-operations.ts"
import { leaderHealth, nodeViews } from "./leader-health.ts"
import type { Leadership } from "./leadership.ts"
import type { Verdict } from "./meeting.ts"
import { planView } from "./plan-view.ts"
import type { Replica } from "./replica.ts"
import { logSources, runsKept } from "./log-operations.ts"
import {
  blobUses,
  cancelRun,
  getRun,
  listRuns,
  locateLog,
  pinRun,
  readEvents,
  runRows,
} from "./run-operations.ts"

/** A submission as the entry node hands it to the leader: the files that it names are blobs with two copies. */
export interface SubmitBody {
  readonly request: SubmitRun
  readonly manifest: { readonly digest: string; readonly bytes: number }
  readonly entryNode: string
  readonly controller: { readonly os: string; readonly arch: string }
  readonly bodyHash: string
}

export interface OperationParts {
  readonly context: NodeContext
  readonly replica: Replica
  readonly leadership: Leadership
  /** Resolves at the next applied entry, or after ms. */
  changed(ms: number, signal: AbortSignal): Promise<void>
  weigh(hello: Hello): Verdict
  /** The other was recovered from this cluster, which has accepted work since. */
  conflict(hello: Hello): void
  conflicts(): ReadonlyMap<string, string>
  /** How long this cluster should wait for others to be met before it accepts its first work, ms. */
  settlingMs(): number
}

type Operation = (parts: OperationParts, body: never, options: CallOptions) => Promise<unknown>

/** By the name that travels in a forwarded call. */
export const operations: Readonly<Record<string, Operation>> = {
  submitRun,
  submitPlan,
  planRun,
  submitJob,
  planJob,
  retryRun,
  explainRun,
  listRuns,
  getRun,
  runRows,
  cancelRun,
  pinRun,
  readEvents,
  locateLog,
  logSources,
  runsKept,
  blobUses,
  nodes: async (parts) => await Promise.resolve(nodeViews(parts)),
  health: async (parts) => await Promise.resolve(leaderHealth(parts)),
  admit,
  readmit,
  declare,
  meet,
  removeNode,
  transferLeader,
  cordonNode,
  declareDead,
}

// ---------------------------------------------------------------- runs

async function submitRun(
  parts: OperationParts,
  body: SubmitBody,
  options: CallOptions,
): Promise<Accepted> {
  const { plan, warnings } = compile(parts, body)
  const { entryNode, bodyHash } = body
  const accepted = await accept(parts, { plan, entryNode, bodyHash }, options)
  return { ...accepted, warnings: [...warnings, ...accepted.warnings] }
}

/** A plan that is compiled already. */
async function submitPlan(
  parts: OperationParts,
  body: PlanBody,
  options: CallOptions,
): Promise<Accepted> {
  return await accept(parts, { ...body, plan: Plan.parse(body.plan) }, options)
}

function compile(
  parts: OperationParts,
  body: SubmitBody,
): { plan: Plan; warnings: readonly string[] } {
  const { context, replica } = parts
  const request = SubmitRun.parse(body.request)
  const parsed = parseManifest(request.document, { file: request.file, lenient: request.lenient })
  if (!parsed.manifest) throw invalid(parsed.issues)
  const files = Object.entries(request.files)
  const profilePath = parsed.manifest.profile?.path
  const profile = files.find(([path]) => path === profilePath)?.[1]
  const baseline = files.find(([path]) => path !== profilePath)?.[1]
  const compiled = compileManifest(parsed.manifest, {
    documents: {
      manifest: body.manifest,
      ...(profile && { profile }),
      ...(baseline && { baseline }),
    },
    agents: request.agents,
    entryNode: body.entryNode,
    nodeNames: readMembers(replica.tables).map((member) => member.name),
    now: context.parts.clock.now(),
    timeoutMs: request.timeoutMs,
    analyze: request.analyze,
    diff: request.diff,
    toolVersion: context.options.version,
    controller: body.controller,
  })
  if (!compiled.plan) throw invalid(compiled.issues)
  const warnings = [...parsed.warnings, ...compiled.warnings].map((issue) => issue.message)
  return { plan: withDocument(compiled.plan, request.document), warnings }
}

/** The manifest's text travels in the plan: the log itself makes its copies. */
function withDocument(plan: Plan, text: string): Plan {
  const documents = plan.documents.map((document) =>
    document.path === "manifest.yaml" ? { ...document, text } : document,
  )
  return { ...plan, documents }
}

function invalid(issues: readonly Issue[]): TroupeError<"ERR_MANIFEST_INVALID"> {
  const count = issues.length === 1 ? "one mistake" : `${issues.length} mistakes`
  return new TroupeError("ERR_MANIFEST_INVALID", `the manifest has ${count}`, { issues })
}

async function planRun(
  parts: OperationParts,
  body: SubmitBody,
  options: CallOptions,
): Promise<PlanView> {
  await parts.replica.readBarrier(options.signal)
  const { plan, warnings } = compile(parts, body)
  await findTools(parts, plan, options.signal)
  return await planView(parts, { plan, warnings }, options.signal)
}

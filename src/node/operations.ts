/** What only the leader answers: submissions, cancellations, and reads that must not be stale. */
import { compileManifest, parseManifest, resolvedYaml } from "../manifests/index.ts"
import {
  type Issue,
  Plan,
  type PlanView,
  type RunView,
  SubmitRun,
  TroupeError,
} from "../schema/index.ts"
import { type ItemResult, readMembers, readRun } from "../state/index.ts"
import type { Hello } from "../wire/index.ts"
import { profileText } from "./builtins.ts"
import { admit, declare, meet, readmit, removeNode, transferLeader } from "./cluster-operations.ts"
import type { CallOptions, NodeContext } from "./context.ts"
import { cordonNode, declareDead } from "./node-operations.ts"
import { groupOf } from "./launch.ts"
import { leaderHealth, nodeViews } from "./leader-health.ts"
import type { Leadership } from "./leadership.ts"
import type { Verdict } from "./meeting.ts"
import type { Replica } from "./replica.ts"
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
import { runView } from "./run-rows.ts"

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

const toolsMs = 1000
const settleLookMs = 100
/** Placements that travel with a submit; the rest follow by entries of their own. */
const firstPlacementsMax = 256

type Operation = (parts: OperationParts, body: never, options: CallOptions) => Promise<unknown>

/** By the name that travels in a forwarded call. */
export const operations: Readonly<Record<string, Operation>> = {
  submitRun,
  submitPlan,
  planRun,
  listRuns,
  getRun,
  runRows,
  cancelRun,
  pinRun,
  readEvents,
  locateLog,
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

/** What any front door has made of its document. */
interface PlanBody {
  readonly plan: Plan
  readonly entryNode: string
  readonly bodyHash: string
}

interface Accepted {
  readonly run: RunView
  readonly existing: boolean
  readonly warnings: readonly string[]
  readonly copies: number
}

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

/** Places what can start at once, proposes, and answers when it has its copies. */
async function accept(
  parts: OperationParts,
  { plan, entryNode, bodyHash }: PlanBody,
  options: CallOptions,
): Promise<Accepted> {
  const { replica, context, leadership } = parts
  await findTools(parts, plan, options.signal)
  await settle(parts, options.signal)
  const placements = context.parts.hold
    ? []
    : leadership.scheduler.placeFirst(plan, { ...leadership.placing(), budget: firstPlacementsMax })
  const principal = options.principal ?? "anonymous"
  const key = options.key ?? bodyHash
  const { index, results } = await replica.propose({
    type: "submit",
    items: [{ principal, key, bodyHash, entryNode, plan, placements }],
  })
  const run = settled(results[0], key)
  const copies = await secure(parts, index)
  const view = await replica.viewOf(run.run)
  if (run.existing && readRun(view, run.run) === undefined) {
    // The key is remembered longer than the run: it is never run twice.
    const what = `run ${run.run} was accepted with the key '${key}' and has since been removed`
    throw new TroupeError("ERR_RUN_NOT_FOUND", what, { run: run.run })
  }
  const isAlone = copies === 1 && readMembers(replica.tables).length > 1
  return {
    run: runView(view, run.run),
    existing: run.existing,
    warnings: isAlone ? ["copies: 1"] : [],
    copies,
  }
}

/** A cluster that has accepted work never gives way: one that was founded a moment ago, because it heard of another too late,
 *  still does (DESIGN.md §5.7). */
async function settle(parts: OperationParts, signal: AbortSignal): Promise<void> {
  for (let left = parts.settlingMs(); left > 0; left = parts.settlingMs()) {
    await parts.changed(Math.min(left, settleLookMs), signal)
    if (!parts.replica.isLeading()) return
  }
}

/** With one voter, the standbys' copies gate the answer for a moment (DESIGN.md §5.4, §5.7). */
async function secure(parts: OperationParts, index: number): Promise<number> {
  const { replica, leadership, context } = parts
  const { confState } = replica.status()
  if (confState.voters.length > 1) return replica.copies(index)
  const answering = [...leadership.contacts()].filter(
    ([id, contact]) => id !== replica.memberId && contact.answered,
  ).length
  const wanted = Math.min(3, 1 + answering)
  return await replica.waitCopies(index, wanted, context.options.timing.holdMs)
}

function settled(result: ItemResult | undefined, key: string): { run: string; existing: boolean } {
  if (result?.ok && result.run) return { run: result.run, existing: result.existing ?? false }
  if (result && !result.ok && result.code === "conflict") {
    throw new TroupeError(
      "ERR_KEY_CONFLICT",
      `the key '${key}' was used for another request: ${result.detail}`,
      { key, run: result.detail },
    )
  }
  const hint = "the cluster is joining another one; ask again in a moment"
  throw new TroupeError("ERR_NO_LEADER", hint, { waitedMs: 0 })
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

/** Nodes declare the usual programs only: for any other that a manifest needs, they are asked first. */
async function findTools(parts: OperationParts, plan: Plan, signal: AbortSignal): Promise<void> {
  const { context, replica, leadership } = parts
  const members = readMembers(replica.tables)
  const declared = new Set(members.flatMap((member) => member.tools))
  const wanted = new Set(plan.groups.flatMap((group) => group.needs.tools ?? []))
  const tools = [...wanted].filter((tool) => !declared.has(tool))
  if (tools.length === 0) return
  const limit = AbortSignal.any([
    signal,
    context.parts.clock.timeoutSignal(toolsMs, "asking for programs"),
  ])
  const asked = members.map(async (member) => {
    if (member.id === replica.memberId) await context.lookForTools(tools)
    else if (leadership.contacts().get(member.id)?.answered) {
      await context.callPeer(member, "lookForTools", { tools }, { signal: limit })
    }
  })
  // Who does not answer in time is asked by the next run; meanwhile `explain` says what it lacks.
  await Promise.allSettled(asked)
}

async function planRun(
  parts: OperationParts,
  body: SubmitBody,
  options: CallOptions,
): Promise<PlanView> {
  await parts.replica.readBarrier(options.signal)
  const { plan, warnings } = compile(parts, body)
  await findTools(parts, plan, options.signal)
  const { leadership } = parts
  const { context } = parts
  const from = {
    parts: context.parts,
    signal: options.signal,
    fetch: (digest: string, signal: AbortSignal) => context.fetch(digest, signal),
  }
  const places = leadership.scheduler.place(plan, leadership.placing())
  const profile = plan.resolved["profile_path"]
  const checksum = plan.resolved["profile_checksum"]
  return {
    label: plan.label,
    ...(typeof profile === "string" && { profile }),
    ...(typeof checksum === "string" && { profileChecksum: checksum }),
    timeoutMs: plan.timeoutMs,
    placements: places.map(({ task, group, node, rejected }) => ({
      task,
      ...(node && { node: node.name }),
      command: commandLine(plan, group),
      after: (groupOf(plan, group)?.after ?? []).map((edge) => `${edge.group} ${edge.on}`),
      rejected: rejected.map((one) => ({ node: one.node, reason: one.reason })),
    })),
    warnings: [...warnings],
    resolved: resolvedYaml(plan, { profileContent: await profileText(plan, from) }),
  }
}

function commandLine(plan: Plan, group: string): string[] {
  const work = groupOf(plan, group)?.work
  return work?.driver === "process" ? [...work.argv] : [`(${work?.verb ?? "unknown"})`]
}

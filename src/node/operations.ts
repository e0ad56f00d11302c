/** What only the leader answers: submissions, cancellations, and reads that must not be stale. */
import { compileManifest, parseManifest, resolvedYaml } from "../manifests/index.ts"
import {
  type Issue,
  type Member,
  type MemberDeclaration,
  type NodeView,
  type Output,
  type PeerRef,
  type Plan,
  type PlanView,
  type Run,
  type RunView,
  SubmitRun,
  TroupeError,
} from "../schema/index.ts"
import {
  findRun,
  type ItemResult,
  listRuns,
  readCluster,
  readEvents,
  readMembers,
} from "../state/index.ts"
import type { Hello } from "../wire/index.ts"
import { profileText } from "./builtins.ts"
import type { CallOptions, NodeContext } from "./context.ts"
import type { EventPage } from "./face.ts"
import { groupOf } from "./launch.ts"
import type { Leadership } from "./leadership.ts"
import type { Admission } from "./membership.ts"
import type { Replica } from "./replica.ts"
import { runNotFound, runRows, runView } from "./run-rows.ts"

/** A submission as the entry node hands it to the leader: the files that it names are blobs with two copies. */
export interface SubmitBody {
  readonly request: SubmitRun
  readonly manifest: { readonly digest: string; readonly bytes: number }
  readonly entryNode: string
  readonly controller: { readonly os: string; readonly arch: string }
  readonly bodyHash: string
}

export interface LogPlace {
  readonly task: string
  readonly attempt: number
  readonly node: string
  readonly fence: number
  readonly peer: PeerRef
  /** The attempt may still write. */
  readonly live: boolean
  readonly finished: boolean
  /** Once collected. */
  readonly output: Output | undefined
}

export interface LeaderHealth {
  readonly survives: number
  readonly copies: number
  readonly notes: readonly string[]
}

export interface OperationParts {
  readonly context: NodeContext
  readonly replica: Replica
  readonly leadership: Leadership
  /** Resolves at the next applied entry, or after ms. */
  changed(ms: number, signal: AbortSignal): Promise<void>
  weigh(hello: Hello): "dissolve" | "stay"
  conflicts(): ReadonlyMap<string, string>
}

const toolsMs = 1000
/** Placements that travel with a submit; the rest follow by entries of their own. */
const firstPlacementsMax = 256

type Operation = (parts: OperationParts, body: never, options: CallOptions) => Promise<unknown>

/** By the name that travels in a forwarded call. */
export const operations: Readonly<Record<string, Operation>> = {
  submitRun,
  planRun,
  listRuns: listRunsOp,
  getRun: async (parts, body: { run: string }, options) => {
    await parts.replica.readBarrier(options.signal)
    return withReasons(parts, findRunId(parts, body.run))
  },
  runRows: async (parts, body: { run: string }, options) => {
    await parts.replica.readBarrier(options.signal)
    return runRows(parts.replica.tables, findRunId(parts, body.run))
  },
  cancelRun,
  readEvents: readEventsOp,
  locateLog,
  nodes: async (parts) => await Promise.resolve(nodeViews(parts)),
  health: async (parts) => await Promise.resolve(leaderHealth(parts)),
  admit,
  declare,
  meet,
}

// ---------------------------------------------------------------- runs

async function submitRun(
  parts: OperationParts,
  body: SubmitBody,
  options: CallOptions,
): Promise<{ run: RunView; existing: boolean; warnings: readonly string[]; copies: number }> {
  const { replica, context, leadership } = parts
  const { plan, warnings } = compile(parts, body)
  await findTools(parts, plan, options.signal)
  const placements = context.parts.hold
    ? []
    : leadership.scheduler.placeFirst(plan, { ...leadership.placing(), budget: firstPlacementsMax })
  const principal = options.principal ?? "anonymous"
  const key = options.key ?? body.bodyHash
  const { index, results } = await replica.propose({
    type: "submit",
    items: [
      { principal, key, bodyHash: body.bodyHash, entryNode: body.entryNode, plan, placements },
    ],
  })
  const run = settled(results[0], key)
  const copies = await secure(parts, index)
  return {
    run: runView(replica.tables, run.run),
    existing: run.existing,
    warnings:
      copies > 1 || readMembers(replica.tables).length === 1
        ? warnings
        : [...warnings, "copies: 1"],
    copies,
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

async function listRunsOp(
  parts: OperationParts,
  body: { state?: string; limit: number; cursor?: string },
  options: CallOptions,
): Promise<{ items: readonly Run[]; nextCursor?: string }> {
  await parts.replica.readBarrier(options.signal)
  const { runs, next } = listRuns(parts.replica.tables, {
    state: body.state,
    limit: body.limit,
    after: body.cursor,
  })
  return { items: runs, ...(next !== undefined && { nextCursor: next }) }
}

function findRunId(parts: OperationParts, idOrLabel: string): string {
  const run = findRun(parts.replica.tables, idOrLabel)
  if (!run) throw runNotFound(idOrLabel)
  return run.id
}

/** The view with the first failing constraint of every task that waits. */
function withReasons(parts: OperationParts, run: string): RunView {
  const view = runView(parts.replica.tables, run)
  const tasks = view.tasks.map((task) => {
    if (task.state !== "pending" && task.state !== "blocked") return task
    const explanation = parts.leadership.scheduler.explain(task, parts.leadership.placing())
    return explanation?.waiting === undefined ? task : { ...task, waiting: explanation.waiting }
  })
  return { ...view, tasks }
}

async function cancelRun(
  parts: OperationParts,
  body: { run: string; reason: string },
): Promise<RunView> {
  const run = findRunId(parts, body.run)
  await parts.replica.propose({ type: "cancel", items: [{ run, reason: body.reason }] })
  return withReasons(parts, run)
}

async function readEventsOp(
  parts: OperationParts,
  body: { run: string; after?: string; limit: number; waitMs: number },
  options: CallOptions,
): Promise<EventPage> {
  const run = findRunId(parts, body.run)
  const { clock } = parts.context.parts
  const deadline = clock.boottime() + body.waitMs
  await parts.replica.readBarrier(options.signal)
  for (;;) {
    const page = readEvents(parts.replica.tables, run, { after: body.after, limit: body.limit })
    const left = deadline - clock.boottime()
    if (page.events.length > 0 || page.ended || page.reset || left <= 0) return page
    await parts.changed(left, options.signal)
    if (!parts.replica.isLeading()) return page
  }
}

async function locateLog(
  parts: OperationParts,
  body: { run: string; task: string; attempt?: number; stream: "stdout" | "stderr" },
  options: CallOptions,
): Promise<LogPlace | undefined> {
  await parts.replica.readBarrier(options.signal)
  const run = findRunId(parts, body.run)
  const rows = runRows(parts.replica.tables, run)
  const roles = rows.run.tasks.filter((task) => groupOf(rows.plan, task.group)?.role)
  const task = roles.find((one) => one.name === body.task)
  if (!task) {
    const names = roles.map((one) => one.name).join(", ")
    throw new TroupeError(
      "ERR_TASK_NOT_FOUND",
      `run ${rows.run.label} has no task '${body.task}' with a log; there are: ${names}`,
      { run, task: body.task },
    )
  }
  const attempt =
    body.attempt === undefined ? task.attempts.at(-1) : task.attempts[body.attempt - 1]
  if (!attempt) return undefined
  const member = rows.members.find((one) => one.id === attempt.node)
  const path = `roles/${task.name}/${body.stream}.log`
  const last = attempt === task.attempts.at(-1)
  return {
    task: task.name,
    attempt: attempt.n,
    node: member?.name ?? String(attempt.node),
    fence: attempt.fence,
    peer: { peerId: member?.peerId ?? "", addresses: member?.addresses ?? [] },
    live: attempt.state !== "ended",
    finished: rows.run.state === "finished",
    output: last
      ? rows.run.tasks.flatMap((one) => one.outputs).find((one) => one.path === path)
      : undefined,
  }
}

// ---------------------------------------------------------------- nodes

function nodeViews(parts: OperationParts): readonly NodeView[] {
  const { replica, leadership, context } = parts
  return readMembers(replica.tables).map((member) => {
    const silentMs = Math.round(leadership.silentMs(member.id))
    const contact = leadership.contacts().get(member.id)
    const here = member.id === replica.memberId || contact?.answered
    return {
      member,
      leader: member.id === replica.memberId,
      state: here ? "connected" : "silent",
      silentMs,
      self: member.peerId === context.parts.mesh.peerId,
    }
  })
}

function leaderHealth(parts: OperationParts): LeaderHealth {
  const { replica, leadership } = parts
  const { confState, progress, commit } = replica.status()
  const members = readMembers(replica.tables)
  const name = (id: number): string =>
    members.find((member) => member.id === id)?.name ?? String(id)
  const answering = (id: number): boolean =>
    id === replica.memberId || leadership.contacts().get(id)?.answered === true
  const healthy = confState.voters.filter(answering)
  const quorum = Math.floor(confState.voters.length / 2) + 1
  const notes: string[] = []
  for (const member of members.filter((one) => !answering(one.id))) {
    const seconds = Math.round(leadership.silentMs(member.id) / 1000)
    notes.push(
      `${member.name} (${member.role}) is silent for ${seconds} s: look at its host, or 'troupe node start' there`,
    )
  }
  if (members.length === 1) notes.push("this cluster has one node: start more to survive a loss")
  if (members.length === 2)
    notes.push("two nodes keep two copies, but survive no loss by themselves: add a third")
  if (members.length >= 3 && confState.voters.length < 3) notes.push("voters are being added")
  for (const [clusterId, node] of parts.conflicts()) {
    notes.push(
      `another cluster of this name has accepted work (${clusterId.slice(0, 8)}, node ${node}); they never merge by themselves: give one another --cluster name`,
    )
  }
  const lagging = progress.filter((peer) => peer.match + 1000 < commit && answering(peer.id))
  for (const peer of lagging)
    notes.push(`${name(peer.id)} lags ${commit - peer.match} entries behind`)
  return {
    survives: Math.max(0, healthy.length - quorum),
    copies: progress.filter((peer) => peer.match >= commit && answering(peer.id)).length,
    notes,
  }
}

// ---------------------------------------------------------------- membership

async function admit(parts: OperationParts, declaration: MemberDeclaration): Promise<Admission> {
  const { replica, context } = parts
  const { results } = await replica.propose({ type: "admit", items: [declaration] })
  const result = results[0]
  if (!result?.ok || result.id === undefined) {
    const detail = result && !result.ok ? result.detail : "not admitted"
    throw new TroupeError("ERR_FORBIDDEN", detail, { what: detail })
  }
  const row = readCluster(replica.tables)!
  return {
    type: "admitted",
    clusterId: row.clusterId,
    cluster: row.cluster,
    memberId: result.id,
    members: readMembers(replica.tables),
    leader: context.identity()!.memberId,
  }
}

async function declare(parts: OperationParts, declaration: MemberDeclaration): Promise<undefined> {
  const row = readMembers(parts.replica.tables).find(
    (member: Member) => member.peerId === declaration.peerId,
  )
  if (row) {
    await parts.replica.propose({ type: "declare", items: [{ id: row.id, declaration }] })
  }
  return undefined
}

async function meet(
  parts: OperationParts,
  body: { hello: Hello; peer: PeerRef },
): Promise<undefined> {
  const { hello, peer } = body
  if (!hello.clusterId || parts.weigh(hello) === "stay") return undefined
  const peers = [peer, ...(hello.leaderPeer ? [hello.leaderPeer] : [])].map((one) => ({
    peerId: one.peerId,
    addresses: [
      ...one.addresses,
      ...(one.peerId === hello.declaration.peerId ? hello.declaration.addresses : []),
    ],
  }))
  await parts.replica.propose({ type: "dissolve", items: [{ into: hello.clusterId, peers }] })
  return undefined
}

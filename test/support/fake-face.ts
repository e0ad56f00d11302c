/** A scripted node in memory: whatever stands on NodeFace is tested against it. */
import { createHash } from "node:crypto"
import type { Clock } from "../../src/platform/index.ts"
import { createClock } from "../../src/platform/index.ts"
import type {
  Caller,
  EventPage,
  MergedQuery,
  MergedRecord,
  Metric,
  NodeFace,
  Waiting,
} from "../../src/node/index.ts"
import {
  type ExplainView,
  type RetryRun,
  type SubmitJob,
  type BundleRef,
  type ClusterStatus,
  type CordonNode,
  type DeclareDead,
  type ErrorCode,
  type ErrorDetails,
  type HealthView,
  type LeaderTransferred,
  type LogChunk,
  type Member,
  type NodeCordoned,
  type NodeDeclaredDead,
  type NodeRemoved,
  type NodeView,
  type PlanView,
  type RemoveNode,
  type ReplicaView,
  type RunEvent,
  type RunList,
  type RunView,
  type SubmitRun,
  type TransferLeader,
  TroupeError,
} from "../../src/schema/index.ts"

export function aRun(fields: Partial<RunView> = {}): RunView {
  return {
    id: "r-12",
    label: "demo",
    kind: "manifest",
    state: "active",
    principal: "anonymous",
    entryNode: "ada",
    createdAt: 1_700_000_000_000,
    deadlineAt: 1_700_000_600_000,
    events: 0,
    phase: "client_start",
    phases: [
      { name: "server_start", state: "completed" },
      { name: "client_start", state: "active" },
    ],
    tasks: [
      {
        run: "r-12",
        group: "server",
        index: 0,
        name: "server",
        state: "active",
        attempts: [],
        outputs: [],
        node: "bob",
      },
    ],
    ...fields,
  }
}

function aMember(fields: Partial<Member> = {}): Member {
  return {
    id: 1,
    peerId: "12D3KooWAda",
    name: "ada",
    addresses: ["/ip4/10.77.0.1/tcp/8771"],
    role: "voter",
    voter: "auto",
    os: "linux",
    arch: "x64",
    cores: 8,
    memoryBytes: 16 * 2 ** 30,
    labels: {},
    tools: ["iperf3"],
    capacity: 16,
    ...fields,
  }
}

const everyDetail: { readonly [Code in ErrorCode]: ErrorDetails[Code] } = {
  ERR_NOT_LEADER: { leader: "bob" },
  ERR_NO_LEADER: { waitedMs: 2000 },
  ERR_UNKNOWN_OUTCOME: { hint: "ask again" },
  ERR_STOPPED: { what: "node" },
  ERR_TIMEOUT: { what: "a read", afterMs: 5 },
  ERR_PEER_UNREACHABLE: { peer: "bob", reason: "refused" },
  ERR_PROTOCOL: { where: "bob", reason: "garbled" },
  ERR_FORBIDDEN: { what: "host" },
  ERR_LIMIT: { what: "blob", max: 7 },
  ERR_BUSY: { what: "disk", retryAfterMs: 1500 },
  ERR_MANIFEST_INVALID: {
    issues: [{ path: "roles", message: "is missing", file: "m.yaml", line: 2, column: 1 }],
  },
  ERR_CONFIG_INVALID: { issues: [{ path: "api", message: "is no address" }] },
  ERR_REQUEST_INVALID: { issues: [] },
  ERR_UNPLACEABLE: { task: "server", reasons: ["needs iperf3", "needs 9 cores"] },
  ERR_CONFLICT: { reason: "the only voter" },
  ERR_NEWER_CLUSTER: { reason: "rows of version 9" },
  ERR_KEY_CONFLICT: { key: "k", run: "r-1" },
  ERR_RUN_NOT_FOUND: { run: "r-1" },
  ERR_TASK_NOT_FOUND: { run: "r-1", task: "server" },
  ERR_NODE_NOT_FOUND: { node: "bod", nearest: "bob" },
  ERR_RUN_NOT_FINISHED: { run: "r-1" },
  ERR_ATTEMPT_GONE: { run: "r-1", task: "server" },
  ERR_LEASE_LOST: { task: "server", attempt: 2 },
  ERR_BLOB_NOT_FOUND: { digest: "a".repeat(64) },
  ERR_BLOB_CORRUPT: { expected: "a".repeat(64), actual: "b".repeat(64) },
  ERR_BUNDLE_NOT_FOUND: { run: "r-1" },
  ERR_BUNDLE_INVALID: { path: "hashes.txt", reason: "is missing" },
  ERR_KEEPER: { reason: "does not answer" },
  ERR_STORAGE: { path: "wal", reason: "EIO" },
  ERR_LOG_CORRUPT: { file: "0001.wal", offset: 4096, reason: "checksum" },
  ERR_ADDRESS_IN_USE: { address: "127.0.0.1:8770", flag: "--api" },
  ERR_UNSUPPORTED: { what: "zip" },
}

/** One error of every code, with all its details. */
export const everyError: readonly TroupeError[] = Object.entries(everyDetail).map(
  ([code, details]) => new TroupeError(code as ErrorCode, `the message of ${code}`, details),
)

interface FakeLog {
  bytes: Buffer
  ended: boolean
}

type Method = Exclude<keyof NodeFace, "name">

export class FakeFace implements NodeFace {
  readonly name: string
  readonly #clock: Clock
  readonly #runs = new Map<string, RunView>()
  readonly #events = new Map<string, RunEvent[]>()
  readonly #dropped = new Map<string, number>()
  readonly #logs = new Map<string, FakeLog>()
  readonly #said = new Map<string, (MergedRecord | "break")[]>()
  readonly #bundles = new Map<
    string,
    { bundle: BundleRef; read: () => AsyncIterable<Uint8Array> }
  >()
  readonly #keys = new Map<string, { run: string; body: string }>()
  readonly #failures = new Map<Method, Error[]>()
  readonly #changes = new Set<() => void>()
  #index = 100
  /** Every call in order, with its first argument. */
  readonly calls: { readonly method: Method; readonly argument: unknown }[] = []
  readonly blobs = new Map<string, number>()
  warnings: string[] = []
  /** Tasks that run on a drained node, by its name. */
  readonly leaving = new Map<string, string[]>()
  healthView: HealthView
  isReady = true
  /** Set: it never waits for news, whatever waitMs says. */
  isHasty = false
  metricRows: Metric[] = []
  replica: ReplicaView = {
    node: "ada",
    cluster: "troupe",
    clusterId: "c-1",
    incarnation: 0,
    memberId: 1,
    hasLog: true,
    term: 4,
    lastTerm: 4,
    lastIndex: 120,
    commit: 120,
    leader: "ada",
  }
  /** Set to hold what putBlob reads, until the promise resolves. */
  holdUpload: Promise<void> | undefined
  uploadedBytes = 0

  constructor(options: { name?: string; clock?: Clock } = {}) {
    this.name = options.name ?? "ada"
    this.#clock = options.clock ?? createClock()
    this.healthView = {
      status: "ok",
      survives: 1,
      copies: 3,
      leader: "ada",
      term: 4,
      node: this.name,
      cluster: "troupe",
      voters: { total: 3, answering: 3, needed: 2 },
      problems: [],
      notes: [],
      nodes: [],
      loopDelayP99Ms: 1,
      fsyncP99Ms: 2,
      electionTimeoutMs: 500,
      electionReason: "",
    }
  }

  // -------------------------------------------------------------- the script

  addRun(run: RunView): void {
    this.#runs.set(run.id, run)
    if (!this.#events.has(run.id)) this.#events.set(run.id, [])
    this.#changed()
  }

  /** The next calls of `method` fail, one error each. */
  fail(method: Method, ...errors: Error[]): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), ...errors])
  }

  /** Appends an event; returns its id. `run-finished` also finishes the run. */
  emit(run: string, fields: Partial<RunEvent> & Pick<RunEvent, "type">): string {
    const events = this.#events.get(run)!
    const n = (this.#dropped.get(run) ?? 0) + events.length + 1
    const event: RunEvent = { id: `${this.#index++}-${n}`, at: 1_700_000_000_000 + n, ...fields }
    events.push(event)
    const view = this.#runs.get(run)!
    const finished = fields.type === "run-finished"
    this.#runs.set(run, {
      ...view,
      events: n,
      ...(finished ? { state: "finished" as const, verdict: "succeeded" as const } : {}),
    })
    this.#changed()
    return event.id
  }

  /** Forgets the oldest events, as a bounded table does. */
  dropEvents(run: string, count: number): void {
    const events = this.#events.get(run)!
    events.splice(0, count)
    this.#dropped.set(run, (this.#dropped.get(run) ?? 0) + count)
  }

  appendLog(run: string, task: string, bytes: Uint8Array | string): void {
    const log = this.#log(run, task)
    log.bytes = Buffer.concat([log.bytes, Buffer.from(bytes)])
    this.#changed()
  }

  endLog(run: string, task: string): void {
    this.#log(run, task).ended = true
    this.#changed()
  }

  setBundle(run: string, bundle: BundleRef, read: () => AsyncIterable<Uint8Array>): void {
    this.#bundles.set(run, { bundle, read })
  }

  /** Calls that wait for news right now. */
  get waiting(): number {
    return this.#changes.size
  }

  // -------------------------------------------------------------- the face

  async submitRun(
    request: SubmitRun,
    caller: Caller & { readonly key: string | undefined },
    _options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    this.#called("submitRun", request)
    return this.#accept(JSON.stringify(request), caller.key)
  }

  #accept(
    body: string,
    key: string | undefined,
  ): { run: RunView; existing: boolean; warnings: readonly string[] } {
    const known = key === undefined ? undefined : this.#keys.get(key)
    if (known && known.body !== body) {
      throw new TroupeError("ERR_KEY_CONFLICT", "the key was used for another manifest", {
        key: key!,
        run: known.run,
      })
    }
    if (known) return { run: this.#run(known.run), existing: true, warnings: [] }
    const run = aRun({ id: `r-${this.#index++}` })
    this.addRun(run)
    if (key !== undefined) this.#keys.set(key, { run: run.id, body })
    this.emit(run.id, { type: "run-accepted" })
    return { run: this.#run(run.id), existing: false, warnings: this.warnings }
  }

  async planRun(request: SubmitRun, _caller: Caller, _options: Waiting): Promise<PlanView> {
    this.#called("planRun", request)
    return {
      label: "demo",
      timeoutMs: 600_000,
      placements: [
        {
          task: "server",
          node: "bob",
          command: ["iperf3", "-s"],
          after: [],
          rejected: [{ node: "ada", reason: "is exclusive to another run" }],
        },
      ],
      warnings: [],
      resolved: "api_version: v1\n",
    }
  }

  /** As a run: nobody looks at what it was made from. */
  async submitJob(
    request: SubmitJob,
    caller: Caller & { readonly key: string | undefined },
    _options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    this.#called("submitJob", request)
    return this.#accept(JSON.stringify(request), caller.key)
  }

  async planJob(request: SubmitJob, _caller: Caller, _options: Waiting): Promise<PlanView> {
    this.#called("planJob", request)
    const { command } = request
    const placements = [{ task: "job", node: "bob", command, after: [], rejected: [] }]
    return { label: "job", timeoutMs: 600_000, placements, warnings: [], resolved: "" }
  }

  async retryRun(
    run: string,
    request: RetryRun,
    caller: Caller & { readonly key: string | undefined },
    _options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    this.#called("retryRun", { run, ...request })
    const { id, label, state } = this.#run(run)
    if (state !== "finished") {
      throw new TroupeError("ERR_RUN_NOT_FINISHED", `run ${label} goes on`, { run: id })
    }
    return this.#accept(JSON.stringify({ id, ...request }), caller.key)
  }

  async explainRun(run: string, task: string | undefined, _options: Waiting): Promise<ExplainView> {
    this.#called("explainRun", { run, task })
    const { id, label, state, groups = [] } = this.#run(run)
    const rejected = [{ node: "ada", reason: "has 4 cores, 8 are needed" }]
    const item = { task: task ?? "client", count: 1, state: "pending" as const, rejected }
    return { run: id, label, state, groups, tasks: [{ ...item, reason: "no node fits" }] }
  }

  async listRuns(
    query: { state?: string | undefined; limit: number; cursor?: string | undefined },
    _options: Waiting,
  ): Promise<RunList> {
    this.#called("listRuns", query)
    const all = [...this.#runs.values()]
      .filter((run) => query.state === undefined || run.state === query.state)
      .toReversed()
    const start = query.cursor === undefined ? 0 : Number(query.cursor)
    const items = all.slice(start, start + query.limit).map(withoutTasks)
    const next = start + query.limit
    return next < all.length ? { items, nextCursor: String(next) } : { items }
  }

  async getRun(run: string, _options: Waiting): Promise<RunView> {
    this.#called("getRun", run)
    return this.#run(run)
  }

  async cancelRun(
    run: string,
    reason: string,
    _caller: Caller,
    _options: Waiting,
  ): Promise<RunView> {
    this.#called("cancelRun", { run, reason })
    const view = this.#run(run)
    const cancelled = view.state === "finished" ? view : { ...view, cancelRequested: reason }
    this.#runs.set(view.id, cancelled)
    return cancelled
  }

  async cancelRunBriefly(
    run: string,
    reason: string,
    caller: Caller,
    options: Waiting,
  ): Promise<void> {
    await this.cancelRun(run, reason, caller, options)
  }

  async pinRun(run: string, pinned: boolean, _caller: Caller, _options: Waiting): Promise<RunView> {
    this.#called("pinRun", { run, pinned })
    const { pinned: _, ...view } = this.#run(run)
    const next: RunView = pinned ? { ...view, pinned: true } : view
    this.#runs.set(view.id, next)
    return next
  }

  async readEvents(
    run: string,
    query: { after: string | undefined; limit: number; waitMs: number },
    options: Waiting,
  ): Promise<EventPage> {
    this.#called("readEvents", query)
    const { id } = this.#run(run)
    const fresh = () => this.#page(id, query)
    await this.#until(() => fresh().events.length > 0 || fresh().ended, query.waitMs, options)
    return fresh()
  }

  async mergedLog(run: string, query: MergedQuery, { signal }: Waiting) {
    this.#called("mergedLog", query)
    const { id } = this.#run(run)
    return await Promise.resolve({ run: id, records: this.#merged(id, query, signal) })
  }

  /** Records of `say`, and at the end of the run the last one. */
  async *#merged(
    id: string,
    { follow, positions }: MergedQuery,
    signal: AbortSignal,
  ): AsyncGenerator<MergedRecord, void, undefined> {
    for (let place = 0; ; place++) {
      const said = () => this.#said.get(id)?.[place]
      if (follow) {
        const isOver = () => said() !== undefined || this.#run(id).state === "finished"
        while (!isOver()) await this.#until(isOver, 60_000, { signal })
      }
      const record = said()
      if (record === undefined) break
      if (record === "break") {
        // Once: the next connection meets what stands behind it.
        this.#said.get(id)?.splice(place, 1)
        throw new TroupeError("ERR_STOPPED", "this node is stopping", { what: "node" })
      }
      const seen = positions.some(
        (one) => record.type === "output" && one.task === record.task && one.next > record.offset,
      )
      if (!seen) yield record
    }
    yield { type: "end", at: 9, run: id, lost: 0 }
  }

  /** What the merged output says next; `break` breaks it off there, once. */
  say(run: string, ...records: readonly (MergedRecord | "break")[]): void {
    const { id } = this.#run(run)
    this.#said.set(id, [...(this.#said.get(id) ?? []), ...records])
    this.#changed()
  }

  async readLog(
    run: string,
    query: {
      task: string
      stream: "stdout" | "stderr"
      attempt: number | undefined
      offset: number
      max: number
      waitMs: number
    },
    options: Waiting,
  ): Promise<LogChunk> {
    this.#called("readLog", query)
    const view = this.#run(run)
    const log = this.#logs.get(`${view.id} ${query.task}`)
    if (!log) {
      throw new TroupeError("ERR_TASK_NOT_FOUND", `run ${view.id} has no task ${query.task}`, {
        run: view.id,
        task: query.task,
      })
    }
    await this.#until(() => log.ended || log.bytes.length > query.offset, query.waitMs, options)
    const data = log.bytes.subarray(query.offset, query.offset + query.max)
    const next = query.offset + data.length
    return {
      task: query.task,
      attempt: query.attempt ?? 1,
      node: "bob",
      stream: query.stream,
      offset: query.offset,
      next,
      data: data.toString("base64"),
      ended: log.ended && next >= log.bytes.length,
    }
  }

  async openBundle(
    run: string,
    _options: Waiting,
  ): Promise<{ run: RunView; bundle: BundleRef; read: AsyncIterable<Uint8Array> }> {
    this.#called("openBundle", run)
    const view = this.#run(run)
    const held = this.#bundles.get(view.id)
    if (!held) {
      throw new TroupeError("ERR_BUNDLE_NOT_FOUND", `run ${view.id} has no bundle`, {
        run: view.id,
      })
    }
    return { run: view, bundle: held.bundle, read: held.read() }
  }

  async putBlob(
    digest: string,
    source: AsyncIterable<Uint8Array>,
    options: Waiting,
  ): Promise<{ bytes: number; created: boolean }> {
    this.#called("putBlob", digest)
    const hash = createHash("sha256")
    let bytes = 0
    for await (const chunk of source) {
      options.signal.throwIfAborted()
      bytes += chunk.length
      this.uploadedBytes += chunk.length
      hash.update(chunk)
      await this.holdUpload
    }
    const actual = hash.digest("hex")
    if (actual !== digest) {
      throw new TroupeError("ERR_BLOB_CORRUPT", `the bytes have the digest ${actual}`, {
        expected: digest,
        actual,
      })
    }
    const created = !this.blobs.has(digest)
    this.blobs.set(digest, bytes)
    return { bytes, created }
  }

  /** One task leaves a drained node between two looks. */
  async listNodes(_options: Waiting): Promise<readonly NodeView[]> {
    this.#called("listNodes", undefined)
    const left = this.leaving.get("bob")
    const cordon = { mode: "drain", reason: "", at: 0 } as const
    const bob = aMember({ id: 9, name: "bob", peerId: "12D3KooWBob", ...(left && { cordon }) })
    const held = left && { attempts: left.length, holds: [...left] }
    left?.shift()
    return [
      { member: aMember(), leader: true, state: "connected", silentMs: 0, self: true },
      { member: bob, leader: false, state: "silent", silentMs: 4000, self: false, ...held },
    ]
  }

  async transferLeader({ to = "bob" }: TransferLeader): Promise<LeaderTransferred> {
    this.#called("transferLeader", to)
    return { from: this.name, leader: to, term: 5 }
  }

  async cordonNode(node: string, request: CordonNode): Promise<NodeCordoned> {
    this.#called("cordonNode", { node, ...request })
    const left = this.leaving.get(node) ?? []
    const { mode } = request
    return { node, id: 9, mode, attempts: left.length, holds: left, warnings: this.warnings }
  }

  async declareDead(node: string, request: DeclareDead): Promise<NodeDeclaredDead> {
    this.#called("declareDead", { node, ...request })
    return { node, id: 9, attempts: 3 }
  }

  async removeNode({ node }: RemoveNode): Promise<NodeRemoved> {
    this.#called("removeNode", node)
    return { node, id: 2 }
  }

  replicaView(): ReplicaView {
    this.#called("replicaView", undefined)
    return this.replica
  }

  async clusterStatus(options: Waiting): Promise<ClusterStatus> {
    this.#called("clusterStatus", undefined)
    return {
      cluster: "troupe",
      clusterId: "c-1",
      incarnation: 0,
      node: this.name,
      memberId: 1,
      peerId: "12D3KooWAda",
      role: "voter",
      raftState: "leader",
      leader: "ada",
      leaderId: 1,
      term: 4,
      commit: 120,
      applied: 120,
      voters: ["ada"],
      standbys: [],
      pristine: false,
      nodes: [...(await this.listNodes(options))],
    }
  }

  async health(): Promise<HealthView> {
    this.#called("health", undefined)
    return this.healthView
  }

  ready(): { ready: boolean; checks: readonly { name: string; ok: boolean; detail?: string }[] } {
    this.#called("ready", undefined)
    return {
      ready: this.isReady,
      checks: [
        { name: "member", ok: true },
        { name: "leader", ok: this.isReady, detail: this.isReady ? "ada" : "none" },
      ],
    }
  }

  metrics(): readonly Metric[] {
    this.#called("metrics", undefined)
    return this.metricRows
  }

  // -------------------------------------------------------------- inside

  #called(method: Method, argument: unknown): void {
    this.calls.push({ method, argument })
    const error = this.#failures.get(method)?.shift()
    if (error) throw error
  }

  #run(idOrLabel: string): RunView {
    const run =
      this.#runs.get(idOrLabel) ?? [...this.#runs.values()].findLast((r) => r.label === idOrLabel)
    if (run) return run
    throw new TroupeError("ERR_RUN_NOT_FOUND", `there is no run ${idOrLabel}`, { run: idOrLabel })
  }

  #log(run: string, task: string): FakeLog {
    const key = `${run} ${task}`
    const log = this.#logs.get(key) ?? { bytes: Buffer.alloc(0), ended: false }
    this.#logs.set(key, log)
    return log
  }

  #page(run: string, query: { after: string | undefined; limit: number }): EventPage {
    const events = this.#events.get(run)!
    const dropped = this.#dropped.get(run) ?? 0
    const isFinished = events.at(-1)?.type === "run-finished"
    const seen = query.after === undefined ? 0 : Number(query.after.split("-")[1])
    if (seen < dropped) {
      return { events: [], last: events.at(-1)?.id ?? query.after, reset: true, ended: isFinished }
    }
    const page = events.slice(seen - dropped, seen - dropped + query.limit)
    const last = page.at(-1)?.id ?? query.after
    return {
      events: page,
      last,
      reset: false,
      ended: isFinished && seen + page.length >= dropped + events.length,
    }
  }

  #changed(): void {
    for (const change of this.#changes) change()
  }

  /** Waits for a change that makes `isTrue` true, at most waitMs. */
  async #until(isTrue: () => boolean, waitMs: number, { signal }: Waiting): Promise<void> {
    if (isTrue() || waitMs === 0 || this.isHasty) return
    const done = Promise.withResolvers<void>()
    const check = () => {
      if (isTrue()) done.resolve()
    }
    const abort = () => done.reject(signal.reason as Error)
    const timer = this.#clock.after(waitMs, () => done.resolve())
    this.#changes.add(check)
    signal.addEventListener("abort", abort, { once: true })
    if (signal.aborted) abort()
    try {
      await done.promise
    } finally {
      timer.cancel()
      this.#changes.delete(check)
      signal.removeEventListener("abort", abort)
    }
  }
}

function withoutTasks({ phase: _phase, phases: _phases, tasks: _tasks, ...run }: RunView) {
  return run
}

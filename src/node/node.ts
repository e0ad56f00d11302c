/** A whole node: joins membership, replica, worker and leadership, and answers for the face. */
import { createHash } from "node:crypto"
import { EventEmitter } from "node:events"
import { parseManifest } from "../manifests/index.ts"
import {
  type BundleRef,
  type ClusterStatus,
  Facts,
  type HealthView,
  isTroupeError,
  type LogChunk,
  type Member,
  type NodeView,
  type PeerRef,
  type PlanView,
  type RunList,
  type RunView,
  type SubmitRun,
  TroupeError,
} from "../schema/index.ts"
import { type Applied, readCluster } from "../state/index.ts"
import {
  ctlAnswer,
  ctlRequest,
  jobAnswer,
  type JobAnswer,
  type JobRequest,
  jobRequest,
} from "../wire/index.ts"
import type { CallOptions, NodeContext } from "./context.ts"
import type { Caller, EventPage, Metric, NodeFace, Waiting } from "./face.ts"
import { declarationOf, factsOf } from "./facts.ts"
import { Leadership } from "./leadership.ts"
import { type Admission, Membership } from "./membership.ts"
import {
  invalid,
  type LeaderHealth,
  type LogPlace,
  type OperationParts,
  operations,
  type SubmitBody,
} from "./operations.ts"
import type { NodeOptions } from "./options.ts"
import type { Parts } from "./parts.ts"
import { replicateBlobs } from "./replication.ts"
import { Worker } from "./worker.ts"

export interface TroupeNode extends NodeFace {
  start(): Promise<void>
  /** Hands leadership over, then stops everything but the jobs. */
  stop(): Promise<void>
}

const hopsMax = 2
const retryLeaderMs = 25
/** A read or a keyed write whose leader was lost on the way is asked again for this long. */
const lostLeaderMs = 15_000
const factsMax = 4096
const blobBytesMax = 64 * 2 ** 30
/** Operations that a second performance does not change: safe to ask again after a loss. */
const repeatable = new Set([
  "submitRun",
  "planRun",
  "listRuns",
  "getRun",
  "runRows",
  "cancelRun",
  "readEvents",
  "locateLog",
  "nodes",
  "health",
  "admit",
  "declare",
  "meet",
])

export function createNode(options: NodeOptions, parts: Parts): TroupeNode {
  return new Node(options, parts)
}

class Node implements TroupeNode {
  readonly name: string
  readonly #options: NodeOptions
  readonly #parts: Parts
  readonly #membership: Membership
  readonly #worker: Worker
  readonly #context: NodeContext
  readonly #facts = new Map<string, Facts>()
  readonly #changes = new EventEmitter<{ change: [] }>()
  readonly #stopping = new AbortController()
  #leadership: Leadership | undefined
  #boot = ""
  #gossip: { cancel(): void } | undefined
  #leaderChanges = 0

  constructor(options: NodeOptions, parts: Parts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#changes.setMaxListeners(0)
    this.#membership = new Membership(options, parts, {
      declaration: () => declarationOf(options, parts),
      leaderPeer: () => this.#leaderPeer(),
      admit: (declaration) => this.#ask<Admission>("admit", declaration),
      declare: (declaration) => this.#ask("declare", declaration),
      meet: (hello, peer) => this.#ask("meet", { hello, peer }),
      applied: (index, applied) => this.#onApplied(index, applied),
      leading: (term, signal) => this.#onLeading(term, signal),
      leaderChanged: (leader, term) => this.#onLeaderChanged(leader, term),
      reset: () => this.#changes.emit("change"),
    })
    const self = this
    this.#context = {
      options,
      parts,
      get boot() {
        return self.#boot
      },
      identity: () => this.#membership.identity,
      replica: () => this.#membership.replica,
      members: () => this.#membership.members(),
      declaration: () => declarationOf(options, parts),
      leaderPeer: () => this.#leaderPeer(),
      call: (op, body, how) => this.#call(op, body, how),
      callPeer: (peer, op, body, how) => this.#callPeer(peer, op, body, how),
      job: (peer, request, how) => this.#job(peer, request, how),
      fetch: (digest, signal) => this.#fetch(digest, signal),
    }
    this.#worker = new Worker(this.#context)
  }

  async start(): Promise<void> {
    const { mesh, identity, local, keeper, transfer, clock } = this.#parts
    const opened = await identity.open()
    if (opened.foreign) {
      throw new TroupeError(
        "ERR_STORAGE",
        "this data directory was copied from another machine or place: a copy never votes. " +
          "Start with an empty --data directory; it joins as a new member",
        { path: "node.json", reason: "foreign data directory" },
      )
    }
    this.#boot = opened.boot
    await local.open()
    mesh.handle("/troupe/ctl/1", (from, payload, how) => this.#onCtl(from, payload, how.signal))
    mesh.handle("/troupe/job/1", (from, payload) => this.#onJob(from, payload))
    mesh.handle("/troupe/join/1", (from, payload) => this.#membership.handle(from, payload))
    mesh.onFrame((from, frame) => this.#membership.handleFrame(from, frame))
    mesh.onStream("/troupe/snap/1", (stream) => this.#membership.handleSnapshot(stream))
    mesh.on("disconnected", ({ peerId, refused }) => this.#onDisconnected(peerId, refused))
    mesh.onFacts((from, facts) => this.#onFacts(from, facts))
    await keeper.start()
    await mesh.start()
    await this.#membership.open(opened.identity)
    await this.#worker.start()
    transfer.start()
    this.#membership.start()
    this.#gossip = clock.every(this.#options.timing.gossipMs, () => {
      mesh.publish(factsOf(this.#context, this.#worker.running()))
      void this.#membership.refreshDeclaration().catch((error: unknown) => {
        this.#parts.logger.debug("the own declaration was not heard", { error: String(error) })
      })
    })
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    await this.#handOver()
    this.#stopping.abort(new TroupeError("ERR_STOPPED", "this node is stopping", { what: "node" }))
    this.#gossip?.cancel()
    this.#worker.stop()
    await this.#membership.stop()
    await this.#parts.transfer.stop()
    await this.#parts.keeper.stop()
    await this.#parts.mesh.stop()
    await this.#parts.local.close()
  }

  /** SIGTERM: the best follower leads before we go, so that nobody waits for an election. */
  async #handOver(): Promise<void> {
    const replica = this.#membership.replica
    if (!replica?.isLeading()) return
    const { progress, confState } = replica.status()
    const best = progress
      .filter((peer) => peer.id !== replica.memberId && confState.voters.includes(peer.id))
      .filter((peer) => peer.recentActive)
      .toSorted((a, b) => b.match - a.match)[0]
    if (!best) return
    replica.transferLeadership(best.id)
    const deadline = this.#parts.clock.boottime() + 1000
    while (replica.leader === replica.memberId || replica.leader === 0) {
      const left = deadline - this.#parts.clock.boottime()
      if (left <= 0) return
      await this.#parts.clock.sleep(Math.min(left, 10))
    }
  }

  // ---------------------------------------------------------------- events

  #onApplied(index: number, applied: Applied): void {
    this.#leadership?.onApplied(index, applied)
    if (applied.writes.length > 0) this.#changes.emit("change")
    for (const event of applied.events) {
      if (event.type !== "dissolved") continue
      const row = readCluster(this.#membership.replica!.tables)
      const leading = this.#membership.replica?.isLeading() ?? false
      this.#membership.dissolved(event.into, row?.dissolvedPeers ?? [], leading)
    }
  }

  #onLeading(term: number, signal: AbortSignal): void {
    const replica = this.#membership.replica
    if (!replica) return
    this.#parts.logger.info("leading", { term })
    const leadership = new Leadership(this.#context, replica, term, signal)
    this.#leadership = leadership
    signal.addEventListener("abort", () => {
      if (this.#leadership === leadership) this.#leadership = undefined
      this.#changes.emit("change")
    })
    leadership.start()
    this.#changes.emit("change")
  }

  #onLeaderChanged(leader: number, term: number): void {
    this.#leaderChanges++
    this.#parts.logger.info("the leader changed", { leader, term })
    this.#changes.emit("change")
  }

  #onDisconnected(peerId: string, refused: boolean): void {
    const replica = this.#membership.replica
    if (!refused || !replica || replica.leader === 0) return
    if (replica.peerOf(replica.leader)?.peerId === peerId) replica.leaderIsDead()
  }

  #onFacts(from: string, value: unknown): void {
    const facts = Facts.safeParse(value)
    if (!facts.success || facts.data.peerId !== from) return
    const known = this.#facts.get(from)
    if (known && known.boot === facts.data.boot && known.sequence >= facts.data.sequence) return
    if (!known && this.#facts.size >= factsMax) return
    this.#facts.set(from, facts.data)
  }

  // ---------------------------------------------------------------- asking the leader

  #leaderPeer(): PeerRef | undefined {
    const replica = this.#membership.replica
    if (replica) return replica.leader === 0 ? undefined : replica.peerOf(replica.leader)
    return this.#worker.leader()
  }

  #operationParts(): OperationParts | undefined {
    const replica = this.#membership.replica
    const leadership = this.#leadership
    if (!replica?.isLeading() || !leadership) return undefined
    return {
      context: this.#context,
      replica,
      leadership,
      changed: (ms, signal) => this.#changed(ms, signal),
      weigh: (hello) => this.#membership.weigh(hello),
      conflicts: () => this.#membership.conflicts,
    }
  }

  /** Resolves at the next change of state or leader, or after ms; rejects when aborted. */
  async #changed(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        timer.cancel()
        this.#changes.off("change", changed)
        signal.removeEventListener("abort", aborted)
        settle()
      }
      const changed = end(resolve)
      const aborted = end(() => reject(signal.reason as Error))
      const timer = this.#parts.clock.after(ms, changed)
      this.#changes.on("change", changed)
      signal.addEventListener("abort", aborted, { once: true })
    })
  }

  async #ask<T>(op: string, body: unknown): Promise<T> {
    const { clock } = this.#parts
    const signal = AbortSignal.any([
      this.#stopping.signal,
      clock.timeoutSignal(this.#options.timing.requestMs, op),
    ])
    return (await this.#call(op, body, { signal })) as T
  }

  /** Here when this node leads, else at the leader; waits a moment for one, and asks again where that is safe. */
  async #call(op: string, body: unknown, options: CallOptions): Promise<unknown> {
    const { clock } = this.#parts
    const begun = clock.boottime()
    let lost: unknown
    for (;;) {
      options.signal.throwIfAborted()
      try {
        const here = this.#operationParts()
        if (here) return await this.#perform(here, op, body, options)
        const peer = this.#leaderPeer()
        if (peer && peer.peerId !== this.#parts.mesh.peerId && (options.hops ?? 0) < hopsMax) {
          return await this.#callLeader(peer, op, body, options)
        }
      } catch (error) {
        if (!isLostLeader(error)) throw error
        if (isUnknown(error) && !repeatable.has(op)) throw unknownOutcome(error)
        lost = error
      }
      const limit = lost ? lostLeaderMs : this.#options.timing.holdMs
      const waited = clock.boottime() - begun
      if (waited >= limit) throw isUnknown(lost) ? unknownOutcome(lost) : noLeader(waited)
      await this.#changed(Math.min(retryLeaderMs, limit - waited), options.signal)
    }
  }

  /** As callPeer, but given up as soon as somebody else leads: a leader behind a cut never answers. */
  async #callLeader(
    peer: PeerRef,
    op: string,
    body: unknown,
    options: CallOptions,
  ): Promise<unknown> {
    const moved = new AbortController()
    const onChange = (): void => {
      if (this.#leaderPeer()?.peerId === peer.peerId) return
      moved.abort(
        new TroupeError("ERR_UNKNOWN_OUTCOME", "the leader changed while it was asked", {
          hint: "ask again with the same key",
        }),
      )
    }
    this.#changes.on("change", onChange)
    try {
      const signal = AbortSignal.any([options.signal, moved.signal])
      return await this.#callPeer(peer, op, body, { ...options, signal })
    } finally {
      this.#changes.off("change", onChange)
    }
  }

  async #perform(
    parts: OperationParts,
    op: string,
    body: unknown,
    options: CallOptions,
  ): Promise<unknown> {
    const operation = operations[op]
    if (!operation) {
      throw new TroupeError("ERR_PROTOCOL", `unknown operation '${op}'`, {
        where: "ctl",
        reason: "unknown operation",
      })
    }
    return await operation(parts, body as never, options)
  }

  async #callPeer(
    peer: PeerRef,
    op: string,
    body: unknown,
    options: CallOptions,
  ): Promise<unknown> {
    const payload = ctlRequest.encode({
      op,
      hops: (options.hops ?? 0) + 1,
      principal: options.principal ?? "node",
      key: options.key,
      body,
    })
    const answer = await this.#parts.mesh.request(peer, "/troupe/ctl/1", payload, {
      signal: options.signal,
    })
    return ctlAnswer.decode(answer)
  }

  async #onCtl(from: string, payload: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { op, hops, principal, key, body } = ctlRequest.decode(payload)
    if (!this.#isMember(from) && op !== "admit") {
      throw new TroupeError("ERR_FORBIDDEN", "members only", { what: op })
    }
    if (op === "holdBlobs") {
      return ctlAnswer.encode(await this.#holdBlobs(body as HoldBlobs, signal))
    }
    return ctlAnswer.encode(await this.#call(op, body, { signal, principal, key, hops }))
  }

  #isMember(peerId: string): boolean {
    return this.#membership.members().some((member) => member.peerId === peerId)
  }

  // ---------------------------------------------------------------- jobs and blobs

  async #job(
    peer: PeerRef,
    request: JobRequest,
    options: { signal: AbortSignal },
  ): Promise<JobAnswer> {
    if (peer.peerId === this.#parts.mesh.peerId) return await this.#answerJob(peer.peerId, request)
    const payload = jobRequest.encode(request)
    const answer = await this.#parts.mesh.request(peer, "/troupe/job/1", payload, options)
    return jobAnswer.decode(answer)
  }

  async #onJob(from: string, payload: Uint8Array): Promise<Uint8Array> {
    if (!this.#isMember(from)) {
      throw new TroupeError("ERR_FORBIDDEN", "members only", { what: "job" })
    }
    return jobAnswer.encode(await this.#answerJob(from, jobRequest.decode(payload)))
  }

  async #answerJob(from: string, request: JobRequest): Promise<JobAnswer> {
    if (request.type === "report") {
      const leadership = this.#leadership
      if (!leadership) throw notLeading(this.#leaderPeer()?.peerId)
      return { type: "report", accepted: await leadership.report(request) }
    }
    if (request.type === "lease" && request.members && !this.#membership.replica) {
      await this.#membership.learnRoster(request.members, request.rosterIndex)
    }
    return await this.#worker.handle(from, request)
  }

  async #fetch(digest: string, signal: AbortSignal): Promise<void> {
    if (await this.#parts.blobs.has(digest)) return
    const self = this.#parts.mesh.peerId
    const connected = new Set(this.#parts.mesh.connectedPeers())
    const others = this.#membership.members().filter((member) => member.peerId !== self)
    const near = others.filter((member) => connected.has(member.peerId))
    const far = others.filter((member) => !connected.has(member.peerId))
    await this.#parts.transfer.fetch(digest, [...near, ...far], { signal })
  }

  async #holdBlobs(body: HoldBlobs, signal: AbortSignal): Promise<boolean> {
    for (const digest of body.digests) {
      if (await this.#parts.blobs.has(digest)) continue
      await this.#parts.transfer.fetch(digest, [body.from, ...this.#membership.members()], {
        signal,
      })
    }
    return true
  }

  // ---------------------------------------------------------------- the face: runs

  async submitRun(
    request: SubmitRun,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    const body = await this.#submission(request, options)
    const key = caller.key ?? Buffer.from(this.#parts.random.bytes(16)).toString("hex")
    const how = { signal: options.signal, principal: caller.principal, key }
    return (await this.#call("submitRun", body, how)) as {
      run: RunView
      existing: boolean
      warnings: readonly string[]
    }
  }

  async planRun(request: SubmitRun, caller: Caller, options: Waiting): Promise<PlanView> {
    const body = await this.#submission(request, options)
    const how = { signal: options.signal, principal: caller.principal }
    return (await this.#call("planRun", body, how)) as PlanView
  }

  /** Mistakes are found before anything is stored; the document and its files have their copies before it is proposed. */
  async #submission(request: SubmitRun, options: Waiting): Promise<SubmitBody> {
    const parsed = parseManifest(request.document, { file: request.file, lenient: request.lenient })
    if (!parsed.manifest) throw invalid(parsed.issues)
    const manifest = await this.#parts.blobs.put(once(Buffer.from(request.document)))
    const digests = [manifest.digest]
    for (const { digest } of Object.values(request.files)) {
      await this.#fetch(digest, options.signal)
      digests.push(digest)
    }
    await replicateBlobs(this.#context, digests, options.signal)
    const { os, arch } = this.#parts.host
    return {
      request,
      manifest,
      entryNode: this.name,
      controller: { os, arch },
      bodyHash: createHash("sha256").update(JSON.stringify(request)).digest("hex"),
    }
  }

  async listRuns(
    query: { state?: string | undefined; limit: number; cursor?: string | undefined },
    options: Waiting,
  ): Promise<RunList> {
    return (await this.#call("listRuns", query, options)) as RunList
  }

  async getRun(run: string, options: Waiting): Promise<RunView> {
    return (await this.#call("getRun", { run }, options)) as RunView
  }

  async cancelRun(run: string, reason: string, caller: Caller, options: Waiting): Promise<RunView> {
    const how = { ...options, principal: caller.principal }
    return (await this.#call("cancelRun", { run, reason }, how)) as RunView
  }

  async readEvents(
    run: string,
    query: { after: string | undefined; limit: number; waitMs: number },
    options: Waiting,
  ): Promise<EventPage> {
    return (await this.#call("readEvents", { run, ...query }, options)) as EventPage
  }

  async readLog(
    run: string,
    query: Parameters<NodeFace["readLog"]>[1],
    options: Waiting,
  ): Promise<LogChunk> {
    const { task, stream, attempt, offset, max, waitMs } = query
    const place = (await this.#call(
      "locateLog",
      { run, task, stream, attempt },
      options,
    )) as LogPlace | null
    const chunk = { task, stream, offset, attempt: place?.attempt ?? 0, node: place?.node ?? "" }
    if (!place) {
      await this.#changed(waitMs, options.signal)
      const { state } = await this.getRun(run, options)
      return { ...chunk, next: offset, data: "", ended: state !== "active" }
    }
    if (place.output) {
      await this.#fetch(place.output.digest, options.signal)
      const length = Math.max(0, Math.min(max, place.output.bytes - offset))
      const data =
        length === 0
          ? Buffer.alloc(0)
          : await collectBytes(this.#parts.blobs.read(place.output.digest, { offset, length }))
      const next = offset + data.length
      return { ...chunk, next, data: data.toString("base64"), ended: next >= place.output.bytes }
    }
    if (place.finished) return { ...chunk, next: offset, data: "", ended: true }
    return await this.#tail(run, place, query, options)
  }

  /** From the keeper of the node that runs it. */
  async #tail(
    run: string,
    place: LogPlace,
    query: Parameters<NodeFace["readLog"]>[1],
    options: Waiting,
  ): Promise<LogChunk> {
    const { stream, offset, max, waitMs } = query
    const { id } = await this.getRun(run, options)
    const answer = await this.#job(
      place.peer,
      {
        type: "readLog",
        run: id,
        task: place.task,
        fence: place.fence,
        stream,
        offset,
        max,
        waitMs,
      },
      options,
    )
    if (answer.type !== "readLog") {
      throw new TroupeError(
        "ERR_ATTEMPT_GONE",
        `the log of ${place.task} is not at ${place.node}`,
        {
          run: id,
          task: place.task,
        },
      )
    }
    return {
      task: place.task,
      stream,
      offset,
      attempt: place.attempt,
      node: place.node,
      next: offset + answer.data.length,
      data: Buffer.from(answer.data).toString("base64"),
      ended: answer.ended && !place.live,
    }
  }

  async openBundle(
    run: string,
    options: Waiting,
  ): Promise<{ run: RunView; bundle: BundleRef; read: AsyncIterable<Uint8Array> }> {
    const view = await this.getRun(run, options)
    if (!view.bundle) {
      if (view.state !== "finished") {
        throw new TroupeError("ERR_RUN_NOT_FINISHED", `run ${view.label} has no bundle yet`, {
          run: view.id,
        })
      }
      throw new TroupeError(
        "ERR_BUNDLE_NOT_FOUND",
        `run ${view.label} has no bundle: ${view.reason}`,
        {
          run: view.id,
        },
      )
    }
    await this.#fetch(view.bundle.digest, options.signal)
    return { run: view, bundle: view.bundle, read: this.#parts.blobs.read(view.bundle.digest) }
  }

  async putBlob(
    digest: string,
    source: AsyncIterable<Uint8Array>,
    options: Waiting,
  ): Promise<{ bytes: number; created: boolean }> {
    const known = await this.#parts.blobs.has(digest)
    if (known) {
      await replicateBlobs(this.#context, [digest], options.signal)
      return { bytes: known.bytes, created: false }
    }
    const { bytes } = await this.#parts.blobs.put(bounded(source, blobBytesMax), digest)
    await replicateBlobs(this.#context, [digest], options.signal)
    return { bytes, created: true }
  }

  // ---------------------------------------------------------------- the face: nodes and health

  async listNodes(options: Waiting): Promise<readonly NodeView[]> {
    const views = (await this.#call("nodes", {}, options)) as readonly NodeView[]
    return views.map((view) => this.#withFacts(view))
  }

  #withFacts(view: NodeView): NodeView {
    const self = view.member.peerId === this.#parts.mesh.peerId
    const facts = self
      ? factsOf(this.#context, this.#worker.running())
      : this.#facts.get(view.member.peerId)
    return { ...view, self, ...(facts && { facts }) }
  }

  async clusterStatus(options: Waiting): Promise<ClusterStatus> {
    const identity = this.#membership.identity
    const replica = this.#membership.replica
    const status = replica?.status()
    const nodes = await this.#nodesOrGuess(options)
    const leader = this.#leaderPeer()
    const named = (role: Member["role"]): string[] =>
      nodes.filter(({ member }) => member.role === role).map(({ member }) => member.name)
    const leaderNode = nodes.find(({ member }) => member.peerId === leader?.peerId)?.member
    const self = nodes.find((node) => node.self)?.member
    return {
      cluster: this.#options.cluster,
      clusterId: identity?.clusterId ?? "",
      node: this.name,
      memberId: identity?.memberId ?? 0,
      peerId: this.#parts.mesh.peerId,
      role: self?.role ?? (identity ? "worker" : "joining"),
      raftState: status ? raftStates[status.raftState] : "none",
      ...(leaderNode && { leader: leaderNode.name }),
      leaderId: leaderNode?.id ?? 0,
      term: status?.term ?? 0,
      commit: status?.commit ?? 0,
      applied: replica?.applied.index ?? 0,
      voters: named("voter"),
      standbys: named("standby"),
      pristine: (replica && readCluster(replica.tables)?.pristine) ?? false,
      nodes: [...nodes],
    }
  }

  /** Without a leader, what this node itself knows: the roster, and whom it is connected to. */
  async #nodesOrGuess(options: Waiting): Promise<readonly NodeView[]> {
    try {
      return await this.listNodes(options)
    } catch (error) {
      options.signal.throwIfAborted()
      if (!isTroupeError(error)) throw error
      const connected = new Set(this.#parts.mesh.connectedPeers())
      return this.#membership.members().map((member) => {
        const self = member.peerId === this.#parts.mesh.peerId
        const state = self || connected.has(member.peerId) ? "connected" : "silent"
        return this.#withFacts({ member, leader: false, state, silentMs: 0, self })
      })
    }
  }

  async health(): Promise<HealthView> {
    const { clock, logger, loopDelay } = this.#parts
    const replica = this.#membership.replica
    let leader: LeaderHealth | undefined
    if (this.#leaderPeer()) {
      try {
        const signal = clock.timeoutSignal(500, "asking the leader for its health")
        const here = this.#operationParts()
        leader = (await (here
          ? this.#perform(here, "health", {}, { signal })
          : this.#callPeer(this.#leaderPeer()!, "health", {}, { signal, hops: 1 }))) as LeaderHealth
      } catch (error) {
        logger.debug("the leader did not tell its health", { error: String(error) })
      }
    }
    const { timing } = this.#options
    const notes = [...(leader?.notes ?? []), ...this.#ownNotes(leader !== undefined)]
    return {
      status: this.#status(leader),
      survives: leader?.survives ?? 0,
      copies: leader?.copies ?? 0,
      ...(this.#leaderName() !== undefined && { leader: this.#leaderName()! }),
      term: replica?.term ?? 0,
      node: this.name,
      cluster: this.#options.cluster,
      notes,
      loopDelayP99Ms: loopDelay(),
      fsyncP99Ms: replica?.fsyncP99Ms() ?? 0,
      electionTimeoutMs: timing.electionTicks * timing.tickMs,
    }
  }

  #leaderName(): string | undefined {
    const peerId = this.#leaderPeer()?.peerId
    return this.#membership.members().find((member) => member.peerId === peerId)?.name
  }

  #status(leader: LeaderHealth | undefined): HealthView["status"] {
    if (!this.#membership.identity) return "joining"
    if (!leader) return "no-leader"
    return leader.survives > 0 ? "ok" : "degraded"
  }

  #ownNotes(led: boolean): readonly string[] {
    const notes: string[] = []
    const { mesh } = this.#parts
    if (!this.#membership.identity) notes.push("this node has not joined or formed a cluster yet")
    else if (!led) {
      notes.push(
        "no leader answers: most voters must be running and reachable; see 'troupe cluster list'",
      )
    }
    if (this.#membership.members().length <= 1) {
      const { mdns, reason, seeds } = mesh.discovery()
      const why =
        mdns === "on" ? "mDNS is on, nobody answered" : `mDNS is ${mdns}: ${reason ?? "unknown"}`
      const named =
        seeds.length > 0 ? `; --join named ${seeds.join(", ")}` : "; --join names nobody"
      notes.push(`this node has found no other: ${why}${named}`)
    }
    return notes
  }

  ready(): ReturnType<NodeFace["ready"]> {
    const checks = [
      { name: "member", ok: this.#membership.identity !== undefined },
      { name: "leader", ok: this.#leaderPeer() !== undefined },
    ]
    return { ready: checks.every((check) => check.ok), checks }
  }

  metrics(): readonly Metric[] {
    const replica = this.#membership.replica
    const status = replica?.status()
    const gauge = (name: string, help: string, value: number): Metric => ({
      name,
      help,
      type: "gauge",
      value,
    })
    return [
      gauge("troupe_is_leader", "1 when this node leads.", replica?.isLeading() ? 1 : 0),
      gauge("troupe_raft_term", "Current term.", status?.term ?? 0),
      gauge("troupe_raft_commit_index", "Last committed index.", status?.commit ?? 0),
      gauge("troupe_raft_applied_index", "Last applied index.", replica?.applied.index ?? 0),
      gauge("troupe_raft_last_index", "Last index of the log.", status?.lastIndex ?? 0),
      gauge("troupe_members", "Members of the cluster.", this.#membership.members().length),
      gauge(
        "troupe_peers_connected",
        "Peers with a connection.",
        this.#parts.mesh.connectedPeers().length,
      ),
      gauge(
        "troupe_loop_delay_seconds",
        "p99 of the event loop's delay.",
        this.#parts.loopDelay() / 1000,
      ),
      gauge(
        "troupe_fsync_seconds",
        "p99 of the log's fdatasync.",
        (replica?.fsyncP99Ms() ?? 0) / 1000,
      ),
      {
        name: "troupe_leader_changes_total",
        help: "Changes of leader that this node saw.",
        type: "counter",
        value: this.#leaderChanges,
      },
    ]
  }
}

interface HoldBlobs {
  readonly digests: readonly string[]
  readonly from: PeerRef
}

const raftStates = {
  StateLeader: "leader",
  StateFollower: "follower",
  StateCandidate: "candidate",
  StatePreCandidate: "pre-candidate",
} as const

function isLostLeader(error: unknown): boolean {
  return (
    isTroupeError(error) &&
    [
      "ERR_NOT_LEADER",
      "ERR_NO_LEADER",
      "ERR_PEER_UNREACHABLE",
      "ERR_UNKNOWN_OUTCOME",
      "ERR_STOPPED",
    ].includes(error.code)
  )
}

/** The request may have reached a leader before it was lost. */
function isUnknown(error: unknown): boolean {
  return (
    isTroupeError(error) && ["ERR_PEER_UNREACHABLE", "ERR_UNKNOWN_OUTCOME"].includes(error.code)
  )
}

function unknownOutcome(cause: unknown): TroupeError<"ERR_UNKNOWN_OUTCOME"> {
  return new TroupeError(
    "ERR_UNKNOWN_OUTCOME",
    "the leader was lost while this was under way: it may or may not have happened; ask again with the same key",
    { hint: "retry with the same Idempotency-Key" },
    { cause },
  )
}

function noLeader(waitedMs: number): TroupeError<"ERR_NO_LEADER"> {
  return new TroupeError(
    "ERR_NO_LEADER",
    "no leader: most voters must be running and reachable; see 'troupe cluster health'",
    { waitedMs: Math.round(waitedMs) },
  )
}

function notLeading(leader: string | undefined): TroupeError<"ERR_NOT_LEADER"> {
  return new TroupeError("ERR_NOT_LEADER", "this node does not lead", { leader })
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}

async function* bounded(
  source: AsyncIterable<Uint8Array>,
  max: number,
): AsyncGenerator<Uint8Array> {
  let total = 0
  for await (const chunk of source) {
    total += chunk.length
    if (total > max)
      throw new TroupeError("ERR_LIMIT", `a blob may have ${max} bytes`, {
        what: "blob bytes",
        max,
      })
    yield chunk
  }
}

async function collectBytes(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A whole node: joins membership, replica, worker and leadership, and answers for the face. */
import {
  Facts,
  type LeaderTransferred,
  type NodeCordoned,
  type NodeDeclaredDead,
  type NodeRemoved,
  type PeerRef,
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
  type JoinAnswer,
} from "../wire/index.ts"
import { Asking } from "./asking.ts"
import { BlobQuota } from "./blob-quota.ts"
import type { Outdated } from "./boots.ts"
import { Changes } from "./changes.ts"
import type { NodeContext } from "./context.ts"
import type { NodeFace } from "./face.ts"
import { declarationOf, factsOf } from "./facts.ts"
import { FullDisk } from "./full-disk.ts"
import { Hearing } from "./health-hearing.ts"
import { Returning } from "./health-returning.ts"
import { LeaderWatch } from "./leader-watch.ts"
import { Leadership } from "./leadership.ts"
import { Membership } from "./membership.ts"
import type { OperationParts } from "./operations.ts"
import type { NodeOptions } from "./options.ts"
import { MergedLog } from "./merged-log.ts"
import { OutputQuota } from "./output-quota.ts"
import { Overview } from "./overview.ts"
import type { Parts } from "./parts.ts"
import { Runs } from "./runs.ts"
import { Worker } from "./worker.ts"

export interface TroupeNode extends NodeFace {
  start(): Promise<void>
  /** Before it stops: the best follower leads, so that nobody waits for an election. Resolves when one does, or after
   *  a second. */
  handOver(): Promise<void>
  /** Hands leadership over, then stops everything but the jobs. */
  stop(): Promise<void>
}

const factsMax = 4096
/** Programs that a node looks for beside the usual ones. */
const toolsMax = 512
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
  readonly #changes: Changes
  readonly #asking: Asking
  readonly #runs: Runs
  readonly #overview: Overview
  readonly #leaderWatch: LeaderWatch
  readonly #hearing = new Hearing()
  readonly #returning = new Returning()
  readonly #stopping = new AbortController()
  #leadership: Leadership | undefined
  #boot = ""
  #gossip: { cancel(): void } | undefined
  #endQuota: (() => void) | undefined
  #leaderChanges = 0

  constructor(options: NodeOptions, parts: Parts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#changes = new Changes(parts.clock)
    this.#asking = new Asking({
      parts,
      changes: this.#changes,
      source: { here: () => this.#operationParts(), leaderPeer: () => this.#leaderPeer() },
      holdMs: options.timing.holdMs,
    })
    this.#membership = new Membership(options, parts, {
      declaration: () => declarationOf(options, parts),
      leaderPeer: () => this.#leaderPeer(),
      admit: (declaration) => this.#ask<JoinAnswer>("admit", declaration),
      readmit: (declaration, instead) =>
        this.#returning.during(declaration.peerId, () => parts.clock.boottime(), {
          ask: () => this.#ask<JoinAnswer>("readmit", { declaration, instead }),
          granted: ({ type }) => type === "admitted",
        }),
      outdated: (peer, outdated) => this.#tellOutdated(peer, outdated),
      declare: (declaration) => this.#ask("declare", declaration),
      meet: (hello, peer) => this.#ask("meet", { hello, peer }),
      applied: (index, applied) => this.#onApplied(index, applied),
      leading: (term, signal) => this.#onLeading(term, signal),
      leaderChanged: (leader, term) => this.#onLeaderChanged(leader, term),
      reset: () => this.#changes.announce(),
      woke: (gapMs) => this.#leadership?.woke(gapMs),
    })
    this.#context = {
      options,
      parts,
      boot: () => this.#boot,
      identity: () => this.#membership.identity,
      replica: () => this.#membership.replica,
      members: () => this.#membership.members(),
      declaration: () => declarationOf(options, parts),
      leaderPeer: () => this.#leaderPeer(),
      disk: new FullDisk(),
      call: (op, body, how) => this.#asking.call(op, body, how),
      callPeer: (peer, op, body, how) => this.#asking.callPeer(peer, op, body, how),
      job: (peer, request, how) => this.#job(peer, request, how),
      lookForTools: (tools) => this.#lookForTools(tools),
      fetch: (digest, signal) => this.#fetch(digest, signal),
    }
    this.#worker = new Worker(this.#context)
    this.#leaderWatch = new LeaderWatch({
      replica: () => this.#membership.replica,
      bootOf: (peerId) => this.#worker.bootOf(peerId),
      askBoot: async (peer) => {
        const signal = parts.clock.timeoutSignal(options.timing.requestMs, "asking for a boot")
        return (await this.#asking.callPeer(peer, "boot", {}, { signal })) as string
      },
      note: (message, fields) => parts.logger.debug(message, fields),
    })
    this.#runs = new Runs(this.#context, this.#changes)
    this.#overview = new Overview(this.#context, {
      factsOf: (peerId) => this.#facts.get(peerId),
      running: () => this.#worker.running(),
      leaderChanges: () => this.#leaderChanges,
      attempts: () => this.#leadership?.liveAttempts(),
      term: () => this.#worker.term,
      hearing: this.#hearing,
      returning: () => this.#returning.peers(parts.clock.boottime()),
      isReturning: () => this.#membership.isReturning,
      removed: () => this.#membership.removed,
    })
  }

  async start(): Promise<void> {
    const { mesh, identity, local, keeper, transfer, clock } = this.#parts
    const opened = await identity.open()
    if (opened.foreign && opened.identity && opened.identity.peerId !== mesh.peerId) {
      throw new TroupeError(
        "ERR_STORAGE",
        "the key of this node (identity/ in its data directory) is gone or was replaced, and a member is known by its key. " +
          "Put identity/ back as it was, or start with an empty --data directory; it joins as a new member",
        { path: "identity", reason: "another key than its member's" },
      )
    }
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
    this.#parts.host.lookFor(((await local.get("tools")) as string[] | undefined) ?? [])
    mesh.handle("/troupe/ctl/1", (from, payload, how) => this.#onCtl(from, payload, how.signal))
    mesh.handle("/troupe/job/1", (from, payload) => this.#onJob(from, payload))
    mesh.handle("/troupe/join/1", (from, payload) => this.#membership.handle(from, payload))
    mesh.onFrame((from, frame) => {
      this.#hearing.heard(from, clock.boottime())
      this.#membership.handleFrame(from, frame)
    })
    mesh.onStream("/troupe/snap/1", (stream) => this.#membership.handleSnapshot(stream))
    mesh.on("disconnected", ({ peerId, refused }) => {
      this.#hearing.lost(peerId, clock.boottime(), refused)
      this.#leaderWatch.disconnected(peerId, refused)
      this.#leadership?.disconnected(peerId)
    })
    mesh.on("connected", ({ peerId }) => {
      this.#hearing.heard(peerId, clock.boottime())
      this.#leaderWatch.connected(peerId)
    })
    mesh.onFacts((from, facts) => this.#onFacts(from, facts))
    this.#membership.listen()
    await keeper.start()
    await mesh.start()
    await this.#membership.open(opened.identity, opened.boot)
    await this.#worker.start()
    transfer.start()
    this.#membership.start()
    const quotas = [new BlobQuota(this.#context).start(), new OutputQuota(this.#context).start()]
    this.#endQuota = () => {
      for (const end of quotas) end()
    }
    this.#gossip = clock.every(this.#options.timing.gossipMs, () => {
      mesh.publish(factsOf(this.#context, this.#worker.running()))
      void this.#membership.refreshDeclaration().catch((error: unknown) => {
        this.#parts.logger.debug("the own declaration was not heard", { error: String(error) })
      })
    })
  }

  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    await this.handOver()
    this.#stopping.abort(new TroupeError("ERR_STOPPED", "this node is stopping", { what: "node" }))
    this.#gossip?.cancel()
    this.#endQuota?.()
    this.#worker.stop()
    await this.#membership.stop()
    await this.#parts.transfer.stop()
    await this.#parts.keeper.stop()
    await this.#parts.mesh.stop()
    await this.#parts.local.close()
  }

  async handOver(): Promise<void> {
    const replica = this.#membership.replica
    if (!replica?.isLeading()) return
    if (replica.handOver() === undefined) return
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
    if (applied.writes.length > 0) this.#changes.announce()
    for (const event of applied.events) {
      if (event.type !== "dissolved") continue
      const replica = this.#membership.replica
      // Applied while it opens: looked at again when it is open.
      if (!replica) continue
      const row = readCluster(replica.tables)
      const leading = replica.isLeading()
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
      this.#changes.announce()
    })
    leadership.start()
    this.#changes.announce()
  }

  #onLeaderChanged(leader: number, term: number): void {
    this.#leaderChanges++
    this.#parts.logger.info("the leader changed", { leader, term })
    this.#changes.announce()
  }

  #onFacts(from: string, value: unknown): void {
    const facts = Facts.safeParse(value)
    if (!facts.success || facts.data.peerId !== from) return
    const known = this.#facts.get(from)
    if (known && known.boot === facts.data.boot && known.sequence >= facts.data.sequence) return
    if (!known && this.#facts.size >= factsMax) return
    this.#facts.set(from, facts.data)
    if (facts.data.api !== "" && facts.data.api !== known?.api) this.#rememberApis()
  }

  /** `cluster recover` asks there when this node is stopped. */
  #rememberApis(): void {
    const members = new Set(this.#membership.members().map(({ peerId }) => peerId))
    const apis = [...this.#facts.values()].filter(({ peerId }) => members.has(peerId))
    const byName = Object.fromEntries(apis.map(({ name, api }) => [name, api]))
    this.#parts.local.put("apis", byName).catch((error: unknown) => {
      this.#parts.logger.warn("where others answer was not noted", { error: String(error) })
    })
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
      changed: (ms, signal) => this.#changes.next(ms, signal),
      weigh: (hello) => this.#membership.weigh(hello),
      conflict: (hello) => this.#membership.conflict(hello),
      conflicts: () => this.#membership.conflicts,
      settlingMs: () => this.#membership.settlingMs,
    }
  }

  #tellOutdated(peer: PeerRef, outdated: Outdated): void {
    const { clock, logger } = this.#parts
    const signal = AbortSignal.any([
      this.#stopping.signal,
      clock.timeoutSignal(this.#options.timing.requestMs, "telling a member that it is outdated"),
    ])
    this.#asking.callPeer(peer, "outdated", outdated, { signal }).catch((error: unknown) => {
      logger.debug("an outdated member was not told", { error: String(error) })
    })
  }

  async #ask<T>(op: string, body: unknown): Promise<T> {
    const { clock } = this.#parts
    const signal = AbortSignal.any([
      this.#stopping.signal,
      clock.timeoutSignal(this.#options.timing.requestMs, op),
    ])
    return (await this.#asking.call(op, body, { signal })) as T
  }

  async #onCtl(from: string, payload: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { op, hops, principal, key, body } = ctlRequest.decode(payload)
    if (!this.#isMember(from) && op !== "admit") {
      throw new TroupeError("ERR_FORBIDDEN", "members only", { what: op })
    }
    if (op === "boot") return ctlAnswer.encode(this.#boot)
    if (op === "holdBlobs") {
      return ctlAnswer.encode(await this.#holdBlobs(body as HoldBlobs, signal))
    }
    if (op === "lookForTools") {
      await this.#lookForTools((body as { tools: readonly string[] }).tools)
      return ctlAnswer.encode(true)
    }
    if (op === "removed") {
      const { memberId, reason } = body as { memberId: number; reason: string }
      await this.#membership.removedBy(from, memberId, reason)
      return ctlAnswer.encode(true)
    }
    if (op === "outdated") {
      await this.#membership.outdated(from, body as Outdated)
      return ctlAnswer.encode(true)
    }
    if (op === "clock") return ctlAnswer.encode(this.#parts.clock.now())
    if (op === "stateHash") {
      const { index } = body as { index: number }
      return ctlAnswer.encode(await this.#membership.replica?.hashAt(index, signal))
    }
    return ctlAnswer.encode(await this.#asking.call(op, body, { signal, principal, key, hops }))
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
    const answer = await this.#worker.handle(from, request)
    if (request.type === "lease" && answer.type === "lease") {
      if (request.members) {
        await this.#membership.learnRoster(request.members, request.rosterIndex)
      }
      await this.#membership.retireReplica()
    }
    return answer
  }

  async #lookForTools(tools: readonly string[]): Promise<void> {
    const { host, local } = this.#parts
    const known = ((await local.get("tools")) as string[] | undefined) ?? []
    const all = [...new Set([...known, ...tools])].slice(0, toolsMax)
    if (all.length > known.length) await local.put("tools", all)
    host.lookFor(all)
    await this.#membership.refreshDeclaration()
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

  // ---------------------------------------------------------------- the face

  submitRun: NodeFace["submitRun"] = (...args) => this.#runs.submitRun(...args)
  planRun: NodeFace["planRun"] = (...args) => this.#runs.planRun(...args)
  listRuns: NodeFace["listRuns"] = (...args) => this.#runs.listRuns(...args)
  submitJob: NodeFace["submitJob"] = (...args) => this.#runs.submitJob(...args)
  planJob: NodeFace["planJob"] = (...args) => this.#runs.planJob(...args)
  retryRun: NodeFace["retryRun"] = (...args) => this.#runs.retryRun(...args)
  getRun: NodeFace["getRun"] = (...args) => this.#runs.getRun(...args)
  explainRun: NodeFace["explainRun"] = (...args) => this.#runs.explainRun(...args)
  cancelRun: NodeFace["cancelRun"] = (...args) => this.#runs.cancelRun(...args)
  cancelRunBriefly: NodeFace["cancelRunBriefly"] = (...args) => this.#runs.cancelRunBriefly(...args)
  pinRun: NodeFace["pinRun"] = (...args) => this.#runs.pinRun(...args)
  readEvents: NodeFace["readEvents"] = (...args) => this.#runs.readEvents(...args)
  readLog: NodeFace["readLog"] = (...args) => this.#runs.readLog(...args)
  mergedLog: NodeFace["mergedLog"] = async (run, query, { signal }) => {
    const merged = new MergedLog(this.#context, run, query, signal)
    return { run: await merged.begin(), records: merged.records() }
  }
  openBundle: NodeFace["openBundle"] = (...args) => this.#runs.openBundle(...args)
  putBlob: NodeFace["putBlob"] = (...args) => this.#runs.putBlob(...args)
  listNodes: NodeFace["listNodes"] = (...args) => this.#overview.listNodes(...args)
  clusterStatus: NodeFace["clusterStatus"] = (...args) => this.#overview.clusterStatus(...args)
  transferLeader: NodeFace["transferLeader"] = async (request, options) =>
    (await this.#asking.call("transferLeader", request, options)) as LeaderTransferred
  cordonNode: NodeFace["cordonNode"] = async (node, request, options) =>
    (await this.#asking.call("cordonNode", { ...request, node }, options)) as NodeCordoned
  declareDead: NodeFace["declareDead"] = async (node, request, options) =>
    (await this.#asking.call("declareDead", { ...request, node }, options)) as NodeDeclaredDead
  removeNode: NodeFace["removeNode"] = async (request, options) =>
    (await this.#asking.call("removeNode", request, options)) as NodeRemoved
  replicaView: NodeFace["replicaView"] = () => this.#overview.replicaView()
  health: NodeFace["health"] = () => this.#overview.health()
  ready: NodeFace["ready"] = () => this.#overview.ready()
  metrics: NodeFace["metrics"] = () => this.#overview.metrics()
}

interface HoldBlobs {
  readonly digests: readonly string[]
  readonly from: PeerRef
}

function notLeading(leader: string | undefined): TroupeError<"ERR_NOT_LEADER"> {
  return new TroupeError("ERR_NOT_LEADER", "this node does not lead", { leader })
}

/** What the face says of the cluster and of this node: nodes, status, health, readiness, metrics. */
import {
  type ClusterStatus,
  type Facts,
  type HealthView,
  incarnationOf,
  isTroupeError,
  type Member,
  type NodeHealth,
  type NodeView,
  type ReplicaView,
} from "../schema/index.ts"
import { readCluster } from "../state/index.ts"
import type { NodeContext } from "./context.ts"
import type { Metric, NodeFace, Waiting } from "./face.ts"
import { factsOf, vitalsOf } from "./facts.ts"
import { type LeaderHealth, measured, measuredVitals } from "./health.ts"
import type { Hearing } from "./health-hearing.ts"
import { leaderlessProblems, type VoterSeen } from "./health-leaderless.ts"
import { nodeMetrics } from "./metrics.ts"

/** Health never waits for a leader for long. */
const leaderHealthMs = 500

/** What is known only softly, and changes by itself. */
export interface SoftKnowledge {
  /** Facts that a peer gossiped. */
  factsOf(peerId: string): Facts | undefined
  running(): number
  leaderChanges(): number
  /** Live attempts by state; undefined where this node does not lead. */
  attempts(): ReadonlyMap<string, number> | undefined
  /** Of the lease that this node holds; 0 without one. */
  term(): number
  readonly hearing: Pick<Hearing, "silentMs">
  /** Peer ids of members that have lost their log and ask here to come back. */
  returning(): ReadonlySet<string>
  /** This node has lost its log itself, and nobody has taken it back yet. */
  isReturning(): boolean
  /** Why somebody removed this node. */
  removed(): string | undefined
}

export class Overview {
  readonly #context: NodeContext
  readonly #soft: SoftKnowledge

  constructor(context: NodeContext, soft: SoftKnowledge) {
    this.#context = context
    this.#soft = soft
  }

  async listNodes(options: Waiting): Promise<readonly NodeView[]> {
    const views = (await this.#context.call("nodes", {}, options)) as readonly NodeView[]
    return views.map((view) => this.#withFacts(view))
  }

  #withFacts(view: NodeView): NodeView {
    const self = view.member.peerId === this.#context.parts.mesh.peerId
    const facts = self
      ? factsOf(this.#context, this.#soft.running())
      : this.#soft.factsOf(view.member.peerId)
    return { ...view, self, ...(facts && { facts }) }
  }

  async clusterStatus(options: Waiting): Promise<ClusterStatus> {
    const identity = this.#context.identity()
    const replica = this.#context.replica()
    const status = replica?.status()
    const nodes = await this.#nodesOrGuess(options)
    const leader = this.#context.leaderPeer()
    const named = (role: Member["role"]): string[] =>
      nodes.filter(({ member }) => member.role === role).map(({ member }) => member.name)
    const leaderNode = nodes.find(({ member }) => member.peerId === leader?.peerId)?.member
    const self = nodes.find((node) => node.self)?.member
    return {
      cluster: this.#context.options.cluster,
      clusterId: identity?.clusterId ?? "",
      incarnation: incarnationOf(identity?.clusterId ?? ""),
      node: this.#context.options.name,
      memberId: identity?.memberId ?? 0,
      peerId: this.#context.parts.mesh.peerId,
      role: self?.role ?? (identity ? "worker" : "joining"),
      raftState: status ? raftStates[status.raftState] : "none",
      ...(leaderNode && { leader: leaderNode.name }),
      leaderId: leaderNode?.id ?? 0,
      term: status?.term ?? this.#soft.term(),
      commit: status?.commit ?? 0,
      applied: replica?.applied.index ?? 0,
      voters: named("voter"),
      standbys: named("standby"),
      pristine: (replica && readCluster(replica.tables)?.pristine) ?? false,
      nodes: [...nodes],
    }
  }

  replicaView(): ReplicaView {
    const identity = this.#context.identity()
    const replica = this.#context.replica()
    const clusterId = identity?.clusterId ?? ""
    const leader = this.#leaderName()
    const last = replica?.last() ?? { term: 0, index: 0 }
    return {
      node: this.#context.options.name,
      cluster: this.#context.options.cluster,
      clusterId,
      incarnation: incarnationOf(clusterId),
      memberId: identity?.memberId ?? 0,
      hasLog: replica !== undefined,
      term: replica?.term ?? 0,
      lastTerm: last.term,
      lastIndex: last.index,
      commit: replica?.status().commit ?? 0,
      ...(leader !== undefined && { leader }),
    }
  }

  /** Without a leader, what this node itself knows: the roster, and whom it is connected to. */
  async #nodesOrGuess(options: Waiting): Promise<readonly NodeView[]> {
    try {
      return await this.listNodes(options)
    } catch (error) {
      options.signal.throwIfAborted()
      if (!isTroupeError(error)) throw error
      return this.#context.members().map((member) => {
        const self = member.peerId === this.#context.parts.mesh.peerId
        return this.#withFacts({ member, leader: false, self, ...this.#contact(member) })
      })
    }
  }

  /** What this node knows of another by itself. */
  #contact({ peerId }: Member): Pick<NodeView, "state" | "silentMs"> {
    const { mesh, clock } = this.#context.parts
    const isHere = peerId === mesh.peerId || mesh.connectedPeers().includes(peerId)
    if (isHere) return { state: "connected", silentMs: 0 }
    const silentMs = this.#soft.hearing.silentMs(peerId, clock.boottime())
    return { state: "silent", ...(silentMs !== undefined && { silentMs }) }
  }

  async health(): Promise<HealthView> {
    const { clock, logger } = this.#context.parts
    const replica = this.#context.replica()
    let leader: LeaderHealth | undefined
    try {
      const signal = clock.timeoutSignal(leaderHealthMs, "asking the leader for its health")
      leader = (await this.#context.call("health", {}, { signal })) as LeaderHealth
    } catch (error) {
      logger.debug("the leader did not tell its health", { error: String(error) })
    }
    const own = vitalsOf(this.#context)
    const { length: known } = this.#context.members()
    return {
      status: this.#status(leader),
      survives: leader?.survives ?? 0,
      ...(leader && { copies: leader.copies }),
      ...(this.#leaderName() !== undefined && { leader: this.#leaderName()! }),
      term: replica?.term ?? this.#soft.term(),
      node: this.#context.options.name,
      cluster: this.#context.options.cluster,
      voters: leader?.voters ?? this.#knownVoters(),
      problems: [...(leader?.problems ?? []), ...this.#ownProblems(leader !== undefined)],
      notes: [...(leader?.notes ?? []), ...(known <= 1 ? this.#loneNotes() : [])],
      nodes: [...(leader?.nodes ?? this.#knownNodes())],
      ...measured({ loopDelayP99Ms: own.loopDelayP99Ms, fsyncP99Ms: own.fsyncP99Ms }),
      electionTimeoutMs: own.electionMs,
      electionReason: own.electionReason,
    }
  }

  #leaderName(): string | undefined {
    const peerId = this.#context.leaderPeer()?.peerId
    return this.#context.members().find((member) => member.peerId === peerId)?.name
  }

  #status(leader: LeaderHealth | undefined): HealthView["status"] {
    if (!this.#context.identity()) return "joining"
    if (!leader) return "no-leader"
    return leader.survives > 0 ? "ok" : "degraded"
  }

  /** What this node sees by itself: whom it knows, and whom it is connected to. */
  #knownNodes(): readonly NodeHealth[] {
    return this.#context.members().map((member): NodeHealth => {
      const { id, name, role, peerId } = member
      const isSelf = peerId === this.#context.parts.mesh.peerId
      const vitals = measuredVitals(vitalsOf(this.#context))
      const own = isSelf && { vitals, version: this.#context.options.version }
      return { id, name, role, leader: false, ...this.#contact(member), ...own }
    })
  }

  #knownVoters(): HealthView["voters"] {
    const voters = this.#votersSeen()
    const answering = voters.filter((one) => one.answers && !one.isReturning).length
    return { total: voters.length, answering, needed: Math.floor(voters.length / 2) + 1 }
  }

  #votersSeen(): readonly VoterSeen[] {
    const returning = this.#soft.returning()
    const voters = this.#context.members().filter(({ role }) => role === "voter")
    return voters.map((member) => {
      const { state, silentMs } = this.#contact(member)
      const { name, peerId } = member
      return { name, silentMs, answers: state === "connected", isReturning: returning.has(peerId) }
    })
  }

  #ownProblems(led: boolean): readonly string[] {
    if (!this.#context.identity()) return [this.#outsideText()]
    if (led) return []
    return leaderlessProblems(this.#context.options.name, this.#votersSeen())
  }

  #outsideText(): string {
    const removed = this.#soft.removed()
    if (removed !== undefined) return `this node was removed from its cluster: ${removed}`
    if (this.#soft.isReturning()) {
      return (
        "this node has lost its log and asks to come back as a new member, which takes a leader: " +
        "start the other voters, and see 'troupe cluster health' there"
      )
    }
    return "this node has not joined or formed a cluster yet"
  }

  #loneNotes(): readonly string[] {
    const { mesh } = this.#context.parts
    if (mesh.connectedPeers().length > 0) return []
    const { mdns, reason, seeds } = mesh.discovery()
    const why =
      mdns === "on" ? "mDNS is on, nobody answered" : `mDNS is ${mdns}: ${reason ?? "unknown"}`
    const named = seeds.length > 0 ? `; --join named ${seeds.join(", ")}` : "; --join names nobody"
    return [`this node has found no other: ${why}${named}`]
  }

  ready(): ReturnType<NodeFace["ready"]> {
    const checks = [
      { name: "member", ok: this.#context.identity() !== undefined },
      { name: "leader", ok: this.#context.leaderPeer() !== undefined },
    ]
    return { ready: checks.every((check) => check.ok), checks }
  }

  metrics(): readonly Metric[] {
    return nodeMetrics(this.#context, {
      leaderChanges: this.#soft.leaderChanges(),
      running: this.#soft.running(),
      attempts: this.#soft.attempts(),
    })
  }
}

const raftStates = {
  StateLeader: "leader",
  StateFollower: "follower",
  StateCandidate: "candidate",
  StatePreCandidate: "pre-candidate",
} as const

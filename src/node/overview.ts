/** What the face says of the cluster and of this node: nodes, status, health, readiness, metrics. */
import {
  type ClusterStatus,
  type Facts,
  type HealthView,
  isTroupeError,
  type Member,
  type NodeView,
} from "../schema/index.ts"
import { readCluster } from "../state/index.ts"
import type { NodeContext } from "./context.ts"
import type { Metric, NodeFace, Waiting } from "./face.ts"
import { factsOf } from "./facts.ts"
import type { LeaderHealth } from "./operations.ts"

/** Health never waits for a leader for long. */
const leaderHealthMs = 500

/** What is known only softly, and changes by itself. */
export interface SoftKnowledge {
  /** Facts that a peer gossiped. */
  factsOf(peerId: string): Facts | undefined
  running(): number
  leaderChanges(): number
  /** Of the lease that this node holds; 0 without one. */
  term(): number
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

  /** Without a leader, what this node itself knows: the roster, and whom it is connected to. */
  async #nodesOrGuess(options: Waiting): Promise<readonly NodeView[]> {
    try {
      return await this.listNodes(options)
    } catch (error) {
      options.signal.throwIfAborted()
      if (!isTroupeError(error)) throw error
      const connected = new Set(this.#context.parts.mesh.connectedPeers())
      return this.#context.members().map((member) => {
        const self = member.peerId === this.#context.parts.mesh.peerId
        const state = self || connected.has(member.peerId) ? "connected" : "silent"
        return this.#withFacts({ member, leader: false, state, silentMs: 0, self })
      })
    }
  }

  async health(): Promise<HealthView> {
    const { clock, logger, loopDelay } = this.#context.parts
    const replica = this.#context.replica()
    let leader: LeaderHealth | undefined
    try {
      const signal = clock.timeoutSignal(leaderHealthMs, "asking the leader for its health")
      leader = (await this.#context.call("health", {}, { signal })) as LeaderHealth
    } catch (error) {
      logger.debug("the leader did not tell its health", { error: String(error) })
    }
    const { timing } = this.#context.options
    const notes = [...(leader?.notes ?? []), ...this.#ownNotes(leader !== undefined)]
    return {
      status: this.#status(leader),
      survives: leader?.survives ?? 0,
      copies: leader?.copies ?? 0,
      ...(this.#leaderName() !== undefined && { leader: this.#leaderName()! }),
      term: replica?.term ?? this.#soft.term(),
      node: this.#context.options.name,
      cluster: this.#context.options.cluster,
      notes,
      loopDelayP99Ms: loopDelay(),
      fsyncP99Ms: replica?.fsyncP99Ms() ?? 0,
      electionTimeoutMs: timing.electionTicks * timing.tickMs,
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

  #ownNotes(led: boolean): readonly string[] {
    const notes: string[] = []
    const { mesh } = this.#context.parts
    if (!this.#context.identity()) notes.push("this node has not joined or formed a cluster yet")
    else if (!led) {
      notes.push(
        "no leader answers: most voters must be running and reachable; see 'troupe cluster list'",
      )
    }
    if (this.#context.members().length <= 1 && mesh.connectedPeers().length === 0) {
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
      { name: "member", ok: this.#context.identity() !== undefined },
      { name: "leader", ok: this.#context.leaderPeer() !== undefined },
    ]
    return { ready: checks.every((check) => check.ok), checks }
  }

  metrics(): readonly Metric[] {
    const replica = this.#context.replica()
    const status = replica?.status()
    return [
      gauge("troupe_is_leader", "1 when this node leads.", replica?.isLeading() ? 1 : 0),
      gauge("troupe_raft_term", "Current term.", status?.term ?? 0),
      gauge("troupe_raft_commit_index", "Last committed index.", status?.commit ?? 0),
      gauge("troupe_raft_applied_index", "Last applied index.", replica?.applied.index ?? 0),
      gauge("troupe_raft_last_index", "Last index of the log.", status?.lastIndex ?? 0),
      gauge("troupe_members", "Members of the cluster.", this.#context.members().length),
      gauge(
        "troupe_peers_connected",
        "Peers with a connection.",
        this.#context.parts.mesh.connectedPeers().length,
      ),
      gauge(
        "troupe_loop_delay_seconds",
        "p99 of the event loop's delay.",
        this.#context.parts.loopDelay() / 1000,
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
        value: this.#soft.leaderChanges(),
      },
    ]
  }
}

const raftStates = {
  StateLeader: "leader",
  StateFollower: "follower",
  StateCandidate: "candidate",
  StatePreCandidate: "pre-candidate",
} as const

function gauge(name: string, help: string, value: number): Metric {
  return { name, help, type: "gauge", value }
}

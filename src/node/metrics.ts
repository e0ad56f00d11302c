/** The numbers of one node for /metrics (C-50). Names follow Prometheus: base units, `_total` on what only grows. */
import type { Run } from "../schema/index.ts"
import { readMember, runPrefix } from "../state/index.ts"
import type { NodeContext } from "./context.ts"
import type { Metric } from "./face.ts"
import type { Replica } from "./replica.ts"

/** What is not the replica's. */
export interface NodeCounts {
  readonly leaderChanges: number
  /** Attempts that run on this node. */
  readonly running: number
  /** Live attempts of the whole cluster by state; undefined where this node does not lead. */
  readonly attempts: ReadonlyMap<string, number> | undefined
}

type Labels = Readonly<Record<string, string>>

export function nodeMetrics(context: NodeContext, counts: NodeCounts): readonly Metric[] {
  const replica = context.replica()
  const { mesh } = context.parts
  return [
    gauge("troupe_members", "Members of the cluster.", context.members().length),
    gauge("troupe_peers_connected", "Peers with a connection.", mesh.connectedPeers().length),
    gauge("troupe_attempts_running", "Attempts that run on this node.", counts.running),
    counter(
      "troupe_leader_changes_total",
      "Changes of leader that this node saw.",
      counts.leaderChanges,
    ),
    ...loopMetrics(context),
    ...(replica ? replicaMetrics(context, replica) : noReplica),
    ...[...(counts.attempts ?? [])].map(([state, value]) =>
      gauge("troupe_attempts", "Live attempts of the cluster, at its leader.", value, { state }),
    ),
  ]
}

/** A worker has no log; dashboards still find the names. */
const noReplica: readonly Metric[] = [
  gauge("troupe_is_leader", "1 when this node leads.", 0),
  gauge("troupe_raft_term", "Current term.", 0),
]

function loopMetrics(context: NodeContext): readonly Metric[] {
  const { p50Ms, p99Ms, maxMs, worstMs } = context.parts.loop.delay()
  const quantile = (value: number, of: string): Metric =>
    gauge(
      "troupe_loop_delay_seconds",
      "How long the event loop kept its timers waiting, last 30 seconds.",
      value / 1000,
      { quantile: of },
    )
  return [
    quantile(p50Ms, "0.5"),
    quantile(p99Ms, "0.99"),
    quantile(maxMs, "1"),
    gauge(
      "troupe_loop_delay_max_seconds",
      "The longest that the event loop kept its timers waiting since the start.",
      worstMs / 1000,
    ),
  ]
}

function replicaMetrics(context: NodeContext, replica: Replica): readonly Metric[] {
  const status = replica.status()
  const applied = replica.applied.index
  const { batches, oldestMs, proposals, reads } = replica.waiting()
  return [
    gauge("troupe_is_leader", "1 when this node leads.", replica.isLeading() ? 1 : 0),
    gauge("troupe_raft_leader_id", "Member id of the leader; 0 when none is known.", status.lead),
    gauge("troupe_raft_term", "Current term.", status.term),
    gauge("troupe_raft_commit_index", "Last committed index.", status.commit),
    gauge("troupe_raft_applied_index", "Last applied index.", applied),
    gauge("troupe_raft_last_index", "Last index of the log.", status.lastIndex),
    gauge(
      "troupe_raft_apply_lag_entries",
      "Committed entries that are not applied yet.",
      Math.max(0, status.commit - applied),
    ),
    gauge(
      "troupe_raft_election_timeout_seconds",
      "A follower campaigns after once to twice this without a leader.",
      replica.pace.electionMs / 1000,
    ),
    gauge("troupe_wal_bytes", "Bytes of the log since its last mark.", replica.logBytes()),
    gauge("troupe_wal_pending_batches", "Batches that wait for the disk.", batches),
    gauge(
      "troupe_wal_pending_age_seconds",
      "How long the oldest of them has waited.",
      oldestMs / 1000,
    ),
    gauge("troupe_proposals_waiting", "Proposals without an answer yet.", proposals),
    gauge("troupe_reads_waiting", "Reads without an answer yet.", reads),
    ...tallies(replica),
    ...peerMetrics(context, replica),
    ...runMetrics(replica),
  ]
}

function tallies({ tally, lostLeader, gaps }: Replica): readonly Metric[] {
  const { buckets, count, sumMs } = tally.appends.view()
  return [
    {
      name: "troupe_wal_append_seconds",
      help: "From handing a batch to the log until it is durable.",
      type: "histogram",
      value: count,
      sum: sumMs / 1000,
      buckets: buckets.map((bucket) => ({ atMost: bucket.atMostMs / 1000, count: bucket.count })),
    },
    counter("troupe_proposals_total", "Proposals that this leader took.", tally.proposals),
    counter("troupe_proposals_refused_total", "Proposals refused.", tally.proposalsRefused),
    counter("troupe_raft_term_changes_total", "Changes of term.", tally.termChanges),
    counter("troupe_raft_pre_votes_total", "Pre-votes that this node asked for.", tally.preVotes),
    counter("troupe_raft_elections_total", "Elections that this node began.", tally.elections),
    counter(
      "troupe_raft_leader_hints_total",
      "Leaders taken for dead because their process was gone.",
      lostLeader.hints,
    ),
    counter(
      "troupe_raft_leader_hints_false_total",
      "Of those, leaders that were heard again.",
      lostLeader.falseHints,
    ),
    counter("troupe_stalls_total", "Standstills of more than half an election timeout.", gaps),
    counter("troupe_disk_stalls_total", "Times that the log's disk hung.", tally.diskStalls),
    ...(["sent", "failed", "received"] as const).map((result) =>
      counter(
        "troupe_snapshots_total",
        "Snapshots that travelled.",
        {
          sent: tally.snapshotsSent,
          failed: tally.snapshotsFailed,
          received: tally.snapshotsReceived,
        }[result],
        { result },
      ),
    ),
  ]
}

const progressStates = {
  StateProbe: "probe",
  StateReplicate: "replicate",
  StateSnapshot: "snapshot",
} as const

/** Of the leader only. */
function peerMetrics(context: NodeContext, replica: Replica): readonly Metric[] {
  const { progress, commit } = replica.status()
  const nameOf = (id: number): string => readMember(replica.tables, id)?.name ?? String(id)
  const metrics: Metric[] = []
  for (const { id, state, match, inflight, paused } of progress) {
    if (id === replica.memberId) continue
    const peer = nameOf(id)
    for (const [from, name] of Object.entries(progressStates)) {
      const help = "1 for the state in which this peer is."
      metrics.push(
        gauge("troupe_peer_progress", help, from === state ? 1 : 0, { peer, state: name }),
      )
    }
    const help = "Committed entries that this peer is not known to hold."
    metrics.push(
      gauge("troupe_peer_lag_entries", help, Math.max(0, commit - match), { peer }),
      gauge("troupe_peer_inflight", "Appends that this peer has not answered.", inflight, { peer }),
      gauge("troupe_peer_paused", "1 while nothing more is sent to it.", paused ? 1 : 0, { peer }),
    )
  }
  const help = "Of heartbeats to this peer and back, last 30 seconds."
  for (const { id, p50Ms, p99Ms } of replica.roundTrips.view(context.parts.clock.boottime())) {
    const peer = nameOf(id)
    metrics.push(
      gauge("troupe_peer_rtt_seconds", help, p50Ms / 1000, { peer, quantile: "0.5" }),
      gauge("troupe_peer_rtt_seconds", help, p99Ms / 1000, { peer, quantile: "0.99" }),
    )
  }
  return metrics
}

/** Retention bounds how many runs there are. */
function runMetrics({ tables }: Replica): readonly Metric[] {
  const counts = new Map<Run["state"], number>([
    ["active", 0],
    ["ending", 0],
    ["finished", 0],
  ])
  for (const [, row] of tables.range(runPrefix)) {
    const { state } = row as Run
    counts.set(state, (counts.get(state) ?? 0) + 1)
  }
  return [...counts].map(([state, value]) =>
    gauge("troupe_runs", "Runs that are kept.", value, { state }),
  )
}

function gauge(name: string, help: string, value: number, labels?: Labels): Metric {
  return { name, help, type: "gauge", value, ...(labels && { labels }) }
}

function counter(name: string, help: string, value: number, labels?: Labels): Metric {
  return { name, help, type: "counter", value, ...(labels && { labels }) }
}

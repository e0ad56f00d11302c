/** Bodies of requests and answers that more than one room speaks: api, client, cli and the node's forwarding. */
import * as z from "zod"
import { Digest, Limits, Needs } from "./plan.ts"
import { Cordon, Facts, Member, Vitals } from "./member.ts"
import { GroupView, Run } from "./run.ts"

/** A run manifest, handed in with the digests of the files that it names (uploaded before by PUT /v1/blobs). */
export const SubmitRun = z.strictObject({
  /** The YAML text as the user wrote it. */
  document: z.string().max(1 << 20),
  /** Its name, for messages. */
  file: z.string().default("manifest.yaml"),
  /** `--agent role=transport`. */
  agents: z.record(z.string(), z.string()).default({}),
  /** Path as written in the manifest → uploaded blob. */
  files: z
    .record(
      z.string(),
      z.strictObject({ digest: Digest, bytes: z.int().nonnegative(), absolute: z.string() }),
    )
    .default({}),
  lenient: z.boolean().default(false),
  timeoutMs: z.int().positive().optional(),
  analyze: z.boolean().default(true),
  diff: z.boolean().default(true),
})
export type SubmitRun = z.infer<typeof SubmitRun>
export type SubmitRunInput = z.input<typeof SubmitRun>

/** One command, run once or as `count` members. Bounds are checked where it becomes a plan, all at once, so that each
 *  mistake is told with its remedy. */
export const SubmitJob = z.strictObject({
  /** Program and arguments; no shell, and `${…}` means nothing. */
  command: z.array(z.string()),
  /** Label of the run; absent: the program's name. */
  name: z.string().optional(),
  env: z.record(z.string(), z.string()).default({}),
  needs: Needs.default({}),
  /** 1 to 100,000 members; each is told its number as TROUPE_INDEX, from 0. */
  count: z.number().default(1),
  /** At most so many at once; absent: as many as fit. */
  parallel: z.number().optional(),
  failFast: z.boolean().default(false),
  /** Further tries of a member after one that failed. */
  retries: z.number().default(0),
  /** Before the second try; doubles with each further one. Absent: 1 s. */
  backoffMs: z.number().optional(),
  /** Of each attempt. */
  deadlineMs: z.number().optional(),
  /** Of the whole run; absent: 7 days. */
  timeoutMs: z.number().optional(),
  /** node: no other process there meanwhile · network: no other with `exclusive` there meanwhile */
  exclusive: z.enum(["node", "network"]).optional(),
  placing: z.enum(["spread", "pack"]).optional(),
  /** -100 to 100, higher first; absent: 0. */
  priority: z.number().optional(),
  limits: Limits.optional(),
  /** Absolute, on the node; absent: the node's work directory, or with `artifacts` one of the attempt's own. */
  cwd: z.string().optional(),
  /** When the node of a running attempt is lost; absent: wait. */
  onLoss: z.enum(["fail", "wait", "requeue"]).optional(),
  /** Globs relative to the attempt's own directory; what matches comes home in a bundle. */
  artifacts: z.array(z.string()).default([]),
})
export type SubmitJob = z.infer<typeof SubmitJob>
export type SubmitJobInput = z.input<typeof SubmitJob>

/** A new run of a finished one: all of it, or only what did not succeed. */
export const RetryRun = z.strictObject({ failed: z.boolean().default(false) })
export type RetryRun = z.infer<typeof RetryRun>

/** Why a task waits. Members of a group that wait alike are one item. */
export const ExplainedTask = z.strictObject({
  /** The first of them. */
  task: z.string(),
  /** How many of the group it stands for. */
  count: z.int().positive(),
  state: z.enum(["blocked", "pending", "active", "stopping", "finished"]),
  /** One sentence: why it waits, where it runs, or how it ended. */
  reason: z.string(),
  /** State time, ms: not tried again before. */
  notBefore: z.number().optional(),
  /** Nodes that cannot take it now, each with the first constraint that fails there. */
  rejected: z.array(z.strictObject({ node: z.string(), reason: z.string() })),
})
export type ExplainedTask = z.infer<typeof ExplainedTask>

export const ExplainView = z.strictObject({
  run: z.string(),
  label: z.string(),
  state: Run.shape.state,
  verdict: Run.shape.verdict,
  reason: z.string().optional(),
  groups: z.array(GroupView),
  tasks: z.array(ExplainedTask),
})
export type ExplainView = z.infer<typeof ExplainView>

/** One line of `--print-plan`: a task on a node, or the first constraint that fails there. */
export const PlacementView = z.strictObject({
  task: z.string(),
  /** Node it would go to; absent when none fits. */
  node: z.string().optional(),
  command: z.array(z.string()),
  after: z.array(z.string()),
  /** When none fits: why, in one sentence. Absent from an older build. */
  waiting: z.string().optional(),
  /** Per node that does not fit: the first failing constraint. */
  rejected: z.array(z.strictObject({ node: z.string(), reason: z.string() })),
})
export type PlacementView = z.infer<typeof PlacementView>

export const PlanView = z.strictObject({
  label: z.string(),
  profile: z.string().optional(),
  profileChecksum: z.string().optional(),
  timeoutMs: z.int(),
  placements: z.array(PlacementView),
  warnings: z.array(z.string()),
  /** Text of manifest_resolved.yaml. */
  resolved: z.string(),
})
export type PlanView = z.infer<typeof PlanView>

export const RunList = z.strictObject({ items: z.array(Run), nextCursor: z.string().optional() })
export type RunList = z.infer<typeof RunList>

/** One node in `cluster list` and GET /v1/nodes. */
export const NodeView = z.strictObject({
  member: Member,
  leader: z.boolean(),
  /** connected: answers the leader now · silent: does not, for `silentMs` */
  state: z.enum(["connected", "silent"]),
  /** Absent: not heard since the node that says this has started. */
  silentMs: z.number().optional(),
  facts: Facts.optional(),
  self: z.boolean(),
  /** Tasks that run there by the rows, and the first of them by name (`r-12/train`); absent: no leader says so. */
  attempts: z.int().nonnegative().optional(),
  holds: z.array(z.string()).optional(),
})
export type NodeView = z.infer<typeof NodeView>

export const ClusterStatus = z.strictObject({
  cluster: z.string(),
  clusterId: z.string(),
  /** How often the cluster was recovered by hand. */
  incarnation: z.int().nonnegative(),
  /** This node. */
  node: z.string(),
  memberId: z.int(),
  peerId: z.string(),
  role: z.enum(["voter", "standby", "worker", "joining"]),
  raftState: z.enum(["leader", "follower", "candidate", "pre-candidate", "none"]),
  leader: z.string().optional(),
  leaderId: z.int(),
  term: z.int(),
  commit: z.int(),
  applied: z.int(),
  /** Name → member id. */
  voters: z.array(z.string()),
  standbys: z.array(z.string()),
  pristine: z.boolean(),
  nodes: z.array(NodeView),
})
export type ClusterStatus = z.infer<typeof ClusterStatus>

/** A node's own copy of the log, asked without a leader: what `cluster recover` compares. */
export const ReplicaView = z.strictObject({
  node: z.string(),
  cluster: z.string(),
  clusterId: z.string(),
  /** How often the cluster was recovered by hand. */
  incarnation: z.int().nonnegative(),
  memberId: z.int(),
  /** false: a worker, which has no copy; the numbers below are 0. */
  hasLog: z.boolean(),
  term: z.int(),
  lastTerm: z.int(),
  lastIndex: z.int(),
  commit: z.int(),
  /** The leader that it follows, if any. */
  leader: z.string().optional(),
})
export type ReplicaView = z.infer<typeof ReplicaView>

export const TransferLeader = z.strictObject({
  /** Name or member id of a voter; absent: the one that is closest behind. */
  to: z.string().min(1).max(128).optional(),
})
export type TransferLeader = z.infer<typeof TransferLeader>

export const LeaderTransferred = z.strictObject({
  from: z.string(),
  leader: z.string(),
  term: z.int(),
})
export type LeaderTransferred = z.infer<typeof LeaderTransferred>

export const RemoveNode = z.strictObject({
  /** Name or member id. */
  node: z.string().min(1).max(128),
})
export type RemoveNode = z.infer<typeof RemoveNode>

export const CordonNode = z.strictObject({
  /** open: work is placed there again */
  mode: z.enum(["open", "cordon", "drain"]),
  reason: z.string().max(1000).default(""),
  /** From now: when what a drained node still runs is stopped; absent: never. */
  deadlineMs: z.int().nonnegative().optional(),
})
export type CordonNode = z.infer<typeof CordonNode>
export type CordonNodeInput = z.input<typeof CordonNode>

export const DeclareDead = z.strictObject({
  reason: z.string().max(1000).default(""),
  /** Although it answers now. */
  force: z.boolean().default(false),
})
export type DeclareDead = z.infer<typeof DeclareDead>
export type DeclareDeadInput = z.input<typeof DeclareDead>

export const NodeCordoned = z.strictObject({
  node: z.string(),
  id: z.int(),
  mode: z.enum(["open", "cordon", "drain"]),
  /** What still runs there, and the first of it by name (`r-12/train`). */
  attempts: z.int().nonnegative(),
  holds: z.array(z.string()),
  /** Sentences: what that means for the cluster. */
  warnings: z.array(z.string()),
})
export type NodeCordoned = z.infer<typeof NodeCordoned>

export const NodeDeclaredDead = z.strictObject({
  node: z.string(),
  id: z.int(),
  /** How many attempts there are given up. */
  attempts: z.int().nonnegative(),
})
export type NodeDeclaredDead = z.infer<typeof NodeDeclaredDead>

export const NodeRemoved = z.strictObject({ node: z.string(), id: z.int() })
export type NodeRemoved = z.infer<typeof NodeRemoved>

/** Vitals without what too few measurements tell. */
export const NodeVitals = Vitals.partial({ loopDelayP99Ms: true, fsyncP99Ms: true })
export type NodeVitals = z.infer<typeof NodeVitals>

/** One member as its leader sees it. What is absent is not known. */
export const NodeHealth = z.strictObject({
  name: z.string(),
  id: z.int(),
  role: z.enum(["voter", "standby", "worker"]),
  leader: z.boolean(),
  /** silent: has not answered for `silentMs` */
  state: z.enum(["connected", "silent"]),
  silentMs: z.number().optional(),
  /** Entries that its log lacks; workers have none. */
  behind: z.int().nonnegative().optional(),
  version: z.string().optional(),
  diskFreeBytes: z.number().optional(),
  /** Its wall clock against the median of the members', ms. */
  clockOffsetMs: z.number().optional(),
  /** Of its heartbeats to the leader and back, p99. */
  roundTripP99Ms: z.number().optional(),
  cordon: Cordon.optional(),
  dead: Member.shape.dead,
  /** Why it takes no work by itself. */
  full: z.string().optional(),
  /** Tasks that run there by the rows. */
  attempts: z.int().nonnegative().optional(),
  vitals: NodeVitals.optional(),
})
export type NodeHealth = z.infer<typeof NodeHealth>

export const HealthView = z.strictObject({
  status: z.enum(["ok", "degraded", "no-leader", "joining"]),
  /** How many voters may die right now without stopping the cluster. */
  survives: z.int().nonnegative(),
  /** Copies that an accepted run has now; absent: no leader says so. */
  copies: z.int().nonnegative().optional(),
  leader: z.string().optional(),
  term: z.int(),
  node: z.string(),
  cluster: z.string(),
  /** How many voters there are, how many answer, how many must. */
  voters: z.strictObject({ total: z.int(), answering: z.int(), needed: z.int() }),
  /** Sentences, worst first: what is wrong now and what to do. */
  problems: z.array(z.string()),
  /** What is good to know. */
  notes: z.array(z.string()),
  /** By the leader; without one, whom this node knows. */
  nodes: z.array(NodeHealth),
  /** Measured on this node, ms; absent: too few measurements. */
  loopDelayP99Ms: z.number().optional(),
  fsyncP99Ms: z.number().optional(),
  electionTimeoutMs: z.number(),
  /** Why that is longer than configured; empty when it is not. */
  electionReason: z.string(),
})
export type HealthView = z.infer<typeof HealthView>

/** A piece of one stream of one task. */
export const LogChunk = z.strictObject({
  task: z.string(),
  attempt: z.int(),
  node: z.string(),
  stream: z.enum(["stdout", "stderr"]),
  /** Byte offset of `data` in the stream, and the offset after it. */
  offset: z.int().nonnegative(),
  next: z.int().nonnegative(),
  /** Base64. */
  data: z.string(),
  /** No more will come. */
  ended: z.boolean(),
})
export type LogChunk = z.infer<typeof LogChunk>

/** RFC 9457. */
export const Problem = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  code: z.string(),
  errors: z
    .array(
      z.strictObject({
        path: z.string(),
        message: z.string(),
        file: z.string().optional(),
        line: z.int().optional(),
        column: z.int().optional(),
      }),
    )
    .optional(),
  details: z.record(z.string(), z.unknown()).optional(),
})
export type Problem = z.infer<typeof Problem>

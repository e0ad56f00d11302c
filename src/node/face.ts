/** What a node can be asked for, at any node alike: the REST API stands on this and on nothing else of the node. */
import type {
  BundleRef,
  ClusterStatus,
  CordonNode,
  DeclareDead,
  ExplainView,
  HealthView,
  LeaderTransferred,
  LogChunk,
  NodeCordoned,
  NodeDeclaredDead,
  NodeRemoved,
  NodeView,
  PlanView,
  RemoveNode,
  ReplicaView,
  RetryRun,
  RunEvent,
  RunList,
  RunView,
  SubmitJob,
  SubmitRun,
  TransferLeader,
} from "../schema/index.ts"

import type { MergedQuery, MergedRecord } from "./merged-log.ts"

/** Who asks. Without authentication every caller is `anonymous`. */
export interface Caller {
  readonly principal: string
}

export interface Waiting {
  readonly signal: AbortSignal
}

export interface EventPage {
  readonly events: readonly RunEvent[]
  /** The id to ask after next time; undefined when there was none yet. */
  readonly last: string | undefined
  /** `after` has left the bounded table: show a full view and go on from `last`. */
  readonly reset: boolean
  /** The run is finished and this page holds its last event. */
  readonly ended: boolean
}

/** One number for /metrics. */
export interface Metric {
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge" | "histogram"
  readonly labels?: Readonly<Record<string, string>>
  /** Of a histogram: how many were counted. */
  readonly value: number
  /** Of a histogram: how many were at or below each bound; the bound without end is left out. */
  readonly buckets?: readonly { readonly atMost: number; readonly count: number }[]
  readonly sum?: number
}

/** Every call is forwarded to the leader where it must be; with none it waits 2 s, then ERR_NO_LEADER.
 *  A leader lost in the middle of a write is ERR_UNKNOWN_OUTCOME: ask again with the same key. */
export interface NodeFace {
  readonly name: string
  /** ERR_MANIFEST_INVALID, ERR_KEY_CONFLICT, ERR_BLOB_NOT_FOUND, ERR_UNPLACEABLE (named node unknown). */
  submitRun(
    request: SubmitRun,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }>
  /** Validates, compiles and places as submitRun would, and changes nothing. */
  planRun(request: SubmitRun, caller: Caller, options: Waiting): Promise<PlanView>
  /** One command as a run. ERR_REQUEST_INVALID, ERR_KEY_CONFLICT, ERR_UNPLACEABLE (no node could ever run it). */
  submitJob(
    request: SubmitJob,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }>
  planJob(request: SubmitJob, caller: Caller, options: Waiting): Promise<PlanView>
  /** A new run of a finished one: all of it, or what did not succeed. ERR_RUN_NOT_FINISHED, ERR_CONFLICT. */
  retryRun(
    run: string,
    request: RetryRun,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }>
  /** Newest first. `cursor` is the nextCursor of the page before. */
  listRuns(
    query: { state?: string | undefined; limit: number; cursor?: string | undefined },
    options: Waiting,
  ): Promise<RunList>
  /** By id (`r-12`) or label; of several runs with one label the newest. ERR_RUN_NOT_FOUND. */
  /** Of a run with many tasks the view lists those that say most, unless all are asked for. */
  getRun(run: string, options: Waiting & { tasks?: "all" | undefined }): Promise<RunView>
  /** Why its tasks wait; of one task, how it stands. ERR_TASK_NOT_FOUND. */
  explainRun(run: string, task: string | undefined, options: Waiting): Promise<ExplainView>
  /** Idempotent; a finished run stays as it is. */
  cancelRun(run: string, reason: string, caller: Caller, options: Waiting): Promise<RunView>
  /** The same without an answer's worth of reading. */
  cancelRunBriefly(run: string, reason: string, caller: Caller, options: Waiting): Promise<void>
  /** Pinned: kept by retention, with its bundle. Idempotent. */
  pinRun(run: string, pinned: boolean, caller: Caller, options: Waiting): Promise<RunView>
  /** Waits up to waitMs for events after `after` (an event id). */
  readEvents(
    run: string,
    query: { after: string | undefined; limit: number; waitMs: number },
    options: Waiting,
  ): Promise<EventPage>
  /** From the node that ran the attempt, or from the sealed bundle. Waits up to waitMs when there is nothing new.
   *  `attempt` undefined = the newest. ERR_TASK_NOT_FOUND names the tasks there are. */
  readLog(
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
  ): Promise<LogChunk>
  /** What all tasks of a run write, merged by time. ERR_RUN_NOT_FOUND and ERR_TASK_NOT_FOUND come before the first record. */
  mergedLog(
    run: string,
    query: MergedQuery,
    options: Waiting,
  ): Promise<{ readonly run: string; readonly records: AsyncIterable<MergedRecord> }>
  /** The packed bundle (tar of `<label>/…`). ERR_RUN_NOT_FINISHED, ERR_BUNDLE_NOT_FOUND. */
  openBundle(
    run: string,
    options: Waiting,
  ): Promise<{ run: RunView; bundle: BundleRef; read: AsyncIterable<Uint8Array> }>
  /** Stored here and on one more node (if there is one) before it answers. ERR_BLOB_CORRUPT, ERR_LIMIT. */
  putBlob(
    digest: string,
    source: AsyncIterable<Uint8Array>,
    options: Waiting,
  ): Promise<{ bytes: number; created: boolean }>
  listNodes(options: Waiting): Promise<readonly NodeView[]>
  clusterStatus(options: Waiting): Promise<ClusterStatus>
  /** Resolves when the other leads. ERR_CONFLICT says why it cannot. */
  transferLeader(request: TransferLeader, options: Waiting): Promise<LeaderTransferred>
  /** Takes a node out for good, whether it answers or not. ERR_NODE_NOT_FOUND, ERR_CONFLICT. */
  removeNode(request: RemoveNode, options: Waiting): Promise<NodeRemoved>
  /** Nothing new is placed there; drained, what runs there leaves too. Idempotent. ERR_NODE_NOT_FOUND, ERR_CONFLICT. */
  cordonNode(node: string, request: CordonNode, options: Waiting): Promise<NodeCordoned>
  /** What runs there is given up at once and may run elsewhere. ERR_NODE_NOT_FOUND; ERR_CONFLICT when it answers. */
  declareDead(node: string, request: DeclareDead, options: Waiting): Promise<NodeDeclaredDead>
  /** Of this node alone; never waits. */
  replicaView(): ReplicaView
  /** Never waits for a leader. */
  health(): Promise<HealthView>
  /** Ready = a member, with a leader known. */
  ready(): { ready: boolean; checks: readonly { name: string; ok: boolean; detail?: string }[] }
  metrics(): readonly Metric[]
}

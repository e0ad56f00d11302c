/** The vocabulary of consensus: entries, messages, configuration, Ready. Names follow etcd-io/raft. */

/** Member ids are positive safe integers; 0 means none. The two local threads of asynchronous storage have ids of their own. */
export type Id = number
export const none: Id = 0
export const appendThread: Id = Number.MAX_SAFE_INTEGER
export const applyThread: Id = Number.MAX_SAFE_INTEGER - 1

export type EntryType = "EntryNormal" | "EntryConfChange" | "EntryConfChangeV2"

export interface Entry {
  readonly term: number
  readonly index: number
  readonly type: EntryType
  readonly data: Uint8Array
}

/** Always written as one record. */
export interface HardState {
  readonly term: number
  readonly vote: Id
  readonly commit: number
}

export interface ConfState {
  readonly voters: readonly Id[]
  readonly learners: readonly Id[]
  readonly votersOutgoing: readonly Id[]
  readonly learnersNext: readonly Id[]
  readonly autoLeave: boolean
}

export interface SnapshotMeta {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
}

/** The state machine's bytes travel beside the core (their own stream); `data` is opaque and empty in production. */
export interface Snapshot {
  readonly meta: SnapshotMeta
  readonly data: Uint8Array
}

export type MessageType =
  | "MsgHup"
  | "MsgBeat"
  | "MsgProp"
  | "MsgApp"
  | "MsgAppResp"
  | "MsgVote"
  | "MsgVoteResp"
  | "MsgSnap"
  | "MsgHeartbeat"
  | "MsgHeartbeatResp"
  | "MsgUnreachable"
  | "MsgSnapStatus"
  | "MsgCheckQuorum"
  | "MsgTransferLeader"
  | "MsgTimeoutNow"
  | "MsgReadIndex"
  | "MsgReadIndexResp"
  | "MsgPreVote"
  | "MsgPreVoteResp"
  | "MsgStorageAppend"
  | "MsgStorageAppendResp"
  | "MsgStorageApply"
  | "MsgStorageApplyResp"
  | "MsgForgetLeader"

/** Absent fields read as 0, false or empty. */
export interface Message {
  readonly type: MessageType
  readonly to: Id
  readonly from: Id
  readonly term?: number
  readonly logTerm?: number
  readonly index?: number
  readonly entries?: readonly Entry[]
  readonly commit?: number
  readonly vote?: Id
  readonly snapshot?: Snapshot
  readonly reject?: boolean
  readonly rejectHint?: number
  readonly context?: Uint8Array
  /** Messages to deliver once the storage work of this message is durable (MsgStorageAppend, MsgStorageApply). */
  readonly responses?: readonly Message[]
  /** Replication session of the sender's progress, echoed by responses (C-19). */
  readonly epoch?: number
}

export type ConfChangeType =
  | "ConfChangeAddNode"
  | "ConfChangeRemoveNode"
  | "ConfChangeUpdateNode"
  | "ConfChangeAddLearnerNode"

export interface ConfChange {
  readonly transition: "auto" | "implicit" | "explicit"
  readonly changes: readonly { readonly type: ConfChangeType; readonly id: Id }[]
  readonly context: Uint8Array
}

export interface ReadState {
  readonly index: number
  readonly context: Uint8Array
}

/** What the driver must do next. In asynchronous mode storage work is in `messages` to the local threads. */
export interface Ready {
  readonly softState: { readonly lead: Id; readonly raftState: RaftState } | undefined
  readonly hardState: HardState | undefined
  readonly readStates: readonly ReadState[]
  readonly entries: readonly Entry[]
  readonly snapshot: Snapshot | undefined
  readonly committedEntries: readonly Entry[]
  readonly messages: readonly Message[]
  readonly mustSync: boolean
}

export type RaftState = "StateFollower" | "StateCandidate" | "StateLeader" | "StatePreCandidate"

/** What the core reads of the durable log. `compacted`: before firstIndex; `unavailable`: past lastIndex. */
export interface RaftStorage {
  initialState(): { hardState: HardState; confState: ConfState }
  /** Entries [lo, hi), cut so that their data stays within maxBytes, but at least one. */
  entries(lo: number, hi: number, maxBytes: number): readonly Entry[] | "compacted" | "unavailable"
  term(index: number): number | "compacted" | "unavailable"
  firstIndex(): number
  lastIndex(): number
  snapshot(): Snapshot | "unavailable"
}

export interface RaftConfig {
  readonly id: Id
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** Last index that the state machine has applied; entries up to it are not delivered again. */
  readonly applied: number
  readonly asyncStorageWrites: boolean
  readonly maxSizePerMsg: number
  readonly maxCommittedSizePerReady: number
  readonly maxUncommittedEntriesSize: number
  readonly maxInflightMsgs: number
  readonly maxInflightBytes: number
  readonly checkQuorum: boolean
  readonly preVote: boolean
  readonly stepDownOnRemoval: boolean
  readonly disableConfChangeValidation: boolean
  /** Followers forward MsgProp, and leaders accept it from others, as etcd does. Absent in production (C-44). */
  readonly forwardProposals?: boolean
  /** Refused votes tell nothing of what is committed, as in etcd. Absent in production (C-35). */
  readonly silentRefusals?: boolean
  /** [0, 1); the only source of chance. */
  readonly random: () => number
  /** Log lines in etcd's wording, for transcripts; never needed for correctness. */
  readonly trace?: (level: "DEBUG" | "INFO" | "WARN" | "ERROR", line: string) => void
}

export interface ProgressView {
  readonly id: Id
  readonly match: number
  readonly next: number
  readonly state: "StateProbe" | "StateReplicate" | "StateSnapshot"
  readonly paused: boolean
  /** It answered past the end of the leader's log: the disks of a majority were rolled back. Paused until it is removed. */
  readonly diverged: boolean
  readonly recentActive: boolean
  readonly isLearner: boolean
  readonly pendingSnapshot: number
  readonly inflight: number
}

export interface RaftStatus {
  readonly id: Id
  readonly raftState: RaftState
  readonly lead: Id
  readonly term: number
  readonly vote: Id
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  readonly leadTransferee: Id
  readonly confState: ConfState
  /** Only on the leader. */
  readonly progress: readonly ProgressView[]
}

/** ok · dropped: no leader, transferring, or too much uncommitted (retry later). */
export type ProposeResult = "ok" | "dropped"

export interface Raft {
  tick(): void
  /** Least ticks without a leader before a campaign, from now on; at least 1. */
  setElectionTicks(ticks: number): void
  /** No tick came for long (suspended, stalled): a whole timeout begins anew, and reads that wait are forgotten (C-45). */
  wake(): void
  step(message: Message): ProposeResult
  campaign(): void
  /** Only the leader appends; elsewhere dropped (proposals are never forwarded by the core: C-44). */
  propose(data: readonly Uint8Array[]): ProposeResult
  proposeConfChange(change: ConfChange): ProposeResult
  /** Called when a committed configuration entry is applied; `undefined` when the state machine refuses the change. */
  applyConfChange(change: ConfChange | undefined): ConfState
  /** The answer comes as a ReadState with the same context; only valid after a commit of the current term. */
  readIndex(context: Uint8Array): void
  transferLeadership(to: Id): void
  forgetLeader(): void
  reportUnreachable(id: Id): void
  reportSnapshot(id: Id, ok: boolean): void
  hasReady(): boolean
  ready(): Ready
  /** Synchronous mode only. */
  advance(): void
  /** Of status, what costs nothing to tell. */
  position(): { readonly lastIndex: number; readonly term: number }
  status(): RaftStatus
}

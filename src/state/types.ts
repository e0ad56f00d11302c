/** Commands that are proposed, and the table view that applying them reads and writes. */
import type {
  BundleRef,
  Ending,
  Member,
  MemberDeclaration,
  MemberRole,
  Output,
  Plan,
  Run,
  RunEvent,
  Task,
} from "../schema/index.ts"

/** One task of a run by name parts. */
export interface TaskRef {
  readonly run: string
  readonly group: string
  readonly index: number
}

/** A placement that the leader computed; apply checks it again against the rows and drops it when stale. */
export interface Placement extends TaskRef {
  readonly attempt: number
  readonly node: number
  readonly lease: number
  readonly address: string
}

export interface SubmitItem {
  readonly principal: string
  readonly key: string
  /** Hash of the request body: same key with another body is a conflict. */
  readonly bodyHash: string
  readonly entryNode: string
  readonly plan: Plan
  /** Computed by the leader for tasks with no unmet edge; may be empty. `run` is ignored (not known yet). */
  readonly placements: readonly Placement[]
}

/** A new run of a finished run's plan. The leader reads that run's rows (they may be on disk only) and puts what is
 *  needed of them into the command. */
export interface RetryItem extends Omit<SubmitItem, "placements"> {
  /** The finished run. */
  readonly run: string
  readonly how: "rerun" | "failed"
  /** Members that succeeded there and have outputs; those without outputs are in the plan's `carried`. */
  readonly kept: readonly (Omit<TaskRef, "run"> & { readonly outputs: readonly Output[] })[]
}

/** What a node says of an attempt. Reports with another fence than the task's live attempt are ignored. */
export interface ReportItem extends TaskRef {
  readonly attempt: number
  readonly fence: number
  readonly state: "started" | "ready" | "ended"
  /** Node wall clock, ms. */
  readonly at: number
  /** With state ended. */
  readonly ending?: Ending
  readonly outputs?: readonly Output[]
  /** From the seal task. */
  readonly bundle?: Omit<BundleRef, "holders"> & { readonly holders: readonly number[] }
}

/** What the scheduler decides without any node's word. */
export type DecideItem =
  | { readonly kind: "run-timeout"; readonly run: string }
  | { readonly kind: "unplaceable"; readonly task: TaskRef; readonly reason: string }
  /** An attempt on a node whose session is lost, by the task's onLoss policy. */
  | {
      readonly kind: "attempt-lost"
      readonly task: TaskRef
      readonly fence: number
      readonly reason: string
    }
  /** Version 3. The attempt's node is drained: it is told to stop, and the task runs again elsewhere. */
  | {
      readonly kind: "drained"
      readonly task: TaskRef
      readonly fence: number
      readonly reason: string
    }
  /** An attempt that its node should have ended and did not, its deadline and a margin past: it counts no more. */
  | {
      readonly kind: "overdue"
      readonly task: TaskRef
      readonly fence: number
      readonly reason: string
    }

/** What retention lets go of; every item names one thing, and nothing else is touched. */
export type CollectItem =
  /** A finished run that is not pinned: it is gone for readers at once, its rows follow. */
  | { readonly kind: "run"; readonly run: string }
  /** A row (plan, group, task or event) of a run that is being collected, by its key. */
  | { readonly kind: "row"; readonly run: string; readonly key: string }
  /** Nothing is left of the run. */
  | { readonly kind: "emptied"; readonly run: string }
  /** The row of an idempotency key, unless it is another than the one of state time `at`. */
  | { readonly kind: "key"; readonly key: string; readonly at: number }

export interface CordonItem {
  readonly id: number
  readonly mode: "open" | "cordon" | "drain"
  readonly reason: string
  readonly deadlineAt?: number
}

export type CheckpointItem =
  /** Every replica notes the hash of its rows as they stand after this entry. */
  | { readonly kind: "measure" }
  /** What most voters had after the entry `index`. Who had another hash there is wrong. */
  | { readonly kind: "agreed"; readonly index: number; readonly hash: string }

/** One entry carries items of one type. `at` is the leader's wall clock; state time = max(previous, at). */
export type Command =
  | {
      readonly type: "genesis"
      readonly items: readonly [
        {
          readonly cluster: string
          readonly clusterId: string
          readonly founder: MemberDeclaration
        },
      ]
    }
  /** Idempotent by peer id: a member that is admitted again keeps its id and gets its declaration updated. */
  | { readonly type: "admit"; readonly items: readonly MemberDeclaration[] }
  /** A member that lost its log: it gets a new id, and the old one belongs to no peer any more. Idempotent by peer id. */
  | {
      readonly type: "readmit"
      readonly items: readonly {
        readonly instead: number
        readonly declaration: MemberDeclaration
      }[]
    }
  | {
      readonly type: "declare"
      readonly items: readonly (Pick<Member, "id"> & { readonly declaration: MemberDeclaration })[]
    }
  /** Written beside the raft configuration change, so that faces can show roles. */
  | {
      readonly type: "role"
      readonly items: readonly { readonly id: number; readonly role: MemberRole }[]
    }
  /** up: a new session of this boot (its lease id = this entry's index); lost: its node was not heard for too long. */
  | {
      readonly type: "session"
      readonly items: readonly {
        readonly node: number
        readonly boot: string
        readonly state: "up" | "lost"
      }[]
    }
  /** Only valid while pristine; afterwards every member joins `into`. */
  | {
      readonly type: "dissolve"
      readonly items: readonly [
        {
          readonly into: string
          readonly peers: readonly { peerId: string; addresses: readonly string[] }[]
        },
      ]
    }
  | { readonly type: "submit"; readonly items: readonly SubmitItem[] }
  | { readonly type: "assign"; readonly items: readonly Placement[] }
  | { readonly type: "report"; readonly items: readonly ReportItem[] }
  | { readonly type: "decide"; readonly items: readonly DecideItem[] }
  | {
      readonly type: "cancel"
      readonly items: readonly { readonly run: string; readonly reason: string }[]
    }
  /** A worker that will never come back, its session lost; its id is not used again. */
  | { readonly type: "remove"; readonly items: readonly { readonly id: number }[] }
  /** Somebody's word: this worker is no member any more, whether it answers or not. Its peer id is never admitted again. */
  | {
      readonly type: "expel"
      readonly items: readonly { readonly id: number; readonly reason: string }[]
    }
  /** This incarnation gives way to one that was recovered from it at `index`; only if no run was accepted since. */
  | {
      readonly type: "supersede"
      readonly items: readonly [
        {
          readonly into: string
          readonly index: number
          readonly peers: readonly { peerId: string; addresses: readonly string[] }[]
        },
      ]
    }
  // ---- from version 2 on
  /** From here on entries and rows are of this version; valid when every voter and standby understands it. */
  | { readonly type: "raise"; readonly items: readonly [{ readonly version: number }] }
  | {
      readonly type: "pin"
      readonly items: readonly { readonly run: string; readonly pinned: boolean }[]
    }
  | { readonly type: "collect"; readonly items: readonly CollectItem[] }
  | { readonly type: "checkpoint"; readonly items: readonly [CheckpointItem] }
  // ---- from version 3 on
  | { readonly type: "retry"; readonly items: readonly RetryItem[] }
  /** Nothing new is placed on the node; `open` ends that. */
  | { readonly type: "cordon"; readonly items: readonly CordonItem[] }
  /** Somebody's word: this node will not come back with what it runs. Its session is lost at once. */
  | {
      readonly type: "dead"
      readonly items: readonly { readonly id: number; readonly reason: string }[]
    }
export type CommandType = Command["type"]

/** A committed entry as apply sees it. */
export interface AppliedEntry {
  readonly index: number
  readonly term: number
  readonly version: number
  readonly at: number
  readonly command: Command
}

export interface Session {
  readonly node: number
  /** Index of the entry that opened it. */
  readonly lease: number
  readonly boot: string
  readonly state: "up" | "lost"
  readonly at: number
}

export interface ClusterRow {
  readonly cluster: string
  readonly clusterId: string
  readonly pristine: boolean
  readonly dissolvedInto?: string
  readonly dissolvedPeers?: readonly { peerId: string; addresses: readonly string[] }[]
  /** State time, ms. */
  readonly time: number
  /** Incarnations that this one was recovered from, oldest first, each with the last index that was taken over. */
  readonly earlier?: readonly { readonly clusterId: string; readonly index: number }[]
  /** Of entries and rows; absent in version 1. */
  readonly version?: number
}

/** A member that was removed by hand. */
export interface RemovedRow {
  readonly id: number
  readonly peerId: string
  readonly name: string
  readonly reason: string
  readonly at: number
}

/** A task group's row: members without a row of their own are `untouched`, in the state that the group's row names. */
export interface GroupRow {
  readonly run: string
  readonly name: string
  /** Members that reached each mark, for edges. */
  readonly started: number
  readonly ready: number
  readonly succeeded: number
  readonly finished: number
  readonly count: number
  /** State of members that have no row. */
  readonly untouched: "blocked" | "pending" | "finished"
  /** With untouched finished: how and why, as in Task. */
  readonly untouchedResult?: "skipped" | "cancelled" | "timed_out"
  readonly untouchedReason?: string
  /** Members with a live attempt; only of groups with `parallel`. */
  readonly live?: number
}

/** Every table, its key and its row. Keys are strings that sort as written; see `keys.ts`. */
export interface TableRows {
  readonly cluster: ClusterRow
  readonly member: Member
  readonly session: Session
  readonly removed: RemovedRow
  readonly run: Run
  readonly plan: Plan
  readonly group: GroupRow
  readonly task: Task
  readonly event: RunEvent
  readonly key: { readonly run: string; readonly bodyHash: string; readonly at: number }
  readonly label: { readonly run: string; readonly next: number }
  /** A run of which only rows are left, which are being removed. */
  readonly waste: { readonly run: string }
  /** The last hash that most voters agreed on. */
  readonly checkpoint: { readonly index: number; readonly hash: string }
}

/** What apply reads: an ordered key-value view. Values are plain data, never mutated. */
export interface View {
  get(key: string): unknown
  /** Keys that start with `prefix`, in order. */
  range(prefix: string): Iterable<readonly [key: string, value: unknown]>
  /** The same from the last to the first, beginning before the key `before`. */
  rangeDown(prefix: string, before?: string): Iterable<readonly [key: string, value: unknown]>
}

/** `value: undefined` deletes. */
export interface Write {
  readonly key: string
  readonly value: unknown
}

/** The answer to the one who proposed item i of an entry. */
export type ItemResult =
  | { readonly ok: true; readonly id?: number; readonly run?: string; readonly existing?: boolean }
  | {
      readonly ok: false
      readonly code:
        | "conflict"
        | "not-found"
        | "stale"
        | "dissolved"
        | "removed"
        | "not-pristine"
        | "invalid"
      readonly detail: string
    }

/** What applying caused, for those who act on it (leader duties, SSE). Nothing correct depends on somebody listening. */
export type StateEvent =
  | { readonly type: "members-changed" }
  | { readonly type: "session-changed"; readonly node: number }
  | { readonly type: "run-changed"; readonly run: string }
  | { readonly type: "attempt-assigned"; readonly task: TaskRef; readonly fence: number }
  | { readonly type: "task-stopping"; readonly task: TaskRef; readonly reason: string }
  | { readonly type: "dissolved"; readonly into: string }
  | { readonly type: "measure" }
  | { readonly type: "checkpoint"; readonly index: number; readonly hash: string }

export interface Applied {
  readonly writes: readonly Write[]
  readonly events: readonly StateEvent[]
  readonly results: readonly ItemResult[]
}

/** What storage writes: the log's marks and batches, and the rows of tables and snapshots. */
import type { ConfState, Entry, HardState } from "../consensus/index.ts"

export interface LogMark {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
}

export interface LogBatch {
  readonly hardState?: HardState | undefined
  /** Contiguous. When the first index is not past the end, the log is cut there in the same record. */
  readonly entries?: readonly Entry[]
  /** The log restarts after a snapshot: everything before and including `index` is gone. */
  readonly snapshot?: LogMark | undefined
}

export type Row = readonly [key: string, value: string]

export interface AppliedMark {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
  /** Order-independent hash of all rows, hex; checked when the tables are opened. */
  readonly hash: string
}

/** What storage writes: the log's marks and batches, the rows of tables and snapshots, and their codecs. */
import type { ConfState, Entry, HardState } from "../consensus/index.ts"
import {
  bool,
  bytes,
  type Codec,
  list,
  oneOf,
  optional,
  struct,
  text,
  uint,
  union,
} from "../lib/index.ts"

export interface LogMark {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
}

export interface LogBatch {
  readonly hardState?: HardState | undefined
  /** Contiguous. When the first index is not past the end, the log is cut there in the same record. */
  readonly entries?: readonly Entry[] | undefined
  /** The log restarts after a snapshot: everything before and including `index` is gone. */
  readonly snapshot?: LogMark | undefined
}

/** One record of the log: a batch is never split, so a cut and the entries that replace what was cut live or die together. */
export type LogRecord =
  /** Opens every segment: the whole state before it, so that older segments may go. */
  | {
      readonly kind: "start"
      readonly hardState: HardState
      readonly mark: LogMark
      readonly lastIndex: number
      readonly lastTerm: number
    }
  | ({ readonly kind: "batch" } & LogBatch)
  | { readonly kind: "mark"; readonly mark: LogMark }

export type Row = readonly [key: string, value: string]

export interface AppliedMark {
  readonly index: number
  readonly term: number
  readonly confState: ConfState
  /** Order-independent hash of all rows, hex; checked when the tables are opened. */
  readonly hash: string
}

const membersMax = 4096
const entriesMax = 1_000_000
const entryBytesMax = 64 * 1024 * 1024
const rowBytesMax = 64 * 1024 * 1024
const rowsMax = 1_000_000

const members = list(uint, membersMax)
const confState: Codec<ConfState> = struct({
  voters: members,
  learners: members,
  votersOutgoing: members,
  learnersNext: members,
  autoLeave: bool,
})
const hardState: Codec<HardState> = struct({ term: uint, vote: uint, commit: uint })
const entry: Codec<Entry> = struct({
  term: uint,
  index: uint,
  type: oneOf("EntryNormal", "EntryConfChange", "EntryConfChangeV2"),
  data: bytes(entryBytesMax),
})

/** Where a log or a snapshot stands. */
export const logMark: Codec<LogMark> = struct({ index: uint, term: uint, confState })

/** A record of the log. Entry data read shares memory with the input. */
export const logRecord: Codec<LogRecord> = union("kind", {
  start: struct({ hardState, mark: logMark, lastIndex: uint, lastTerm: uint }),
  batch: struct({
    hardState: optional(hardState),
    snapshot: optional(logMark),
    entries: optional(list(entry, entriesMax)),
  }),
  mark: struct({ mark: logMark }),
})

/** Rows of one snapshot chunk. */
export const rowChunk: Codec<readonly Row[]> = list(row(), rowsMax)

function row(): Codec<Row> {
  const key = text(64 * 1024)
  const value = text(rowBytesMax)
  return {
    write(writer, [name, content]) {
      key.write(writer, name)
      value.write(writer, content)
    },
    read: (reader) => [key.read(reader), value.read(reader)],
  }
}

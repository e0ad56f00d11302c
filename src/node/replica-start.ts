/** How a replica begins: its founding entry, and tables that agree with its log. */
import { type ConfChange, encodeConfChange, type Entry } from "../consensus/index.ts"
import { type AppliedMark, encodeEntry, entryVersion, type LogMark } from "../wire/index.ts"
import type { ReplicaOptions, ReplicaParts } from "./replica.ts"

export const emptyMark: LogMark = {
  index: 0,
  term: 0,
  confState: { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}

export function foundingEntry(options: ReplicaOptions, parts: ReplicaParts): Entry {
  const context = encodeEntry({
    version: entryVersion,
    at: parts.clock.now(),
    command: options.genesis!,
  })
  const change: ConfChange = {
    transition: "auto",
    changes: [{ type: "ConfChangeAddNode", id: options.memberId }],
    context,
  }
  return { term: 1, index: 1, type: "EntryConfChangeV2", data: encodeConfChange(change) }
}

/** Tables that are broken or behind the log's start are made again from the newest snapshot. */
export async function openTables(
  parts: ReplicaParts,
  logMark: LogMark,
): Promise<AppliedMark | LogMark | undefined> {
  let mark: AppliedMark | undefined
  let broken: unknown
  try {
    mark = await parts.tables.open()
  } catch (error) {
    broken = error
  }
  if (broken === undefined && (mark?.index ?? 0) >= logMark.index) return mark
  const snapshot = await parts.snapshots.latest()
  if (!snapshot && logMark.index > 0) {
    throw broken instanceof Error ? broken : new Error("no snapshot where the log begins")
  }
  const from = snapshot ?? emptyMark
  parts.logger.warn("tables are made again from the snapshot and the log", { index: from.index })
  await parts.tables.replace(snapshot ? parts.snapshots.rows(snapshot.index) : noRows(), from)
  return from
}

async function* noRows(): AsyncGenerator<never> {
  // A new cluster has none.
}

/** How a replica begins: its founding entry, a core over its log, and tables that agree with it. */
import {
  type ConfChange,
  createMemoryStorage,
  createRaft,
  encodeConfChange,
  type Entry,
  type MemoryStorage,
  type Raft,
} from "../consensus/index.ts"
import { knownVersions, TroupeError } from "../schema/index.ts"
import { type AppliedMark, encodeEntry, type LogMark } from "../wire/index.ts"
import type { ReplicaOptions, ReplicaParts } from "./replica-options.ts"

const emptyMark: LogMark = {
  index: 0,
  term: 0,
  confState: { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}

/** Log, core and tables' mark, repaired where the tables are behind or broken. Throws ERR_LOG_CORRUPT. */
export async function openCore(
  options: ReplicaOptions,
  parts: ReplicaParts,
): Promise<{ raft: Raft; memory: MemoryStorage; applied: LogMark }> {
  const { clusterId, memberId, timing } = options
  const log = await parts.log.open({ clusterId, memberId })
  const mark = await openTables(parts, log.mark)
  if (options.genesis && log.hardState.term === 0 && log.entries.length === 0) {
    const founding = foundingEntry(options, parts)
    const hardState = { term: 1, vote: 0, commit: 1 }
    await parts.log.append({ hardState, entries: [founding] })
    log.hardState = hardState
    log.entries = [founding]
  }
  const applied: LogMark = mark ?? emptyMark
  const memory = createMemoryStorage({
    hardState: { ...log.hardState, commit: Math.max(log.hardState.commit, applied.index) },
    confState: applied.confState,
    mark: log.mark,
    entries: log.entries,
  })
  const last = log.mark.index + log.entries.length
  // What a lagging follower is sent: the snapshot on disk, which may be newer than where the log begins. One past the
  // log's end was received just before a crash: the leader sends it again.
  const snapshot = await parts.snapshots.latest()
  if (snapshot && snapshot.index <= last) memory.createSnapshot(snapshot)
  if (applied.index > last) {
    throw new TroupeError(
      "ERR_LOG_CORRUPT",
      `the tables are at index ${applied.index} but the log ends at ${last}: entries that were durable are gone`,
      { file: "raft/wal", offset: 0, reason: "log ends before the applied index" },
    )
  }
  const raft = createRaft(
    {
      id: memberId,
      electionTicks: timing.electionTicks,
      heartbeatTicks: timing.heartbeatTicks,
      applied: applied.index,
      asyncStorageWrites: true,
      maxSizePerMsg: 256 << 10,
      // Applied in one go: a part of a turn.
      maxCommittedSizePerReady: 32 << 10,
      maxUncommittedEntriesSize: 16 << 20,
      maxInflightMsgs: 64,
      maxInflightBytes: 4 << 20,
      checkQuorum: true,
      preVote: true,
      stepDownOnRemoval: true,
      disableConfChangeValidation: false,
      random: () => parts.random.next(),
    },
    memory,
  )
  return { raft, memory, applied }
}

function foundingEntry(options: ReplicaOptions, parts: ReplicaParts): Entry {
  const context = encodeEntry({
    version: knownVersions.oldest,
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
  parts: Pick<ReplicaParts, "tables" | "snapshots" | "logger">,
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
    const reason = "there are no whole tables, and no snapshot where the log begins"
    throw new TroupeError(
      "ERR_LOG_CORRUPT",
      `${reason} (${broken instanceof Error ? broken.message : "no rows"})`,
      { file: "raft/snap", offset: 0, reason },
    )
  }
  const from = snapshot ?? emptyMark
  parts.logger.warn("tables are made again from the snapshot and the log", { index: from.index })
  await parts.tables.replace(snapshot ? parts.snapshots.rows(snapshot.index) : noRows(), from)
  return from
}

async function* noRows(): AsyncGenerator<never> {
  // A new cluster has none.
}

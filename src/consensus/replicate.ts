/** What a leader sends: appends, snapshots, heartbeats. */
import { type Core, hex } from "./core.ts"
import { payloadSize } from "./log.ts"
import type { Progress } from "./progress.ts"
import type { Entry, Id, Message } from "./types.ts"

/** Sends the next entries to a member, or a snapshot when they are gone. False: paused, or nothing to say. */
export function maybeSendAppend(core: Core, to: Id, sendIfEmpty: boolean): boolean {
  const progress = core.progressOf(to)
  if (!progress || progress.paused()) return false
  const { log } = core
  const previous = progress.next - 1
  const previousTerm = log.term(previous)
  // Never a guessed term for a compacted entry (C-15).
  if (previousTerm === "compacted") return maybeSendSnapshot(core, to, progress)
  if (previousTerm === "unavailable") {
    throw new Error(`entry ${progress.next} is next for ${hex(to)}, past the end of the log`)
  }
  let entries: readonly Entry[] | "compacted" = []
  // A full window still lets an empty append through: its answer shows what was lost (C-17).
  if (progress.state !== "StateReplicate" || !progress.inflights.full()) {
    entries = log.entries(progress.next, core.config.maxSizePerMsg)
  }
  if (entries.length === 0 && !sendIfEmpty) return false
  if (entries === "compacted") return maybeSendSnapshot(core, to, progress)
  core.send({
    type: "MsgApp",
    to,
    index: previous,
    logTerm: previousTerm,
    entries,
    commit: log.committed,
    epoch: progress.epoch,
  })
  progress.sentEntries(entries.length, payloadSize(entries))
  progress.sentCommit = log.committed
  return true
}

function maybeSendSnapshot(core: Core, to: Id, progress: Progress): boolean {
  const { log, trace } = core
  const id = hex(core.id)
  if (!progress.recentActive) {
    trace?.("DEBUG", `ignore sending snapshot to ${hex(to)} since it is not recently active`)
    return false
  }
  const snapshot = log.snapshot()
  if (snapshot === "unavailable") {
    trace?.(
      "DEBUG",
      `${id} failed to send snapshot to ${hex(to)} because snapshot is temporarily unavailable`,
    )
    return false
  }
  const { index, term } = snapshot.meta
  if (index === 0) throw new Error("an empty snapshot cannot be sent")
  trace?.(
    "DEBUG",
    `${id} [firstindex: ${log.firstIndex()}, commit: ${log.committed}] sent snapshot[index: ${index}, term: ${term}] to ${hex(to)} [${progress.describe()}]`,
  )
  progress.becomeSnapshot(index)
  trace?.(
    "DEBUG",
    `${id} paused sending replication messages to ${hex(to)} [${progress.describe()}]`,
  )
  core.send({ type: "MsgSnap", to, snapshot, epoch: progress.epoch })
  return true
}

export function sendAppend(core: Core, to: Id): void {
  maybeSendAppend(core, to, true)
}

export function broadcastAppend(core: Core): void {
  for (const id of core.others()) sendAppend(core, id)
}

export function broadcastHeartbeat(core: Core): void {
  const context = core.reads.context()
  for (const id of core.others()) {
    const progress = core.progressOf(id)!
    // A follower may lack entries that are committed: it learns no more than it holds (C-14).
    const commit = Math.min(progress.match, core.log.committed)
    core.send({
      type: "MsgHeartbeat",
      to: id,
      commit,
      epoch: progress.epoch,
      ...(context && { context }),
    })
    progress.sentCommit = commit
  }
}

/** Where an answer to a read goes: up to the driver, or back to the member that asked. */
export function answerRead(core: Core, request: Message, index: number): void {
  const context = request.context ?? new Uint8Array(0)
  if (request.from === core.id) core.readStates.push({ index, context })
  else core.send({ type: "MsgReadIndexResp", to: request.from, index, context })
}

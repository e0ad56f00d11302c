/** What a leader learns from the answers to its appends and heartbeats. */
import { type Core, hex } from "./core.ts"
import type { Progress } from "./progress.ts"
import { answerRead, broadcastAppend, maybeSendAppend, sendAppend } from "./replicate.ts"
import type { Id, Message } from "./types.ts"

export function sendTimeoutNow(core: Core, to: Id): void {
  core.send({ type: "MsgTimeoutNow", to })
}

/** Also the leader's own answer, once storage holds what it appended. True: something got committed. */
export function handleAppendResponse(core: Core, message: Message, progress: Progress): boolean {
  progress.recentActive = true
  // Once it holds another past, an index that our log reaches later is no acknowledgement either.
  if (progress.diverged) return false
  if (message.reject) {
    handleRejection(core, message, progress)
    return false
  }
  const index = message.index ?? 0
  const { from } = message
  if (index > core.log.lastIndex()) {
    diverge(core, message, progress)
    return false
  }
  const probed = progress.state === "StateProbe" && progress.match === index
  if (!progress.maybeUpdate(index) && !probed) return false
  const isOther = from !== core.id
  resume(core, message, progress)
  const committed = core.maybeCommit()
  if (committed) broadcastAppend(core)
  else if (isOther && progress.canBumpCommit(core.log.committed)) sendAppend(core, from)
  if (isOther) {
    // The window may have opened for several messages at once.
    while (maybeSendAppend(core, from, false));
    if (from === core.leadTransferee && progress.match === core.log.lastIndex()) {
      core.trace?.(
        "INFO",
        `${hex(core.id)} sent MsgTimeoutNow to ${hex(from)} after received MsgAppResp`,
      )
      sendTimeoutNow(core, from)
    }
  }
  return committed
}

/** The leader's log holds all that was committed, unless more disks than may fail have lost what they promised. Then the
 *  member that still knows is no reason to end the majority, and its word counts for nothing here. */
function diverge(core: Core, { index = 0, from }: Message, progress: Progress): void {
  progress.diverged = true
  core.trace?.(
    "ERROR",
    `${hex(from)} holds entry ${index}, the log of leader ${hex(core.id)} ends at ${core.log.lastIndex()}: were disks rolled back?`,
  )
}

function handleRejection(core: Core, message: Message, progress: Progress): void {
  const { from } = message
  const hint = message.rejectHint ?? 0
  const hintTerm = message.logTerm ?? 0
  const rejected = message.index ?? 0
  core.trace?.(
    "DEBUG",
    `${hex(core.id)} received MsgAppResp(rejected, hint: (index ${hint}, term ${hintTerm})) from ${hex(from)} for index ${rejected}`,
  )
  // Skips our whole run of terms that the member cannot have (C-16).
  const meets = hintTerm > 0 ? core.log.findConflictByTerm(hint, hintTerm).index : hint
  if (!progress.maybeDecrease(rejected, meets)) return
  core.trace?.(
    "DEBUG",
    `${hex(core.id)} decreased progress of ${hex(from)} to [${progress.describe()}]`,
  )
  if (progress.state === "StateReplicate") progress.becomeProbe()
  sendAppend(core, from)
}

function resume(core: Core, message: Message, progress: Progress): void {
  if (progress.state === "StateProbe") {
    progress.becomeReplicate()
  } else if (progress.state === "StateReplicate") {
    progress.inflights.free(message.index ?? 0)
  } else if (progress.match + 1 >= core.log.firstIndex()) {
    // Whichever snapshot it was: the log can take over from here (B-18).
    core.trace?.(
      "DEBUG",
      `${hex(core.id)} recovered from needing snapshot, resumed sending replication messages to ${hex(message.from)} [${progress.describe()}]`,
    )
    progress.becomeProbe()
    progress.becomeReplicate()
  }
}

export function handleHeartbeatResponse(core: Core, message: Message, progress: Progress): void {
  progress.recentActive = true
  progress.flowPaused = false
  // Behind, or being probed: an append, empty if the window is full, shows where it stands.
  if (progress.match < core.log.lastIndex() || progress.state === "StateProbe") {
    sendAppend(core, message.from)
  }
  if (!message.context) return
  core.reads.answer(message.from, message.context)
  for (const read of core.reads.confirmed(core.membership.config.voters, core.id)) {
    answerRead(core, read.request, read.index)
  }
}

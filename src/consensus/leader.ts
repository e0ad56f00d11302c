/** What a leader does with proposals, reads, transfers, its own clock, and what was applied. */
import { decodeConfChange, isConfChange } from "./conf-change.ts"
import { type Core, hex, type Step, type Steps } from "./core.ts"
import { describeConfig, isJoint } from "./membership.ts"
import type { Progress } from "./progress.ts"
import { jointVote } from "./quorum.ts"
import { answerRead, broadcastAppend, broadcastHeartbeat, sendAppend } from "./replicate.ts"
import { handleAppendResponse, handleHeartbeatResponse, sendTimeoutNow } from "./responses.ts"
import { type ConfChange, type Entry, type Message, none, type ProposeResult } from "./types.ts"

export const leaderSteps: Steps = {
  MsgBeat(core) {
    releaseReads(core)
    broadcastHeartbeat(core)
  },
  MsgCheckQuorum: (core) => checkQuorum(core),
  MsgProp: (core, message) => handleProposal(core, message.entries ?? []),
  MsgReadIndex: handleRead,
  MsgAppResp: aboutAnswer((core, message, progress) => {
    if (handleAppendResponse(core, message, progress)) releaseReads(core)
  }),
  MsgHeartbeatResp: aboutAnswer(handleHeartbeatResponse),
  MsgSnapStatus: aboutMember(handleSnapshotStatus),
  MsgUnreachable: aboutMember((core, message, progress) => {
    // What is in flight is probably lost.
    if (progress.state === "StateReplicate") progress.becomeProbe()
    core.trace?.(
      "DEBUG",
      `${hex(core.id)} failed to send message to ${hex(message.from)} because it is unreachable [${progress.describe()}]`,
    )
  }),
  MsgTransferLeader: aboutMember(handleTransfer),
}

type MemberStep = (core: Core, message: Message, progress: Progress) => void

function aboutMember(handle: MemberStep): Step {
  return (core, message) => {
    const progress = core.progressOf(message.from)
    if (progress) {
      handle(core, message, progress)
    } else {
      core.trace?.("DEBUG", `${hex(core.id)} no progress available for ${hex(message.from)}`)
    }
  }
}

/** An answer to an earlier membership of the same id says nothing about its log (C-19). */
function aboutAnswer(handle: MemberStep): Step {
  return aboutMember((core, message, progress) => {
    if ((message.epoch ?? 0) === progress.epoch) handle(core, message, progress)
  })
}

/** A leader that heard from no majority for an election timeout is none (C-05). */
function checkQuorum(core: Core): void {
  const { config, progress } = core.membership
  const active = new Map<number, boolean>()
  for (const [id, member] of progress) {
    if (!member.isLearner) active.set(id, member.recentActive)
  }
  if (jointVote(config.voters, active) !== "VoteWon") {
    core.trace?.("WARN", `${hex(core.id)} stepped down to follower since quorum is not active`)
    core.becomeFollower(core.term, none)
  }
  for (const [id, member] of core.membership.progress) {
    if (id !== core.id) member.recentActive = false
  }
}

function handleProposal(core: Core, proposed: readonly Entry[]): ProposeResult {
  if (proposed.length === 0) throw new Error("a proposal without entries")
  // Removed while leading.
  if (!core.progressOf(core.id)) return "dropped"
  if (core.leadTransferee !== none) {
    core.trace?.(
      "DEBUG",
      `${hex(core.id)} [term ${core.term}] transfer leadership to ${hex(core.leadTransferee)} is in progress; dropping proposal`,
    )
    return "dropped"
  }
  const entries = proposed.map((entry, position) => checkedChange(core, entry, position))
  if (!core.appendOwn(entries)) return "dropped"
  broadcastAppend(core)
  return "ok"
}

/** One change at a time (C-33): another one becomes an empty entry. */
function checkedChange(core: Core, entry: Entry, position: number): Pick<Entry, "type" | "data"> {
  if (!isConfChange(entry)) return entry
  const change = decodeConfChange(entry.data)
  const refusal = refusalOf(core, change)
  if (refusal !== undefined && !core.config.disableConfChangeValidation) {
    const { config } = core.membership
    core.trace?.(
      "INFO",
      `${hex(core.id)} ignoring conf change ${describeChange(change)} at config ${describeConfig(config)}: ${refusal}`,
    )
    return { type: "EntryNormal", data: new Uint8Array(0) }
  }
  core.pendingConfIndex = core.log.lastIndex() + position + 1
  return entry
}

function refusalOf(core: Core, change: ConfChange): string | undefined {
  const { applied } = core.log
  const joint = isJoint(core.membership.config)
  const leaves = change.changes.length === 0
  if (core.pendingConfIndex > applied) {
    return `possible unapplied conf change at index ${core.pendingConfIndex} (applied to ${applied})`
  }
  if (joint && !leaves) return "must transition out of joint config first"
  if (!joint && leaves) return "not in joint state; refusing empty conf change"
  return undefined
}

const transitionNames = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
}

function describeChange({ transition, changes }: ConfChange): string {
  const each = changes.map(({ type, id }) => ` changes:{type:${type} node_id:${id}}`)
  return `transition:${transitionNames[transition]}${each.join("")}`
}

/** A read is as fresh as the commit index once this term has committed something (C-41, B-32). */
function handleRead(core: Core, request: Message): void {
  const { committed } = core.log
  if (!core.hasCommittedInTerm()) {
    if (!core.reads.postpone(request)) traceDroppedRead(core)
  } else if (core.isSingleton()) {
    answerRead(core, request, committed)
  } else {
    const { accepted, fresh } = core.reads.add(request, committed)
    if (!accepted) traceDroppedRead(core)
    if (fresh) broadcastHeartbeat(core)
  }
}

function traceDroppedRead(core: Core): void {
  core.trace?.("WARN", `${hex(core.id)} too many reads wait; dropping one`)
}

/** The first commit of the term: reads that waited for it may start. */
function releaseReads(core: Core): void {
  if (!core.hasCommittedInTerm()) return
  for (const request of core.reads.takePostponed()) handleRead(core, request)
}

function handleSnapshotStatus(core: Core, message: Message, progress: Progress): void {
  if (progress.state !== "StateSnapshot") return
  // On failure probing starts from what matched, not from the snapshot.
  if (message.reject) progress.pendingSnapshot = 0
  progress.becomeProbe()
  core.trace?.(
    "DEBUG",
    `${hex(core.id)} snapshot ${message.reject ? "failed" : "succeeded"}, resumed sending replication messages to ${hex(message.from)} [${progress.describe()}]`,
  )
  // The member answers by itself, or the next heartbeat tries again.
  progress.flowPaused = true
}

/** Stops proposals until the other one has everything and is told to campaign (C-09). */
function handleTransfer(core: Core, message: Message, progress: Progress): void {
  const to = message.from
  const id = hex(core.id)
  if (progress.isLearner) {
    core.trace?.("DEBUG", `${id} is learner. Ignored transferring leadership`)
    return
  }
  if (core.leadTransferee !== none) {
    if (core.leadTransferee === to) {
      core.trace?.(
        "INFO",
        `${id} [term ${core.term}] transfer leadership to ${hex(to)} is in progress, ignores request to same node ${hex(to)}`,
      )
      return
    }
    core.trace?.(
      "INFO",
      `${id} [term ${core.term}] abort previous transferring leadership to ${hex(core.leadTransferee)}`,
    )
    core.leadTransferee = none
  }
  if (to === core.id) {
    core.trace?.("DEBUG", `${id} is already leader. Ignored transferring leadership to self`)
    return
  }
  core.trace?.("INFO", `${id} [term ${core.term}] starts to transfer leadership to ${hex(to)}`)
  // It has one election timeout from now.
  core.electionElapsed = 0
  core.leadTransferee = to
  if (progress.match === core.log.lastIndex()) {
    sendTimeoutNow(core, to)
    core.trace?.(
      "INFO",
      `${id} sends MsgTimeoutNow to ${hex(to)} immediately as ${hex(to)} already has up-to-date log`,
    )
  } else {
    sendAppend(core, to)
  }
}

/** The state machine has applied up to index. A joint configuration that should end by itself is ended (C-35). */
export function appliedTo(core: Core, index: number, size: number): void {
  // Late news of entries that a snapshot has overtaken.
  core.log.appliedTo(Math.max(index, core.log.applied), size)
  const { config } = core.membership
  if (!config.autoLeave || !core.isLeader || core.log.applied < core.pendingConfIndex) return
  const leave: Entry = {
    term: 0,
    index: 0,
    type: "EntryConfChangeV2",
    data: new Uint8Array(0),
  }
  // Dropped while a transfer is under way: then the next leader, or the next applied entry, ends it.
  const result = handleProposal(core, [leave])
  core.trace?.(
    result === "ok" ? "INFO" : "DEBUG",
    result === "ok"
      ? `initiating automatic transition out of joint configuration ${describeConfig(config)}`
      : `not initiating automatic transition out of joint configuration ${describeConfig(config)}: raft proposal dropped`,
  )
}

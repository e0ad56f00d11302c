/** Every input passes here: the term is checked first, for all messages alike (C-06). */
import { type Core, hex, type Steps } from "./core.ts"
import { describeVote, handleVote, handleVoteResponse, hup, isTransfer } from "./election.ts"
import { followerSteps, handleFromLeader } from "./follower.ts"
import { appliedTo, leaderSteps } from "./leader.ts"
import { entriesSize, payloadSize } from "./log.ts"
import {
  appendThread,
  applyThread,
  type Message,
  type MessageType,
  none,
  type ProposeResult,
  type RaftState,
  type Snapshot,
} from "./types.ts"

const localTypes: ReadonlySet<MessageType> = new Set([
  "MsgHup",
  "MsgBeat",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgCheckQuorum",
  "MsgForgetLeader",
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
])
const responseTypes: ReadonlySet<MessageType> = new Set([
  "MsgAppResp",
  "MsgVoteResp",
  "MsgHeartbeatResp",
  "MsgPreVoteResp",
  "MsgReadIndexResp",
])

/** May this message come from outside of the core? Local kinds may not, nor answers of strangers. */
export function isAdmissible(core: Core, message: Message): boolean {
  const { type, from } = message
  if (from === appendThread || from === applyThread) return true
  if (localTypes.has(type)) return false
  if (responseTypes.has(type)) return core.progressOf(from) !== undefined
  const isForeign = from !== none && from !== core.id
  return type !== "MsgProp" || !isForeign || core.config.forwardProposals === true
}

export function step(core: Core, message: Message): ProposeResult {
  const term = message.term ?? 0
  if (term > core.term) {
    if (isInLease(core, message)) return "ok"
    enterTerm(core, message, term)
  } else if (term > 0 && term < core.term) {
    handleOldTerm(core, message, term)
    return "ok"
  }
  const handle = anyRoleSteps[message.type] ?? roleSteps[core.state][message.type]
  return handle?.(core, message) ?? "ok"
}

const anyRoleSteps: Steps = {
  MsgHup: (core) => hup(core, core.config.preVote ? "pre-election" : "election"),
  MsgVote: handleVote,
  MsgPreVote: handleVote,
  MsgStorageAppendResp(core, { index = 0, logTerm = 0, snapshot }) {
    if (index > 0) core.log.unstable.stableTo(index, logTerm)
    if (snapshot) snapshotApplied(core, snapshot)
  },
  MsgStorageApplyResp: handleApplied,
}

/** A voter with a live leader ignores candidates, unless that leader itself handed over (C-05). */
function isInLease(core: Core, message: Message): boolean {
  const { type } = message
  if ((type !== "MsgVote" && type !== "MsgPreVote") || isTransfer(message)) return false
  const left = core.electionTicks - core.electionElapsed
  if (!core.config.checkQuorum || core.lead === none || left <= 0) return false
  core.trace?.(
    "INFO",
    `${describeVote(core, `ignored ${type} from`, message)}: lease is not expired (remaining ticks: ${left})`,
  )
  return true
}

function enterTerm(core: Core, message: Message, term: number): void {
  const { type, from } = message
  // A pre-vote, and a granted one, speak of a term that nobody has entered (C-04).
  if (type === "MsgPreVote" || (type === "MsgPreVoteResp" && !message.reject)) return
  core.trace?.(
    "INFO",
    `${hex(core.id)} [term: ${core.term}] received a ${type} message with higher term from ${hex(from)} [term: ${term}]`,
  )
  const fromLeader = type === "MsgApp" || type === "MsgHeartbeat" || type === "MsgSnap"
  core.becomeFollower(term, fromLeader ? from : none)
}

function handleOldTerm(core: Core, message: Message, term: number): void {
  const { type, from } = message
  const { checkQuorum, preVote } = core.config
  if ((checkQuorum || preVote) && (type === "MsgHeartbeat" || type === "MsgApp")) {
    // We may have left that leader behind during a partition and cannot win either: tell it our term.
    core.send({ type: "MsgAppResp", to: from, epoch: message.epoch ?? 0 })
  } else if (type === "MsgPreVote") {
    // Silence would leave two pre-candidates of different terms deadlocked (C-04).
    core.trace?.("INFO", describeVote(core, `rejected ${type} from`, message))
    core.send({ type: "MsgPreVoteResp", to: from, term: core.term, reject: true })
  } else if (type === "MsgStorageAppendResp") {
    // Those entries may have been replaced since; a snapshot is committed and stays true (B-30).
    if (message.index) {
      core.trace?.(
        "INFO",
        `${hex(core.id)} [term: ${core.term}] ignored entry appends from a ${type} message with lower term [term: ${term}]`,
      )
    }
    if (message.snapshot) snapshotApplied(core, message.snapshot)
  } else {
    core.trace?.(
      "INFO",
      `${hex(core.id)} [term: ${core.term}] ignored a ${type} message with lower term from ${hex(from)} [term: ${term}]`,
    )
  }
}

function snapshotApplied(core: Core, snapshot: Snapshot): void {
  const { index } = snapshot.meta
  core.log.unstable.stableSnapshotTo(index)
  appliedTo(core, index, 0)
}

function handleApplied(core: Core, message: Message): void {
  const entries = message.entries ?? []
  const last = entries.at(-1)
  if (!last) return
  appliedTo(core, last.index, entriesSize(entries))
  core.uncommittedSize = Math.max(0, core.uncommittedSize - payloadSize(entries))
}

/** Somebody won this term. */
function yieldToLeader(core: Core, message: Message): void {
  core.becomeFollower(core.term, message.from)
  handleFromLeader(core, message)
}

const campaigningSteps: Steps = {
  MsgApp: yieldToLeader,
  MsgHeartbeat: yieldToLeader,
  MsgSnap: yieldToLeader,
  MsgProp(core) {
    core.trace?.("INFO", `${hex(core.id)} no leader at term ${core.term}; dropping proposal`)
    return "dropped"
  },
  MsgTimeoutNow(core, message) {
    core.trace?.(
      "DEBUG",
      `${hex(core.id)} [term ${core.term} state ${core.state}] ignored MsgTimeoutNow from ${hex(message.from)}`,
    )
  },
}

/** A candidate counts only answers to its own kind of request. */
const roleSteps: Readonly<Record<RaftState, Steps>> = {
  StateFollower: followerSteps,
  StatePreCandidate: { ...campaigningSteps, MsgPreVoteResp: handleVoteResponse },
  StateCandidate: { ...campaigningSteps, MsgVoteResp: handleVoteResponse },
  StateLeader: leaderSteps,
}

/** One tick of the driver's clock. */
export function tick(core: Core): void {
  core.electionElapsed++
  if (!core.isLeader) {
    if (core.promotable() && core.electionElapsed >= core.randomizedElectionTicks) {
      core.electionElapsed = 0
      step(core, { type: "MsgHup", to: core.id, from: core.id })
    }
    return
  }
  core.heartbeatElapsed++
  if (core.electionElapsed >= core.electionTicks) {
    core.electionElapsed = 0
    if (core.config.checkQuorum) {
      step(core, { type: "MsgCheckQuorum", to: core.id, from: core.id })
    }
    // A transfer that took so long has failed.
    core.leadTransferee = none
  }
  if (core.isLeader && core.heartbeatElapsed >= core.config.heartbeatTicks) {
    core.heartbeatElapsed = 0
    step(core, { type: "MsgBeat", to: core.id, from: core.id })
  }
}

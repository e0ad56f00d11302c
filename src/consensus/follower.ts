/** What a follower does with entries, heartbeats and snapshots of its leader. */
import { type Core, hex, type Steps } from "./core.ts"
import { hup } from "./election.ts"
import { restoreConfState } from "./membership.ts"
import { switchMembership } from "./reconfigure.ts"
import { type Id, type Message, none, type ProposeResult, type Snapshot } from "./types.ts"

/** Whatever becomes of the message, the leader of this term lives (B-21). */
function hearLeader(core: Core, message: Message): void {
  core.electionElapsed = 0
  core.lead = message.from
  handleFromLeader(core, message)
}

export const followerSteps: Steps = {
  MsgApp: hearLeader,
  MsgHeartbeat: hearLeader,
  MsgSnap: hearLeader,
  MsgProp: handleProposal,
  MsgTransferLeader: (core, message) => forward(core, message, "leader transfer msg"),
  MsgReadIndex: (core, message) => forward(core, message, "index reading msg"),
  MsgForgetLeader(core) {
    if (core.lead === none) return
    core.trace?.("INFO", `${hex(core.id)} forgetting leader ${hex(core.lead)} at term ${core.term}`)
    core.lead = none
  },
  MsgTimeoutNow(core, message) {
    core.trace?.(
      "INFO",
      `${hex(core.id)} [term ${core.term}] received MsgTimeoutNow from ${hex(message.from)} and starts an election to get leadership.`,
    )
    // No pre-vote: the leader is known to want this.
    hup(core, "transfer")
  },
  MsgReadIndexResp(core, { index = 0, context = new Uint8Array(0) }) {
    core.readStates.push({ index, context })
  },
}

/** Proposals that the leader computed are dropped, never forwarded (C-44), unless the configuration says otherwise. */
function handleProposal(core: Core, message: Message): ProposeResult {
  if (core.lead === none) {
    core.trace?.("INFO", `${hex(core.id)} no leader at term ${core.term}; dropping proposal`)
    return "dropped"
  }
  if (core.config.forwardProposals !== true) {
    core.trace?.(
      "INFO",
      `${hex(core.id)} not forwarding to leader ${hex(core.lead)} at term ${core.term}; dropping proposal`,
    )
    return "dropped"
  }
  core.send({ ...message, to: core.lead })
  return "ok"
}

function forward(core: Core, message: Message, what: string): void {
  if (core.lead === none) {
    core.trace?.("INFO", `${hex(core.id)} no leader at term ${core.term}; dropping ${what}`)
    return
  }
  const { term: _, ...rest } = message
  core.send({ ...rest, to: core.lead })
}

/** An append, heartbeat or snapshot of the leader of this term. */
export function handleFromLeader(core: Core, message: Message): void {
  if (message.type === "MsgApp") handleAppend(core, message)
  else if (message.type === "MsgHeartbeat") handleHeartbeat(core, message)
  else handleSnapshot(core, message)
}

function handleAppend(core: Core, message: Message): void {
  const { log } = core
  const { from } = message
  const epoch = message.epoch ?? 0
  const previous = { index: message.index ?? 0, term: message.logTerm ?? 0 }
  if (previous.index < log.committed) {
    // Not a word before it is sure that the leader holds the same: it would be taken for an acknowledgement.
    for (const sent of [previous, ...(message.entries ?? [])]) checkPast(core, sent, from)
    core.send({ type: "MsgAppResp", to: from, index: log.committed, epoch })
    return
  }
  const last = log.maybeAppend(previous, message.entries ?? [], message.commit ?? 0)
  if (last !== undefined) {
    core.send({ type: "MsgAppResp", to: from, index: last, epoch })
    return
  }
  core.trace?.(
    "DEBUG",
    `${hex(core.id)} [logterm: ${log.termOrZero(previous.index)}, index: ${previous.index}] rejected MsgApp [logterm: ${previous.term}, index: ${previous.index}] from ${hex(from)}`,
  )
  // Skips our whole tail of terms that the leader cannot have there (C-16).
  const hint = log.findConflictByTerm(Math.min(previous.index, log.lastIndex()), previous.term)
  core.send({
    type: "MsgAppResp",
    to: from,
    index: previous.index,
    reject: true,
    rejectHint: hint.index,
    logTerm: hint.term,
    epoch,
  })
}

/** A leader holds everything that was committed (§5.4). One that does not was elected by disks that forgot; to follow it
 *  would take back what was promised, and to answer it would spread what it has not (C-13, C-49). */
function checkPast(core: Core, sent: { index: number; term: number }, leader: Id): void {
  const { log } = core
  if (!log.contradictsCommitted(sent)) return
  throw new Error(
    `leader ${hex(leader)} of term ${core.term} has another entry at ${sent.index} (term ${sent.term}) than what was committed here (up to ${log.committed}): the disks of a majority were rolled back to an earlier state, and this member alone still knows what they had promised`,
  )
}

function handleHeartbeat(core: Core, message: Message): void {
  core.log.commitTo(message.commit ?? 0)
  core.send({
    type: "MsgHeartbeatResp",
    to: message.from,
    epoch: message.epoch ?? 0,
    ...(message.context && { context: message.context }),
  })
}

function handleSnapshot(core: Core, message: Message): void {
  const { snapshot, from } = message
  if (!snapshot) throw new Error("MsgSnap without a snapshot")
  const { index, term } = snapshot.meta
  checkPast(core, { index, term }, from)
  const restored = restore(core, snapshot)
  core.trace?.(
    "INFO",
    `${hex(core.id)} [commit: ${core.log.committed}] ${restored ? "restored" : "ignored"} snapshot [index: ${index}, term: ${term}]`,
  )
  core.send({
    type: "MsgAppResp",
    to: from,
    index: restored ? core.log.lastIndex() : core.log.committed,
    epoch: message.epoch ?? 0,
  })
}

/** Replaces log and membership by the snapshot's (C-30, C-31). False: it tells nothing new. A snapshot may be older than
 *  the change that added this member: then it is not counted until the log says so, like one that starts empty. */
function restore(core: Core, snapshot: Snapshot): boolean {
  const { index, term, confState } = snapshot.meta
  const { log } = core
  if (index <= log.committed) return false
  if (core.state !== "StateFollower") throw new Error("a snapshot reached one who does not follow")
  const describe = (what: string): string => {
    const last = log.last()
    return `${hex(core.id)} [commit: ${log.committed}, lastindex: ${last.index}, lastterm: ${last.term}] ${what} snapshot [index: ${index}, term: ${term}]`
  }
  if (log.matches(index, term)) {
    core.trace?.("INFO", describe("fast-forwarded commit to"))
    log.commitTo(index)
    return false
  }
  if (!log.hasSnapshotPending()) core.membershipApplied = core.membership
  log.restore(snapshot)
  const limits = core.config
  switchMembership(core, restoreConfState({ lastIndex: log.lastIndex(), limits }, confState))
  core.trace?.("INFO", describe("restored"))
  return true
}

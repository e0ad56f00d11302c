/** Elections: who may campaign, who gets a vote, how votes are counted. */
import { type Core, hex } from "./core.ts"
import { isConfChange } from "./conf-change.ts"
import { voterIds } from "./membership.ts"
import { jointVote, type VoteResult } from "./quorum.ts"
import { broadcastAppend } from "./replicate.ts"
import { type Message, none } from "./types.ts"

export type Campaign = "pre-election" | "election" | "transfer"

/** Marks a vote request that a leader asked for: voters grant it although that leader lives. */
const transferContext = new Uint8Array([1])
const scanBytes = 1 << 20

export function isTransfer(message: Message): boolean {
  return message.context?.length === 1 && message.context[0] === transferContext[0]
}

/** Starts an election unless this member may not. */
export function hup(core: Core, kind: Campaign): void {
  const id = hex(core.id)
  if (core.isLeader) {
    core.trace?.("DEBUG", `${id} ignoring MsgHup because already leader`)
    return
  }
  if (!core.promotable()) {
    core.trace?.("WARN", `${id} is unpromotable and can not campaign`)
    return
  }
  if (hasUnappliedConfChange(core)) {
    core.trace?.(
      "WARN",
      `${id} cannot campaign at term ${core.term} since there are still pending configuration changes to apply`,
    )
    return
  }
  core.trace?.("INFO", `${id} is starting a new election at term ${core.term}`)
  campaign(core, kind)
}

/** The configuration that counts is the applied one, so it must be known before a campaign (C-34). */
function hasUnappliedConfChange(core: Core): boolean {
  const { log } = core
  let low = Math.max(log.applied + 1, log.firstIndex())
  while (low <= log.committed) {
    const page = log.slice(low, log.committed + 1, scanBytes)
    if (page === "compacted") throw new Error(`unapplied entry ${low} was compacted`)
    if (page.some(isConfChange)) return true
    low += page.length
  }
  return false
}

function campaign(core: Core, kind: Campaign): void {
  const isPre = kind === "pre-election"
  if (isPre) core.becomePreCandidate()
  else core.becomeCandidate()
  const type = isPre ? "MsgPreVote" : "MsgVote"
  // A pre-vote asks about the term that would come.
  const term = isPre ? core.term + 1 : core.term
  const last = core.log.last()
  for (const to of voterIds(core.membership.config)) {
    if (to === core.id) {
      // Its own vote counts when it is durable, like every other.
      core.send({ type: isPre ? "MsgPreVoteResp" : "MsgVoteResp", to, term })
      continue
    }
    core.trace?.(
      "INFO",
      `${hex(core.id)} [logterm: ${last.term}, index: ${last.index}] sent ${type} request to ${hex(to)} at term ${core.term}`,
    )
    core.send({
      type,
      to,
      term,
      index: last.index,
      logTerm: last.term,
      ...(kind === "transfer" && { context: transferContext }),
    })
  }
}

/** How log lines name a voter, its log, and the request. */
export function describeVote(core: Core, verb: string, message: Message): string {
  const last = core.log.last()
  return `${hex(core.id)} [logterm: ${last.term}, index: ${last.index}, vote: ${hex(core.vote)}] ${verb} ${hex(message.from)} [logterm: ${message.logTerm ?? 0}, index: ${message.index ?? 0}] at term ${core.term}`
}

/** Votes are answered whatever this member believes to be: the candidate's configuration counts (C-08). */
export function handleVote(core: Core, message: Message): void {
  const { type, from } = message
  const term = message.term ?? 0
  const isPre = type === "MsgPreVote"
  const response = isPre ? "MsgPreVoteResp" : "MsgVoteResp"
  const canVote =
    core.vote === from || (core.vote === none && core.lead === none) || (isPre && term > core.term)
  const candidate = { index: message.index ?? 0, term: message.logTerm ?? 0 }
  if (!canVote || !core.log.isUpToDate(candidate)) {
    core.trace?.("INFO", describeVote(core, `rejected ${type} from`, message))
    core.send({ type: response, to: from, term: core.term, reject: true, ...knownCommit(core) })
    return
  }
  core.trace?.("INFO", describeVote(core, `cast ${type} for`, message))
  // The term of the request: a pre-candidate asks about one that we have not entered.
  core.send({ type: response, to: from, term })
  if (isPre) return
  core.electionElapsed = 0
  core.vote = from
}

/** A member that was demoted or removed may be the only one left that knows so, with a longer log than all who still
 *  count it: it refuses them and cannot campaign. What it knows to be committed frees them (C-35). */
function knownCommit(core: Core): Pick<Message, "commit" | "logTerm"> {
  const { committed } = core.log
  const logTerm = core.log.termOrZero(committed)
  return core.config.silentRefusals || logTerm === 0 ? {} : { commit: committed, logTerm }
}

/** True: a committed change has to be applied before anybody may win here (C-34). */
function learnCommit(core: Core, { commit = 0, logTerm = 0 }: Message): boolean {
  // The same index and term is the same entry, with the same ones before it.
  if (commit <= core.log.committed || !core.log.matches(commit, logTerm)) return false
  core.log.commitTo(commit)
  return hasUnappliedConfChange(core)
}

/** As candidate or pre-candidate: counts an answer; the first one of each member (B-28). */
export function handleVoteResponse(core: Core, message: Message): void {
  const { type, from } = message
  const granted = message.reject !== true
  core.trace?.(
    "INFO",
    `${hex(core.id)} received ${type}${granted ? "" : " rejection"} from ${hex(from)} at term ${core.term}`,
  )
  if (!granted && learnCommit(core, message)) {
    core.becomeFollower(core.term, none)
    return
  }
  if (!core.votes.has(from)) core.votes.set(from, granted)
  const { yes, no, result } = tally(core)
  core.trace?.(
    "INFO",
    `${hex(core.id)} has received ${yes} ${type} votes and ${no} vote rejections`,
  )
  if (result === "VoteLost") {
    core.becomeFollower(core.term, none)
  } else if (result === "VoteWon") {
    if (core.state === "StatePreCandidate") {
      campaign(core, "election")
    } else {
      core.becomeLeader()
      broadcastAppend(core)
    }
  }
}

function tally(core: Core): { yes: number; no: number; result: VoteResult } {
  let yes = 0
  let no = 0
  for (const [id, progress] of core.membership.progress) {
    const vote = core.votes.get(id)
    if (progress.isLearner || vote === undefined) continue
    if (vote) yes++
    else no++
  }
  return { yes, no, result: jointVote(core.membership.config.voters, core.votes) }
}

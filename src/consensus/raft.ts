/** The machine from outside: inputs, and Ready as its one output. */
import { encodeConfChange } from "./conf-change.ts"
import { Core } from "./core.ts"
import { isAdmissible, step, tick } from "./step.ts"
import { applyConfChange } from "./reconfigure.ts"
import {
  appendThread,
  applyThread,
  type Entry,
  type HardState,
  type Id,
  type Message,
  none,
  type Raft,
  type RaftConfig,
  type RaftStatus,
  type RaftStorage,
  type Ready,
} from "./types.ts"

/** Starts as follower from what storage holds. Throws when hard state, log and `applied` do not fit together (C-26). */
export function createRaft(config: RaftConfig, storage: RaftStorage): Raft {
  return raftOf(new Core(config, storage))
}

/** The machine over a core. */
export function raftOf(core: Core): Raft {
  const output = new Output(core)
  const { id } = core
  const local = (message: Omit<Message, "to" | "from"> & { readonly from?: Id }): void => {
    step(core, { to: id, from: id, ...message })
  }
  const propose = (entries: readonly Pick<Entry, "type" | "data">[]): "ok" | "dropped" => {
    // Only a leader's own proposals: a follower's would have been computed for another leader (C-44).
    if (!core.isLeader || entries.length === 0) return "dropped"
    const placed = entries.map((entry) => ({ ...entry, term: 0, index: 0 }))
    return step(core, { type: "MsgProp", to: id, from: id, entries: placed })
  }
  return {
    tick: () => tick(core),
    setElectionTicks: (ticks) => core.setElectionTicks(ticks),
    wake: () => core.wake(),
    step: (message) => (isAdmissible(core, message) ? step(core, message) : "dropped"),
    campaign: () => local({ type: "MsgHup" }),
    propose: (data) => propose(data.map((bytes) => ({ type: "EntryNormal", data: bytes }))),
    proposeConfChange: (change) =>
      propose([{ type: "EntryConfChangeV2", data: encodeConfChange(change) }]),
    applyConfChange: (change) => applyConfChange(core, change),
    readIndex: (context) => local({ type: "MsgReadIndex", context }),
    transferLeadership: (to) => local({ type: "MsgTransferLeader", from: to }),
    forgetLeader: () => local({ type: "MsgForgetLeader" }),
    reportUnreachable: (from) => local({ type: "MsgUnreachable", from }),
    reportSnapshot: (from, ok) => local({ type: "MsgSnapStatus", from, reject: !ok }),
    hasReady: () => output.has(),
    ready: () => output.take(),
    advance: () => output.advance(),
    position: () => ({ lastIndex: core.log.lastIndex(), term: core.term }),
    status: () => statusOf(core),
  }
}

function sameHardState(left: HardState, right: HardState): boolean {
  return left.term === right.term && left.vote === right.vote && left.commit === right.commit
}

class Output {
  readonly #core: Core
  readonly #deferred: boolean
  #lead: Id
  #state: Core["state"]
  #hardState: HardState
  /** Synchronous mode: what `advance` steps, having waited for the driver to write. */
  #onAdvance: Message[] = []

  constructor(core: Core) {
    this.#core = core
    this.#deferred = core.config.asyncStorageWrites
    this.#lead = core.lead
    this.#state = core.state
    this.#hardState = core.hardState()
  }

  has(): boolean {
    const core = this.#core
    const { unstable } = core.log
    return (
      core.messages.length > 0 ||
      core.afterAppend.length > 0 ||
      core.readStates.length > 0 ||
      core.lead !== this.#lead ||
      core.state !== this.#state ||
      !sameHardState(core.hardState(), this.#hardState) ||
      unstable.nextSnapshot() !== undefined ||
      unstable.hasNextEntries() ||
      core.log.hasNextCommitted(!this.#deferred)
    )
  }

  take(): Ready {
    if (this.#onAdvance.length > 0) throw new Error("ready() again before advance()")
    const core = this.#core
    const { log } = core
    const hardState = core.hardState()
    const changed = !sameHardState(hardState, this.#hardState)
    const entries = log.unstable.nextEntries()
    const snapshot = log.unstable.nextSnapshot()
    const committedEntries = log.nextCommitted(!this.#deferred)
    const ready: Ready = {
      softState:
        core.lead !== this.#lead || core.state !== this.#state
          ? { lead: core.lead, raftState: core.state }
          : undefined,
      hardState: changed ? hardState : undefined,
      readStates: core.readStates,
      entries,
      snapshot,
      committedEntries,
      messages: core.messages,
      mustSync:
        entries.length > 0 ||
        hardState.vote !== this.#hardState.vote ||
        hardState.term !== this.#hardState.term,
    }
    const messages = this.#deferred ? this.#withStorageWork(ready) : this.#withResponses(ready)
    this.#accept(ready)
    return { ...ready, messages }
  }

  #accept(ready: Ready): void {
    const core = this.#core
    this.#lead = core.lead
    this.#state = core.state
    if (ready.hardState) this.#hardState = ready.hardState
    core.messages = []
    core.afterAppend = []
    core.readStates = []
    core.reads.closeRound()
    core.log.unstable.accept()
    core.log.acceptApplying(ready.committedEntries, !this.#deferred)
  }

  advance(): void {
    const steps = this.#onAdvance
    this.#onAdvance = []
    for (const message of steps) step(this.#core, message)
  }

  /** Synchronous: the driver writes before it sends, so every answer may leave with this Ready. */
  #withResponses(ready: Ready): readonly Message[] {
    const core = this.#core
    const isOwn = (message: Message): boolean => message.to === core.id
    this.#onAdvance = core.afterAppend.filter(isOwn)
    const appended = this.#appendResponse(ready)
    if (appended) this.#onAdvance.push(appended)
    if (ready.committedEntries.length > 0) this.#onAdvance.push(this.#applyResponse(ready))
    return [...ready.messages, ...core.afterAppend.filter((message) => !isOwn(message))]
  }

  /** Asynchronous: the answers ride on the write that they wait for. */
  #withStorageWork(ready: Ready): readonly Message[] {
    const core = this.#core
    const messages = [...ready.messages]
    const { hardState, entries, snapshot, committedEntries } = ready
    if (entries.length > 0 || hardState || snapshot || core.afterAppend.length > 0) {
      const appended = this.#appendResponse(ready)
      messages.push({
        type: "MsgStorageAppend",
        to: appendThread,
        from: core.id,
        entries,
        ...hardState,
        ...(snapshot && { snapshot }),
        // Last in the list: a leader's own answer finds its entries still in memory.
        responses: appended ? [...core.afterAppend, appended] : core.afterAppend,
      })
    }
    if (committedEntries.length > 0) {
      messages.push({
        type: "MsgStorageApply",
        to: applyThread,
        from: core.id,
        entries: committedEntries,
        responses: [this.#applyResponse(ready)],
      })
    }
    return messages
  }

  /** Names the newest entry, not the newest of this write: in this term, at the end of this write, all of it is durable. */
  #appendResponse(ready: Ready): Message | undefined {
    const core = this.#core
    const hasEntries = core.log.unstable.length > 0
    if (!hasEntries && !ready.snapshot) return undefined
    const last = core.log.last()
    return {
      type: "MsgStorageAppendResp",
      to: core.id,
      from: appendThread,
      term: core.term,
      ...(hasEntries && { index: last.index, logTerm: last.term }),
      ...(ready.snapshot && { snapshot: ready.snapshot }),
    }
  }

  #applyResponse(ready: Ready): Message {
    return {
      type: "MsgStorageApplyResp",
      to: this.#core.id,
      from: applyThread,
      entries: ready.committedEntries,
    }
  }
}

function statusOf(core: Core): RaftStatus {
  const progress = core.isLeader ? [...core.membership.progress] : []
  return {
    id: core.id,
    raftState: core.state,
    lead: core.lead,
    term: core.term,
    vote: core.vote,
    commit: core.log.committed,
    applied: core.log.applied,
    lastIndex: core.log.lastIndex(),
    leadTransferee: core.leadTransferee ?? none,
    confState: core.confState(),
    progress: progress.map(([id, member]) => ({
      id,
      match: member.match,
      next: member.next,
      state: member.state,
      paused: member.paused(),
      diverged: member.diverged,
      recentActive: member.recentActive,
      isLearner: member.isLearner,
      pendingSnapshot: member.pendingSnapshot,
      inflight: member.inflights.count,
    })),
  }
}

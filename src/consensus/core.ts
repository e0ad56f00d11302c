/** One member's state, its outboxes, and its moves between follower, candidate and leader. */
import { payloadSize, RaftLog } from "./log.ts"
import {
  confStateOf,
  describeConfig,
  emptyMembership,
  type Membership,
  restoreConfState,
  voterIds,
} from "./membership.ts"
import { Inflights, Progress } from "./progress.ts"
import { jointCommitted } from "./quorum.ts"
import { Reads } from "./reads.ts"
import {
  type Entry,
  type HardState,
  type Id,
  type Message,
  none,
  type ProposeResult,
  type RaftConfig,
  type RaftState,
  type RaftStorage,
  type ReadState,
} from "./types.ts"

/** What a role does with one kind of message. */
export type Step = (core: Core, message: Message) => ProposeResult | void
export type Steps = Readonly<Partial<Record<Message["type"], Step>>>

/** As log lines write ids. */
export function hex(id: Id): string {
  return id.toString(16)
}

const votes: ReadonlySet<Message["type"]> = new Set([
  "MsgVote",
  "MsgVoteResp",
  "MsgPreVote",
  "MsgPreVoteResp",
])
/** These speak for what storage holds, so they wait until it does (C-02, C-22). */
const afterStorage: ReadonlySet<Message["type"]> = new Set([
  "MsgAppResp",
  "MsgVoteResp",
  "MsgPreVoteResp",
])

export class Core {
  readonly id: Id
  readonly config: RaftConfig
  readonly log: RaftLog
  readonly trace: RaftConfig["trace"]

  term = 0
  vote: Id = none
  lead: Id = none
  state: RaftState = "StateFollower"

  membership: Membership = emptyMembership
  readonly votes = new Map<Id, boolean>()
  #epoch = 0

  /** Least ticks without a leader before a campaign; changes with what the driver measures. */
  electionTicks: number
  electionElapsed = 0
  heartbeatElapsed = 0
  /** Drawn again at every change of state (C-07). */
  randomizedElectionTicks = 0

  leadTransferee: Id = none
  /** A configuration entry up to this index may still be unapplied: no second one is proposed (C-33). */
  pendingConfIndex = 0
  uncommittedSize = 0
  reads = new Reads()

  /** May leave at once. */
  messages: Message[] = []
  /** Leave when everything accepted so far is durable. */
  afterAppend: Message[] = []
  readStates: ReadState[] = []

  constructor(config: RaftConfig, storage: RaftStorage) {
    this.id = config.id
    this.config = config
    this.electionTicks = config.electionTicks
    this.trace = config.trace
    this.log = new RaftLog(storage, {
      maxApplyingSize: config.maxCommittedSizePerReady,
      trace: config.trace,
    })
    const { hardState, confState } = storage.initialState()
    this.adoptMembership(
      restoreConfState({ lastIndex: this.log.lastIndex(), limits: config }, confState),
    )
    this.#load(hardState)
    this.becomeFollower(this.term, none)
    const last = this.log.last()
    this.trace?.(
      "INFO",
      `newRaft ${hex(this.id)} [peers: [${voterIds(this.membership.config).map(hex).join(",")}], term: ${this.term}, commit: ${this.log.committed}, applied: ${this.log.applied}, lastindex: ${last.index}, lastterm: ${last.term}]`,
    )
  }

  #load(hardState: HardState): void {
    // What was applied or compacted was committed, even when the crash came before that commit index was durable.
    const { applied } = this.config
    const commit = Math.max(hardState.commit, applied, this.log.committed)
    if (commit > this.log.lastIndex()) {
      throw new Error(`commit ${commit} is past the last entry ${this.log.lastIndex()}`)
    }
    this.log.committed = commit
    this.term = hardState.term
    this.vote = hardState.vote
    if (applied > 0) this.log.appliedTo(applied, 0)
  }

  /** While a snapshot waits to be written: the membership as of the entries applied before it. */
  membershipApplied: Membership | undefined

  adoptMembership(membership: Membership): void {
    this.#setMembership(membership)
    this.trace?.(
      "INFO",
      `${hex(this.id)} switched to configuration ${describeConfig(membership.config)}`,
    )
  }

  /** Every new progress begins a replication session of its own (C-19). */
  #setMembership(membership: Membership): void {
    this.membership = membership
    for (const progress of membership.progress.values()) {
      if (progress.epoch === 0) progress.epoch = ++this.#epoch
    }
  }

  get isLeader(): boolean {
    return this.state === "StateLeader"
  }

  progressOf(id: Id): Progress | undefined {
    return this.membership.progress.get(id)
  }

  /** Members in order of id, without this one. */
  others(): Id[] {
    return [...this.membership.progress.keys()].filter((id) => id !== this.id)
  }

  /** The only voter there is, with no joint change under way (C-10). */
  isSingleton(): boolean {
    const { incoming, outgoing } = this.membership.config.voters
    return incoming.size === 1 && incoming.has(this.id) && outgoing.size === 0
  }

  promotable(): boolean {
    const own = this.progressOf(this.id)
    return own !== undefined && !own.isLearner && !this.log.hasSnapshotPending()
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed }
  }

  send(message: Omit<Message, "from"> & { readonly from?: Id }): void {
    const { type, to } = message
    const from = message.from ?? this.id
    if (votes.has(type) !== (message.term !== undefined)) {
      throw new Error(`${type} must ${votes.has(type) ? "" : "not "}name its term`)
    }
    const untermed = votes.has(type) || type === "MsgProp" || type === "MsgReadIndex"
    const sent: Message = untermed ? { ...message, from } : { ...message, from, term: this.term }
    if (afterStorage.has(type)) {
      this.afterAppend.push(sent)
      return
    }
    if (to === this.id) throw new Error(`${type} to itself`)
    this.messages.push(sent)
  }

  /** The draw of this state keeps its place between once and twice the timeout. */
  setElectionTicks(ticks: number): void {
    const drawn = (this.randomizedElectionTicks - this.electionTicks) / this.electionTicks
    this.electionTicks = ticks
    this.randomizedElectionTicks = ticks + Math.floor(drawn * ticks)
  }

  /** The driver's clock stood still: what was counted and confirmed before says nothing of now (C-45). */
  wake(): void {
    this.electionElapsed = 0
    if (!this.isLeader) return
    this.leadTransferee = none
    this.reads.forget()
    for (const [id, progress] of this.membership.progress) {
      if (id !== this.id) progress.recentActive = false
    }
  }

  reset(term: number): void {
    if (this.term !== term) {
      // Only a new term frees the vote (C-03).
      this.term = term
      this.vote = none
    }
    this.lead = none
    this.electionElapsed = 0
    this.heartbeatElapsed = 0
    const { electionTicks } = this
    this.randomizedElectionTicks = electionTicks + Math.floor(this.config.random() * electionTicks)
    this.leadTransferee = none
    this.votes.clear()
    this.pendingConfIndex = 0
    this.uncommittedSize = 0
    this.reads = new Reads()
    this.#resetProgress()
  }

  #resetProgress(): void {
    const last = this.log.lastIndex()
    const fresh = [...this.membership.progress].map(([id, { isLearner }]) => {
      const match = id === this.id ? last : 0
      const start = { match, next: last + 1, isLearner, recentActive: false }
      return [id, new Progress(start, new Inflights(this.config))] as const
    })
    this.#setMembership({ config: this.membership.config, progress: new Map(fresh) })
  }

  becomeFollower(term: number, lead: Id): void {
    this.reset(term)
    this.lead = lead
    this.state = "StateFollower"
    this.trace?.("INFO", `${hex(this.id)} became follower at term ${term}`)
  }

  becomeCandidate(): void {
    if (this.isLeader) throw new Error("a leader cannot become candidate")
    this.reset(this.term + 1)
    this.vote = this.id
    this.state = "StateCandidate"
    this.trace?.("INFO", `${hex(this.id)} became candidate at term ${this.term}`)
  }

  /** Neither term nor vote change (C-04). */
  becomePreCandidate(): void {
    if (this.isLeader) throw new Error("a leader cannot become pre-candidate")
    this.votes.clear()
    this.lead = none
    this.state = "StatePreCandidate"
    this.trace?.("INFO", `${hex(this.id)} became pre-candidate at term ${this.term}`)
  }

  becomeLeader(): void {
    if (this.state === "StateFollower") throw new Error("a follower cannot become leader")
    this.reset(this.term)
    this.lead = this.id
    this.state = "StateLeader"
    const own = this.progressOf(this.id)
    if (!own) throw new Error("a leader outside of the configuration")
    own.becomeReplicate()
    own.recentActive = true
    // What the log holds may contain a change; scanning the tail is not worth it.
    this.pendingConfIndex = this.log.lastIndex()
    // The entry of this term by which everything before it gets committed (C-12).
    const empty = { type: "EntryNormal", data: new Uint8Array(0) } as const
    if (!this.appendOwn([empty])) throw new Error("the first entry of a term was refused")
    this.trace?.("INFO", `${hex(this.id)} became leader at term ${this.term}`)
  }

  /** As leader: gives entries their place at the end of the log. False: too much is uncommitted (C-18). */
  appendOwn(entries: readonly Pick<Entry, "type" | "data">[]): boolean {
    const last = this.log.lastIndex()
    const placed = entries.map(({ type, data }, position) => ({
      term: this.term,
      index: last + 1 + position,
      type,
      data,
    }))
    const size = payloadSize(placed)
    const limit = this.config.maxUncommittedEntriesSize
    // An empty tail takes any size, and empty entries always go in.
    if (this.uncommittedSize > 0 && size > 0 && this.uncommittedSize + size > limit) {
      this.trace?.(
        "WARN",
        `${hex(this.id)} appending new entries to log would exceed uncommitted entry size limit; dropping proposal`,
      )
      return false
    }
    this.uncommittedSize += size
    const index = this.log.append(placed)
    // The leader counts itself like everybody else: by an answer that waits for storage (B-22).
    this.send({
      type: "MsgAppResp",
      to: this.id,
      index,
      epoch: this.progressOf(this.id)?.epoch ?? 0,
    })
    return true
  }

  /** True when the commit index moved. */
  maybeCommit(): boolean {
    const { config, progress } = this.membership
    const index = jointCommitted(config.voters, (id) => progress.get(id)?.match)
    return this.log.maybeCommit(index, this.term)
  }

  hasCommittedInTerm(): boolean {
    return this.log.termOrZero(this.log.committed) === this.term
  }

  confState(): ReturnType<typeof confStateOf> {
    return confStateOf(this.membership.config)
  }
}

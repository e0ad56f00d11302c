/** This node's copy of the consensus log and tables: drives the raft core over WAL, mesh and tables. */
import {
  appendThread,
  applyThread,
  type ConfChange,
  type Message,
  type Raft,
  type RaftStatus,
  type Ready,
} from "../consensus/index.ts"
import { TroupeError } from "../schema/index.ts"
import { activeVersion, type Command } from "../state/index.ts"
import {
  decodeFrame,
  encodeEntries,
  encodeEntry,
  entryVersionOf,
  UnknownVersionError,
} from "../wire/index.ts"
import { type BootTag, bootTag } from "./boots.ts"
import { LostLeader } from "./lost-leader.ts"
import type { HeldChunks } from "./parts.ts"
import type { Need, Pace } from "./patience.ts"
import { successorOf } from "./replica-leading.ts"
import type { ReplicaEvents, ReplicaOptions, ReplicaParts } from "./replica-options.ts"
import { assemble, failAll, type Made, type Pieces } from "./replica-pieces.ts"
import type { ProposalOutcome, Proposals } from "./replica-proposals.ts"
import type { Pump } from "./replica-pump.ts"
import { openCore } from "./replica-start.ts"
import type { ReplicaTables } from "./replica-tables.ts"
import { ReplicaViews } from "./replica-views.ts"
import type { Waiters } from "./replica-waiters.ts"
import type { RoundTrips } from "./round-trips.ts"
import type { Tally } from "./tally.ts"

/** After this long the rest of what the core has waits for the next turn of the main loop, which may take 5 (§4). */
const turnMs = 2

/** One open replica. Every method is synchronous up to the raft core; durable work follows by itself. */
export class Replica extends ReplicaViews {
  readonly clusterId: string
  readonly memberId: number
  readonly tally: Tally
  readonly roundTrips: RoundTrips
  readonly lostLeader = new LostLeader()
  /** The tag of this start, by which others tell it from earlier ones. */
  readonly boot: BootTag
  readonly #pieces: Pieces
  readonly #parts: ReplicaParts
  readonly #raft: Raft
  readonly #proposals: Proposals
  readonly #waiters: Waiters
  readonly #tables: ReplicaTables
  readonly #pump: Pump
  #readSequence = 0

  private constructor(made: Made) {
    const pieces = assemble(made, {
      work: () => this.#work(),
      deliver: (response) => this.#deliver(response),
      notLeader: () => this.#notLeader(),
      handOver: () => this.handOver(),
      renewSnapshot: (index) => this.#renewSnapshot(index),
    })
    super(pieces)
    this.clusterId = made.options.clusterId
    this.memberId = made.options.memberId
    this.boot = bootTag(made.options.boot)
    this.tally = pieces.tally
    this.roundTrips = pieces.roundTrips
    this.#pieces = pieces
    this.#parts = pieces.parts
    this.#raft = pieces.raft
    this.#proposals = pieces.proposals
    this.#waiters = pieces.waiters
    this.#tables = pieces.tables
    this.#pump = pieces.pump
  }

  /** Opens log and tables, repairs tables from the snapshot where they are behind or broken, starts ticking. */
  static async open(
    options: ReplicaOptions,
    parts: ReplicaParts,
    events: ReplicaEvents,
  ): Promise<Replica> {
    const core = await openCore(options, parts)
    const replica = new Replica({ options, parts, events, core })
    try {
      await replica.#tables.load()
    } catch (error) {
      if (!(error instanceof UnknownVersionError)) throw error
      replica.#pieces.end.fatal(76, error)
      throw new TroupeError("ERR_NEWER_CLUSTER", error.message, { reason: error.message })
    }
    replica.#start()
    return replica
  }

  #start(): void {
    this.#pieces.pace.start()
    this.#campaignIfAlone()
    this.#pump.schedule()
  }

  /** The only voter has nobody to wait for. */
  #campaignIfAlone(): void {
    const { voters, votersOutgoing } = this.#tables.applied.confState
    const alone = voters.length === 1 && voters[0] === this.memberId && votersOutgoing.length === 0
    if (alone && this.leader === 0) this.#raft.campaign()
  }

  async stop(): Promise<void> {
    if (!this.#pieces.end.begin()) return
    failAll(
      this.#pieces,
      new TroupeError("ERR_STOPPED", "this node is stopping", { what: "replica" }),
    )
    await this.#pieces.end.close()
  }

  // ---------------------------------------------------------------- inputs

  handleFrame(from: string, frame: Uint8Array): void {
    const message = this.#pieces.gate.message(from, frame)
    if (!message) return
    const { type } = message
    if (type === "MsgHeartbeatResp") {
      this.roundTrips.answered(message.from, this.#parts.clock.boottime())
    }
    this.#pump.input(() => this.#raft.step(message))
    if (type === "MsgAppResp") this.#waiters.wakeCopies()
  }

  /** Whether a member speaks as the start of it that is known; one on an older copy of its disk is told. */
  isCurrent(id: number, boot: BootTag): boolean {
    return this.#pieces.gate.isCurrent(id, boot)
  }

  /** What is here of the snapshot that this announces. */
  async heldOf(header: Uint8Array): Promise<HeldChunks> {
    return await this.#parts.snapshots.held(decodeFrame(header).message.snapshot!.meta)
  }

  /** A leader that cannot read what it must send lets another one lead, and makes it anew (hashicorp#522). */
  #renewSnapshot(index: number): void {
    this.#parts.logger.error("the stored snapshot cannot be read", { index })
    this.handOver()
    void this.#tables.renewSnapshot(index)
  }

  /** A snapshot's rows have arrived beside the core: hand it the message that announces them. */
  async handleSnapshot(
    header: Uint8Array,
    chunks: AsyncIterable<Uint8Array>,
    from: { readonly peerId: string; readonly chunk: number },
  ): Promise<void> {
    const message = this.#pieces.gate.announcement(from.peerId, header)
    if (!message) return
    await this.#parts.snapshots.receive(message.snapshot!.meta, chunks, from.chunk)
    this.tally.snapshotsReceived++
    this.#pump.input(() => this.#raft.step(message))
  }

  /** Resolves once applied. ERR_NOT_LEADER: surely not appended; ERR_UNKNOWN_OUTCOME: it may still happen. */
  propose(command: Command): Promise<ProposalOutcome> {
    const at = this.#parts.clock.now()
    const version = entryVersionOf(command, activeVersion(this.tables))
    if (version === undefined) return Promise.reject(notUnderstood(command))
    const data = encodeEntries({ version, at, command }).map((part) => part.data)
    return new Promise((resolve, reject) => {
      if (this.#pieces.end.isOver || this.leader !== this.memberId) {
        reject(this.#notLeader())
        return
      }
      this.tally.proposals++
      this.#proposals.add({ data, resolve, reject })
      this.#pump.schedule()
    })
  }

  /** The change and the command that its application also applies travel in one entry. */
  proposeConfChange(change: Omit<ConfChange, "context">, command: Command): "ok" | "dropped" {
    let result: "ok" | "dropped" = "dropped"
    const version = entryVersionOf(command, activeVersion(this.tables))
    if (version === undefined) throw notUnderstood(command)
    const context = encodeEntry({ version, at: this.#parts.clock.now(), command })
    this.#pump.input(() => {
      result = this.#raft.proposeConfChange({ ...change, context })
    })
    return result
  }

  /** ReadIndex: after it, the tables hold everything that was committed when it was asked. Leader only. */
  async readBarrier(signal: AbortSignal): Promise<void> {
    if (!this.isLeading()) throw this.#notLeader()
    const context = `${this.term}.${this.#readSequence++}`
    const ask = (): void => this.#pump.input(() => this.#raft.readIndex(Buffer.from(context)))
    const index = await this.#waiters.read(context, ask, signal)
    if (this.applied.index < index) await this.#waiters.applied(index, signal)
  }

  /** Waits until `wanted` replicas hold `index`, at most `ms`; answers how many do. */
  async waitCopies(index: number, wanted: number, ms: number): Promise<number> {
    const { clock } = this.#parts
    const deadline = clock.boottime() + ms
    for (;;) {
      const copies = this.copies(index)
      const left = deadline - clock.boottime()
      if (copies >= wanted || left <= 0 || this.#pieces.end.isOver) return copies
      await this.#waiters.moreCopies(clock, left)
    }
  }

  transferLeadership(to: number): void {
    this.#pump.input(() => this.#raft.transferLeadership(to))
  }

  /** The follower that has most takes over, of those that answer; undefined: there is none, or this node does not lead. */
  handOver(): number | undefined {
    const best = successorOf(this.status())
    if (best !== undefined) this.transferLeadership(best)
    return best
  }

  /** The leader's process is surely dead: no connection is left, and a redial was refused or another boot answers. */
  leaderIsDead(): void {
    const { leader, term } = this
    if (leader === 0 || this.isLeading()) return
    const survivors = this.#tables.applied.confState.voters.filter((id) => id !== leader)
    const turn = survivors.indexOf(this.memberId)
    const { clock, logger, random } = this.#parts
    const wait = this.lostLeader.hint({ leader, term }, { turn, random: random.next() })
    if (wait === undefined) return
    logger.info("the leader's process is dead", { leader, term })
    this.#pump.input(() => this.#raft.forgetLeader())
    if (turn < 0) return
    clock.after(wait, () => {
      if (this.leader === 0 && this.term === term) this.#pump.input(() => this.#raft.campaign())
    })
  }

  /** What this peer had not answered is lost with its connection. */
  connectionLost(peerId: string): void {
    this.roundTrips.interrupted((id) => this.peerOf(id)?.peerId === peerId)
  }

  /** Of other voters, at their leader; true when the timeout grew and must be announced. */
  hearNeeds(needs: readonly Need[]): boolean {
    return this.#pieces.pace.hear(needs)
  }

  /** The leader of this term asks for this patience. */
  follow(term: number, pace: Pace): void {
    if (term === this.term && !this.isLeading()) this.#pieces.pace.follow(pace)
  }

  // ---------------------------------------------------------------- the core's output

  #work(): boolean {
    this.#proposals.hand(this.#raft, () => {
      this.tally.proposalsRefused++
      return this.#notLeader()
    })
    const { clock } = this.#parts
    const until = clock.boottime() + turnMs
    while (!this.#pieces.end.isOver && this.#raft.hasReady()) {
      if (clock.boottime() > until) return true
      this.#handle(this.#raft.ready())
    }
    return false
  }

  #handle(ready: Ready): void {
    const { softState, hardState } = ready
    // A commit index that moves changes nobody's part.
    if (softState || (hardState && hardState.term !== this.term)) this.#note(this.#raft.status())
    for (const { index, context } of ready.readStates) {
      this.#waiters.confirmRead(Buffer.from(context).toString(), index)
    }
    for (const message of ready.messages) {
      if (message.to === appendThread) this.#pieces.log.store(message)
      else if (message.to === applyThread) this.#apply(message)
      else this.#pieces.send(message)
    }
  }

  #note(status: RaftStatus): void {
    const wasLeader = this.leader === this.memberId
    this.tally.note(status)
    this.#pieces.leading.note(status)
    this.lostLeader.heard({ leader: status.lead, term: status.term })
    const isLeader = status.raftState === "StateLeader"
    if (isLeader === wasLeader) return
    this.roundTrips.clear()
    if (isLeader) this.#pieces.pace.lead()
  }

  #deliver(message: Message): void {
    if (message.to === this.memberId) this.#raft.step(message)
    else this.#pieces.send(message)
  }

  #apply(message: Message): void {
    this.#tables.apply(message.entries ?? [])
    for (const response of message.responses ?? []) this.#deliver(response)
    this.#waiters.wakeApplied(this.applied.index)
    this.#pieces.leading.begin(this.applied.index)
    this.#campaignIfAlone()
  }

  #notLeader(): TroupeError<"ERR_NOT_LEADER"> {
    const leader = this.leader === 0 ? undefined : this.peerOf(this.leader)?.peerId
    return new TroupeError("ERR_NOT_LEADER", "this node does not lead", { leader })
  }
}

function notUnderstood({ type }: Command): TroupeError<"ERR_UNSUPPORTED"> {
  const what = `'${type}' while a voter or standby runs an older troupe: update it first`
  return new TroupeError("ERR_UNSUPPORTED", `this cluster cannot ${what}`, { what })
}

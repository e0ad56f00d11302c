/** This node's copy of the consensus log and tables: drives the raft core over WAL, mesh and tables. */
import {
  appendThread,
  applyThread,
  type ConfChange,
  type Message,
  type ProgressView,
  type Raft,
  type RaftStatus,
  type Ready,
} from "../consensus/index.ts"
import { type PeerRef, TroupeError } from "../schema/index.ts"
import { type Command, readMember, type Tables } from "../state/index.ts"
import {
  decodeFrame,
  encodeEntries,
  encodeEntry,
  entryVersion,
  type LogMark,
  UnknownVersionError,
} from "../wire/index.ts"
import { Leading } from "./replica-leading.ts"
import { LogDriver } from "./replica-log.ts"
import type { ReplicaEvents, ReplicaOptions, ReplicaParts } from "./replica-options.ts"
import { createOutbox, type Outbox } from "./replica-outbox.ts"
import { openCore } from "./replica-start.ts"
import { ReplicaTables } from "./replica-tables.ts"
import { type ProposalOutcome, Proposals } from "./replica-proposals.ts"
import { Waiters } from "./replica-waiters.ts"
import { receiveSnapshot } from "./snapshots.ts"

const hintTurnMs = 25
const hintJitterMs = 5

/** One open replica. Every method is synchronous up to the raft core; durable work follows by itself. */
export class Replica {
  readonly clusterId: string
  readonly memberId: number
  readonly #options: ReplicaOptions
  readonly #parts: ReplicaParts
  readonly #raft: Raft
  readonly #proposals = new Proposals()
  readonly #waiters = new Waiters()
  readonly #tables: ReplicaTables
  readonly #log: LogDriver
  readonly #leading: Leading
  readonly #send: Outbox
  #pumping = false
  #scheduled = false
  #stopped = false
  #tick: { cancel(): void } | undefined
  #readSequence = 0
  #hintedTerm = 0

  private constructor(input: {
    options: ReplicaOptions
    parts: ReplicaParts
    events: ReplicaEvents
    core: Awaited<ReturnType<typeof openCore>>
  }) {
    const { options, parts, core, events } = input
    const { clusterId, memberId, timing } = options
    const failed = (error: Error): void => this.#fatal(74, error)
    this.#options = options
    this.clusterId = clusterId
    this.memberId = memberId
    this.#parts = parts
    this.#leading = new Leading({ events, lost: (error) => this.#fail(error) })
    this.#raft = core.raft
    this.#tables = new ReplicaTables({
      stores: parts,
      memory: core.memory,
      start: core.applied,
      limits: options.logLimits,
      change: (change) => core.raft.applyConfChange(change),
      applied: (entry, applied) => {
        this.#proposals.settle(entry, applied.results, () => this.#notLeader())
        events.applied(entry.index, applied)
      },
      failed,
    })
    this.#log = new LogDriver({
      log: parts.log,
      memory: core.memory,
      clock: parts.clock,
      stallMs: 2 * timing.electionTicks * timing.tickMs,
      install: async (meta) => {
        await this.#tables.install(meta)
        events.reset()
      },
      input: (work) => this.#input(work),
      deliver: (response) => this.#deliver(response),
      failed,
    })
    this.#send = createOutbox({
      parts,
      clusterId,
      memberId,
      peerOf: (id) => this.peerOf(id),
      unreachable: (id) => this.#input(() => this.#raft.reportUnreachable(id)),
      snapshotSent: (id, ok) => this.#input(() => this.#raft.reportSnapshot(id, ok)),
    })
  }

  /** Opens log and tables, repairs tables from the snapshot where they are behind or broken, starts ticking. */
  static async open(
    options: ReplicaOptions,
    parts: ReplicaParts,
    events: ReplicaEvents,
  ): Promise<Replica> {
    const core = await openCore(options, parts)
    const replica = new Replica({ options, parts, events, core })
    await replica.#tables.load()
    replica.#start()
    return replica
  }

  #start(): void {
    this.#tick = this.#parts.clock.every(this.#options.timing.tickMs, () => {
      // A disk that hangs must not keep its leader in office nor make it a candidate (C-24).
      if (!this.#log.isStalled()) this.#input(() => this.#raft.tick())
    })
    this.#campaignIfAlone()
    this.#schedule()
  }

  /** The only voter has nobody to wait for. */
  #campaignIfAlone(): void {
    const { voters, votersOutgoing } = this.#tables.applied.confState
    const alone = voters.length === 1 && voters[0] === this.memberId && votersOutgoing.length === 0
    if (alone && this.leader === 0) this.#raft.campaign()
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#tick?.cancel()
    this.#leading.end()
    this.#tables.close()
    this.#fail(new TroupeError("ERR_STOPPED", "this node is stopping", { what: "replica" }))
    await this.#log.settled()
    await this.#tables.settled()
    await this.#parts.log.close()
    await this.#parts.tables.close()
  }

  // ---------------------------------------------------------------- inputs

  handleFrame(from: string, frame: Uint8Array): void {
    const envelope = decodeFrame(frame)
    if (envelope.clusterId !== this.clusterId || envelope.to !== this.memberId) return
    const sender = this.peerOf(envelope.from)
    if (sender?.peerId !== from) return
    // Nobody speaks for another member, and a snapshot comes by its own stream.
    if (envelope.message.from !== envelope.from || envelope.message.type === "MsgSnap") return
    this.#input(() => this.#raft.step(envelope.message))
    if (envelope.message.type === "MsgAppResp") this.#waiters.wakeCopies()
  }

  /** A snapshot's rows have arrived beside the core: hand it the message that announces them. */
  async handleSnapshot(
    header: Uint8Array,
    chunks: AsyncIterable<Uint8Array>,
    from: string,
  ): Promise<void> {
    const envelope = decodeFrame(header)
    if (envelope.clusterId !== this.clusterId || envelope.to !== this.memberId) return
    const sender = this.peerOf(envelope.from)
    if (sender && sender.peerId !== from) return
    await receiveSnapshot(this.#parts, envelope.message, chunks)
    this.#input(() => this.#raft.step(envelope.message))
  }

  /** Resolves once applied. ERR_NOT_LEADER: surely not appended; ERR_UNKNOWN_OUTCOME: it may still happen. */
  propose(command: Command): Promise<ProposalOutcome> {
    const at = this.#parts.clock.now()
    const data = encodeEntries({ version: entryVersion, at, command }).map((part) => part.data)
    return new Promise((resolve, reject) => {
      if (this.#stopped || this.leader !== this.memberId) {
        reject(this.#notLeader())
        return
      }
      this.#proposals.add({ data, resolve, reject })
      this.#schedule()
    })
  }

  /** The change and the command that its application also applies travel in one entry. */
  proposeConfChange(change: Omit<ConfChange, "context">, command: Command): "ok" | "dropped" {
    let result: "ok" | "dropped" = "dropped"
    const context = encodeEntry({ version: entryVersion, at: this.#parts.clock.now(), command })
    this.#input(() => {
      result = this.#raft.proposeConfChange({ ...change, context })
    })
    return result
  }

  /** ReadIndex: after it, the tables hold everything that was committed when it was asked. Leader only. */
  async readBarrier(signal: AbortSignal): Promise<void> {
    if (!this.isLeading()) throw this.#notLeader()
    const context = `${this.term}.${this.#readSequence++}`
    const ask = (): void => this.#input(() => this.#raft.readIndex(Buffer.from(context)))
    const index = await this.#waiters.read(context, ask, signal)
    if (this.applied.index < index) await this.#waiters.applied(index, signal)
  }

  /** Waits until `wanted` replicas hold `index`, at most `ms`; answers how many do. */
  async waitCopies(index: number, wanted: number, ms: number): Promise<number> {
    const deadline = this.#parts.clock.boottime() + ms
    for (;;) {
      const copies = this.copies(index)
      const left = deadline - this.#parts.clock.boottime()
      if (copies >= wanted || left <= 0 || this.#stopped) return copies
      await new Promise<void>((resolve) => {
        const done = (): void => {
          timer.cancel()
          forget()
          resolve()
        }
        const timer = this.#parts.clock.after(left, done)
        const forget = this.#waiters.onCopies(done)
      })
    }
  }

  copies(index: number): number {
    return this.#raft.status().progress.filter((peer) => peer.match >= index).length
  }

  transferLeadership(to: number): void {
    this.#input(() => this.#raft.transferLeadership(to))
  }

  /** The leader's process is surely dead: no connection is left and a redial was refused. One hint a term. */
  leaderIsDead(): void {
    if (this.leader === 0 || this.isLeading() || this.#hintedTerm === this.term) return
    const dead = this.leader
    this.#hintedTerm = this.term
    this.#input(() => this.#raft.forgetLeader())
    const survivors = this.#tables.applied.confState.voters.filter((id) => id !== dead)
    const rank = survivors.indexOf(this.memberId)
    if (rank < 0) return
    const { term } = this
    // The survivors notice within a millisecond of each other: in turns they do not split the vote.
    const wait = rank * hintTurnMs + this.#parts.random.next() * hintJitterMs
    this.#parts.clock.after(wait, () => {
      if (this.leader === 0 && this.term === term) this.#input(() => this.#raft.campaign())
    })
  }

  // ---------------------------------------------------------------- views

  status(): RaftStatus {
    return this.#raft.status()
  }

  progress(): readonly ProgressView[] {
    return this.#raft.status().progress
  }

  get leader(): number {
    return this.#leading.leader
  }

  get term(): number {
    return this.#leading.term
  }

  get tables(): Tables {
    return this.#tables.view
  }

  get applied(): LogMark {
    return this.#tables.applied
  }

  fsyncP99Ms(): number {
    return this.#parts.log.stats().fsyncP99Ms
  }

  isLeading(): boolean {
    return this.#leading.isOwn
  }

  peerOf(id: number): PeerRef | undefined {
    return readMember(this.tables, id) ?? this.#options.roster(id)
  }

  // ---------------------------------------------------------------- the pump

  #input(run: () => void): void {
    if (this.#stopped) return
    this.#guard(run)
    this.#schedule()
  }

  /** A broken invariant stops the node rather than going on with it. */
  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (error instanceof TroupeError) throw error
      this.#fatal(error instanceof UnknownVersionError ? 76 : 70, error as Error)
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#pumping) return
    this.#scheduled = true
    // Whatever comes in the same turn goes into the same writes and frames.
    this.#parts.clock.soon(() => {
      this.#scheduled = false
      this.#guard(() => this.#pump())
    })
  }

  #pump(): void {
    this.#pumping = true
    try {
      this.#proposals.hand(this.#raft, () => this.#notLeader())
      while (!this.#stopped && this.#raft.hasReady()) this.#handle(this.#raft.ready())
    } finally {
      this.#pumping = false
    }
  }

  #handle(ready: Ready): void {
    if (ready.softState || ready.hardState) this.#leading.note(this.#raft.status())
    for (const { index, context } of ready.readStates) {
      this.#waiters.confirmRead(Buffer.from(context).toString(), index)
    }
    for (const message of ready.messages) {
      if (message.to === appendThread) this.#log.store(message)
      else if (message.to === applyThread) this.#apply(message)
      else this.#send(message)
    }
  }

  #deliver(message: Message): void {
    if (message.to === this.memberId) this.#raft.step(message)
    else this.#send(message)
  }

  #apply(message: Message): void {
    this.#tables.apply(message.entries ?? [])
    for (const response of message.responses ?? []) this.#deliver(response)
    this.#waiters.wakeApplied(this.applied.index)
    this.#leading.begin(this.applied.index)
    this.#campaignIfAlone()
  }

  #fail(error: Error): void {
    this.#proposals.fail(error)
    this.#waiters.fail(error)
  }

  #notLeader(): TroupeError<"ERR_NOT_LEADER"> {
    const leader = this.leader === 0 ? undefined : this.peerOf(this.leader)?.peerId
    return new TroupeError("ERR_NOT_LEADER", "this node does not lead", { leader })
  }

  #fatal(exitCode: 70 | 74 | 76, error: Error): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#tick?.cancel()
    this.#tables.close()
    this.#leading.end()
    this.#parts.fatal(exitCode, error)
  }
}

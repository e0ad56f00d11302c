/** This node's copy of the consensus log and tables: drives the raft core over WAL, mesh and tables. */
import {
  appendThread,
  applyThread,
  type ConfChange,
  type MemoryStorage,
  type Message,
  type ProgressView,
  type Raft,
  type RaftStatus,
  type Ready,
} from "../consensus/index.ts"
import { type PeerRef, TroupeError } from "../schema/index.ts"
import {
  activeVersion,
  type Command,
  readMember,
  readSession,
  type Tables,
  type View,
} from "../state/index.ts"
import {
  decodeFrame,
  encodeEntries,
  encodeEntry,
  entryVersionOf,
  type LogMark,
  UnknownVersionError,
} from "../wire/index.ts"
import { Boots, type BootTag, bootTag } from "./boots.ts"
import type { HeldChunks } from "./parts.ts"
import { LostLeader } from "./lost-leader.ts"
import type { Need, Pace } from "./patience.ts"
import { Leading, successorOf } from "./replica-leading.ts"
import { LogDriver } from "./replica-log.ts"
import type { ReplicaEvents, ReplicaOptions, ReplicaParts } from "./replica-options.ts"
import { createOutbox, type Outbox } from "./replica-outbox.ts"
import { ReplicaPace } from "./replica-pace.ts"
import { openCore } from "./replica-start.ts"
import { ReplicaTables } from "./replica-tables.ts"
import { type ProposalOutcome, Proposals } from "./replica-proposals.ts"
import { Waiters } from "./replica-waiters.ts"
import { RoundTrips } from "./round-trips.ts"
import { Tally } from "./tally.ts"

/** Version of entries since which frames name the start of their sender. */
const bootsSince = 2

/** The index at which the tables were put aside, until those that were made again are confirmed beyond it. */
const quarantinedKey = "quarantined"

/** One open replica. Every method is synchronous up to the raft core; durable work follows by itself. */
export class Replica {
  readonly clusterId: string
  readonly memberId: number
  readonly #options: ReplicaOptions
  readonly #parts: ReplicaParts
  readonly #raft: Raft
  readonly #memory: MemoryStorage
  readonly #proposals = new Proposals()
  readonly #waiters = new Waiters()
  readonly #tables: ReplicaTables
  readonly #log: LogDriver
  readonly #leading: Leading
  readonly #send: Outbox
  readonly #events: ReplicaEvents
  readonly #boots = new Boots()
  readonly #boot: BootTag
  #pumping = false
  #scheduled = false
  #stopped = false
  readonly #pace: ReplicaPace
  readonly tally = new Tally()
  readonly roundTrips = new RoundTrips()
  readonly lostLeader = new LostLeader()
  #readSequence = 0
  #wasStalled = false

  private constructor(input: {
    options: ReplicaOptions
    parts: ReplicaParts
    events: ReplicaEvents
    core: Awaited<ReturnType<typeof openCore>>
  }) {
    const { options, parts, core, events } = input
    const { clusterId, memberId, timing } = options
    const { clock, logger } = parts
    const failed = (error: Error): void =>
      this.#fatal(error instanceof UnknownVersionError ? 76 : 74, error)
    this.#options = options
    this.#events = events
    this.#boot = bootTag(options.boot)
    this.clusterId = clusterId
    this.memberId = memberId
    this.#parts = parts
    this.#leading = new Leading({ events, lost: (error) => this.#fail(error) })
    this.#raft = core.raft
    this.#memory = core.memory
    this.#tables = new ReplicaTables({
      stores: parts,
      memory: core.memory,
      start: core.applied,
      limits: options.logLimits,
      versions: options.versions,
      clock: parts.clock,
      later: (run) => void parts.clock.after(0, run),
      diverged: (error) => void this.#quarantine(error),
      confirmed: (index) => void this.#isRight(index),
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
      clock,
      ticks: () => this.#pace.ticks,
      stallTicks: () => this.#pace.electionTicks,
      appended: (now, ms) => this.tally.appended(now, ms),
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
      boot: () => (activeVersion(this.tables) >= bootsSince ? this.#boot : 0),
      peerOf: (id) => this.peerOf(id),
      unreachable: (id) => this.#input(() => this.#raft.reportUnreachable(id)),
      snapshotSent: (id, index, delivery) => {
        const ok = delivery === "delivered"
        this.tally.shipped(ok)
        if (delivery === "unreadable") this.#renewSnapshot(index)
        this.#input(() => this.#raft.reportSnapshot(id, ok))
      },
      isMuted: () => this.#log.isStalled(),
      sentHeartbeat: (id) => this.roundTrips.sent(id, clock.boottime()),
    })
    this.#pace = new ReplicaPace({
      clock,
      logger,
      timing,
      raft: this.#raft,
      isDiskStalled: () => this.#isDiskStalled(),
      needs: (now) => this.#needs(now),
      input: (work) => this.#input(work),
      woke: (gapMs) => {
        logger.warn("this process stood still", { gapMs: Math.round(gapMs) })
        this.roundTrips.interrupted()
        this.#waiters.failReads()
        events.woke(gapMs)
      },
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
    try {
      await replica.#tables.load()
    } catch (error) {
      if (!(error instanceof UnknownVersionError)) throw error
      replica.#fatal(76, error)
      throw new TroupeError("ERR_NEWER_CLUSTER", error.message, { reason: error.message })
    }
    replica.#start()
    return replica
  }

  #start(): void {
    this.#pace.start()
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
    this.#pace.stop()
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
    if (!this.isCurrent(envelope.from, envelope.boot ?? 0)) return
    if (!this.#isTrue(envelope.message, envelope.boot ?? 0)) return
    const { type } = envelope.message
    if (type === "MsgHeartbeatResp") {
      this.roundTrips.answered(envelope.from, this.#parts.clock.boottime())
    }
    this.#input(() => this.#raft.step(envelope.message))
    if (type === "MsgAppResp") this.#waiters.wakeCopies()
  }

  /** Whether a member speaks as the start of it that is known; one on an older copy of its disk is told. */
  isCurrent(id: number, boot: BootTag): boolean {
    const reason = this.#boots.refusal(id, boot, readSession(this.tables, id)?.boot)
    if (reason !== undefined) this.#tell(id, boot, reason)
    return reason === undefined
  }

  #tell(memberId: number, boot: BootTag, reason: string): void {
    const peer = this.peerOf(memberId)
    if (!peer || !this.#boots.mayTell(memberId, this.#parts.clock.boottime())) return
    this.#parts.logger.warn("a member is not what it was", { memberId, reason })
    this.#events.outdated(peer, { memberId, boot, reason })
  }

  /** False: one side of this message has lost what it had acknowledged, so nothing may follow from it. */
  #isTrue(message: Message, boot: BootTag): boolean {
    const { type, from, term = 0, commit = 0, index = 0, reject = false } = message
    const { term: ours, lastIndex } = this.#raft.status()
    // A leader names to each member only what that member had acknowledged to it in this term.
    if (type === "MsgHeartbeat" && term >= ours && commit > lastIndex) {
      this.#lose(`the leader knows that ${commit} was durable here, the log ends at ${lastIndex}`)
      return false
    }
    if (type !== "MsgAppResp" || term !== ours || this.leader !== this.memberId) return true
    if (!reject) {
      this.#boots.acknowledged(from, { term, boot, index })
      return true
    }
    const reason = this.#boots.lost(from, { term, boot, index: message.rejectHint ?? 0 })
    if (reason !== undefined) this.#tell(from, boot, reason)
    return reason === undefined
  }

  #lose(reason: string): void {
    if (this.#stopped) return
    this.#end()
    const close = async (): Promise<void> => {
      await this.#log.settled()
      await this.#tables.settled()
      await this.#parts.log.close()
      await this.#parts.tables.close()
      this.#events.lost(reason)
    }
    close().catch((error: unknown) => this.#parts.fatal(74, error as Error))
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
    const envelope = decodeFrame(header)
    if (envelope.clusterId !== this.clusterId || envelope.to !== this.memberId) return
    const sender = this.peerOf(envelope.from)
    if (sender && sender.peerId !== from.peerId) return
    if (!this.isCurrent(envelope.from, envelope.boot ?? 0)) return
    await this.#parts.snapshots.receive(envelope.message.snapshot!.meta, chunks, from.chunk)
    this.tally.snapshotsReceived++
    this.#input(() => this.#raft.step(envelope.message))
  }

  /** Resolves once applied. ERR_NOT_LEADER: surely not appended; ERR_UNKNOWN_OUTCOME: it may still happen. */
  propose(command: Command): Promise<ProposalOutcome> {
    const at = this.#parts.clock.now()
    const version = entryVersionOf(command, activeVersion(this.tables))
    if (version === undefined) return Promise.reject(notUnderstood(command))
    const data = encodeEntries({ version, at, command }).map((part) => part.data)
    return new Promise((resolve, reject) => {
      if (this.#stopped || this.leader !== this.memberId) {
        reject(this.#notLeader())
        return
      }
      this.tally.proposals++
      this.#proposals.add({ data, resolve, reject })
      this.#schedule()
    })
  }

  /** The change and the command that its application also applies travel in one entry. */
  proposeConfChange(change: Omit<ConfChange, "context">, command: Command): "ok" | "dropped" {
    let result: "ok" | "dropped" = "dropped"
    const version = entryVersionOf(command, activeVersion(this.tables))
    if (version === undefined) throw notUnderstood(command)
    const context = encodeEntry({ version, at: this.#parts.clock.now(), command })
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
    this.#input(() => this.#raft.forgetLeader())
    if (turn < 0) return
    clock.after(wait, () => {
      if (this.leader === 0 && this.term === term) this.#input(() => this.#raft.campaign())
    })
  }

  /** What this peer had not answered is lost with its connection. */
  connectionLost(peerId: string): void {
    this.roundTrips.interrupted((id) => this.peerOf(id)?.peerId === peerId)
  }

  // ---------------------------------------------------------------- timeouts

  /** The election timeout that counts now. */
  get pace(): Pace {
    return this.#pace.pace
  }

  /** How often nothing ran here for longer than half of it. */
  get gaps(): number {
    return this.#pace.gaps
  }

  /** Of other voters, at their leader; true when the timeout grew and must be announced. */
  hearNeeds(needs: readonly Need[]): boolean {
    return this.#pace.hear(needs)
  }

  /** The leader of this term asks for this patience. */
  follow(term: number, pace: Pace): void {
    if (term === this.term && !this.isLeading()) this.#pace.follow(pace)
  }

  #needs(now: number): readonly Need[] {
    const trips = this.roundTrips.view(now).map(({ id, p99Ms }) => {
      return { what: `round trip to ${readMember(this.tables, id)?.name ?? id}`, p99Ms }
    })
    const { p99Ms } = this.#parts.loop.delay()
    return [{ what: "loop delay", p99Ms }, { what: "fsync", p99Ms: this.fsyncP99Ms() }, ...trips]
  }

  /** Looked at with every tick: a leader whose disk hangs lets another one lead. */
  #isDiskStalled(): boolean {
    const isStalled = this.#log.isStalled()
    if (isStalled && !this.#wasStalled) {
      this.tally.diskStalls++
      this.#parts.logger.warn("the log's disk hangs", { ...this.#log.pending() })
      this.handOver()
    }
    this.#wasStalled = isStalled
    return isStalled
  }

  // ---------------------------------------------------------------- views

  /** End of what is durable here. */
  last(): { readonly term: number; readonly index: number } {
    const index = this.#memory.lastIndex()
    const term = this.#memory.term(index)
    return { index, term: typeof term === "number" ? term : 0 }
  }

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

  /** A view that has all rows of this run: those of finished runs are on disk only. */
  async viewOf(run: string): Promise<View> {
    return await this.#tables.viewOf(run)
  }

  /** Keys of rows below a prefix as they are on disk, which is as far as was applied when it was asked, or further. */
  keysOnDisk(prefix: string): AsyncIterable<string> {
    return this.#tables.keysOnDisk(prefix)
  }

  /** Own hash of all rows after the entry `index`, which asked for it; undefined when it is not known here (any more). */
  async hashAt(index: number, signal: AbortSignal): Promise<string | undefined> {
    if (this.applied.index < index) await this.#waiters.applied(index, signal)
    return await this.#tables.hashAt(index)
  }

  get applied(): LogMark {
    return this.#tables.applied
  }

  /** Of the last moments; what was slow an hour ago is not slow now. */
  fsyncP99Ms(): number {
    const recent = this.tally.recentAppends.p99(this.#parts.clock.boottime())
    return Math.min(recent, this.#parts.log.stats().fsyncP99Ms)
  }

  logBytes(): number {
    return this.#parts.log.stats().bytes
  }

  /** What waits here: batches for the disk, proposals and reads for their answers. */
  waiting(): ReturnType<LogDriver["pending"]> & {
    readonly proposals: number
    readonly reads: number
  } {
    const { size: proposals } = this.#proposals
    return { ...this.#log.pending(), proposals, reads: this.#waiters.reads }
  }

  isLeading(): boolean {
    return this.#leading.isOwn
  }

  /** Undefined also of a member whose node is another member now. */
  peerOf(id: number): PeerRef | undefined {
    const peer = readMember(this.tables, id) ?? this.#options.roster(id)
    return peer?.peerId === "" ? undefined : peer
  }

  /** The tag of this start, by which others tell it from earlier ones. */
  get boot(): BootTag {
    return this.#boot
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
      this.#proposals.hand(this.#raft, () => {
        this.tally.proposalsRefused++
        return this.#notLeader()
      })
      while (!this.#stopped && this.#raft.hasReady()) this.#handle(this.#raft.ready())
    } finally {
      this.#pumping = false
    }
  }

  #handle(ready: Ready): void {
    if (ready.softState || ready.hardState) this.#note(this.#raft.status())
    for (const { index, context } of ready.readStates) {
      this.#waiters.confirmRead(Buffer.from(context).toString(), index)
    }
    for (const message of ready.messages) {
      if (message.to === appendThread) this.#log.store(message)
      else if (message.to === applyThread) this.#apply(message)
      else this.#send(message)
    }
  }

  #note(status: RaftStatus): void {
    const wasLeader = this.leader === this.memberId
    this.tally.note(status)
    this.#leading.note(status)
    this.lostLeader.heard({ leader: status.lead, term: status.term })
    const isLeader = status.raftState === "StateLeader"
    if (isLeader === wasLeader) return
    this.roundTrips.clear()
    if (isLeader) this.#pace.lead()
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

  /** This copy is wrong (C-29). It is put aside, and the next start makes it again from snapshot and log. When that has
   *  been done and it is wrong again, the snapshot is wrong too: then everything comes from the others. */
  async #quarantine(error: Error): Promise<void> {
    if (this.#stopped) return
    const { local, tables, fatal } = this.#parts
    try {
      if ((await local.get(quarantinedKey)) !== undefined) {
        await local.delete(quarantinedKey)
        this.#lose(error.message)
        return
      }
      this.#end()
      await this.#log.settled()
      await this.#tables.settled()
      await local.put(quarantinedKey, this.applied.index)
      await tables.setAside()
      fatal(70, error)
    } catch (cause) {
      fatal(74, cause as Error)
    }
  }

  /** Checkpoints from before the quarantine are applied again with the log, and say nothing. */
  async #isRight(index: number): Promise<void> {
    const { local } = this.#parts
    try {
      const quarantined = (await local.get(quarantinedKey)) as number | undefined
      if (quarantined !== undefined && index > quarantined) await local.delete(quarantinedKey)
    } catch (error) {
      this.#fatal(74, error as Error)
    }
  }

  #fatal(exitCode: 70 | 74 | 76, error: Error): void {
    if (this.#stopped) return
    this.#end()
    this.#parts.fatal(exitCode, error)
  }

  #end(): void {
    this.#stopped = true
    this.#pace.stop()
    this.#tables.close()
    this.#leading.end()
  }
}

function notUnderstood({ type }: Command): TroupeError<"ERR_UNSUPPORTED"> {
  const what = `'${type}' while a voter or standby runs an older troupe: update it first`
  return new TroupeError("ERR_UNSUPPORTED", `this cluster cannot ${what}`, { what })
}

/** This node's copy of the consensus log and tables: drives the raft core over WAL, mesh and tables. */
import {
  appendThread,
  applyThread,
  type ConfChange,
  createMemoryStorage,
  createRaft,
  decodeConfChange,
  type Entry,
  type MemoryStorage,
  type Message,
  type ProgressView,
  type Raft,
  type RaftStatus,
  type Ready,
} from "../consensus/index.ts"
import { type PeerRef, TroupeError } from "../schema/index.ts"
import {
  type Applied,
  apply,
  type Command,
  createTables,
  type ItemResult,
  readMember,
  type StateEvent,
  type Tables,
  type Write,
} from "../state/index.ts"
import {
  decodeEntry,
  decodeFrame,
  encodeEntries,
  encodeEntry,
  encodeFrame,
  entryVersion,
  type LogMark,
  UnknownVersionError,
} from "../wire/index.ts"
import type { LogLimits } from "./options.ts"
import type { Parts, ReplicaStores } from "./parts.ts"
import { emptyMark, foundingEntry, openTables } from "./replica-start.ts"
import { createSnapshotSender, receiveSnapshot } from "./snapshots.ts"
import type { Timing } from "./timing.ts"

export interface ReplicaOptions {
  readonly clusterId: string
  readonly memberId: number
  readonly timing: Timing
  /** A new cluster of one: this command becomes entry 1. */
  readonly genesis?: Command
  /** Addresses of members before the tables are here (a fresh learner knows the roster of its admission). */
  readonly roster: (id: number) => PeerRef | undefined
  readonly logLimits?: LogLimits | undefined
}

export interface ReplicaEvents {
  /** After each applied entry, in order. */
  applied(index: number, applied: Applied): void
  /** Leading is only said once an entry of the own term is applied. */
  leading(term: number, signal: AbortSignal): void
  leaderChanged(leader: number, term: number): void
  /** Everything was replaced by a snapshot. */
  reset(): void
}

interface Waiter {
  readonly term: number
  resolve(value: { index: number; results: readonly ItemResult[] }): void
  reject(error: Error): void
}

export type ReplicaParts = Parts & ReplicaStores

const logLimitsDefault: LogLimits = { snapshotBytes: 64 << 20, entriesKept: 10_000 }
const readsMax = 10_000
const hintTurnMs = 25
const hintJitterMs = 5

/** One open replica. Every method is synchronous up to the raft core; durable work follows by itself. */
export class Replica {
  readonly clusterId: string
  readonly memberId: number
  readonly tables: Tables
  readonly #options: ReplicaOptions
  readonly #parts: ReplicaParts
  readonly #events: ReplicaEvents
  readonly #raft: Raft
  readonly #memory: MemoryStorage
  readonly #proposals = new Map<number, Waiter>()
  readonly #reads = new Map<string, { resolve(index: number): void; reject(error: Error): void }>()
  readonly #appliedWaiters = new Set<{ index: number; resolve(): void }>()
  readonly #copyWaiters = new Set<() => void>()
  readonly #limits: LogLimits
  readonly #sendSnapshot: (to: PeerRef, message: Message) => Promise<boolean>
  #applied: LogMark
  #pumping = false
  #scheduled = false
  #stopped = false
  #leader = 0
  #term = 0
  /** First index that this leadership proposed: once applied, it leads in earnest. */
  #barrier = 0
  #leading: AbortController | undefined
  #tick: { cancel(): void } | undefined
  #readSequence = 0
  #hintedTerm = 0
  #storing: Promise<void> = Promise.resolve()
  /** Boot-time clock of each batch that is not durable yet, oldest first. */
  readonly #pendingSince: number[] = []
  #writing: Promise<void> = Promise.resolve()
  #snapshotting = false

  private constructor(input: {
    options: ReplicaOptions
    parts: ReplicaParts
    events: ReplicaEvents
    raft: Raft
    memory: MemoryStorage
    tables: Tables
    applied: LogMark
  }) {
    this.#options = input.options
    this.clusterId = input.options.clusterId
    this.memberId = input.options.memberId
    this.#parts = input.parts
    this.#events = input.events
    this.#raft = input.raft
    this.#memory = input.memory
    this.tables = input.tables
    this.#applied = input.applied
    this.#limits = input.options.logLimits ?? logLimitsDefault
    this.#sendSnapshot = createSnapshotSender(input.parts, (message) => this.#frame(message))
  }

  /** Opens log and tables, repairs tables from the snapshot where they are behind or broken, starts ticking. */
  static async open(
    options: ReplicaOptions,
    parts: ReplicaParts,
    events: ReplicaEvents,
  ): Promise<Replica> {
    const log = await parts.log.open({ clusterId: options.clusterId, memberId: options.memberId })
    let mark = await openTables(parts, log.mark)
    if (options.genesis && log.hardState.term === 0 && log.entries.length === 0) {
      const founding = foundingEntry(options, parts)
      const hardState = { term: 1, vote: 0, commit: 1 }
      await parts.log.append({ hardState, entries: [founding] })
      log.hardState = hardState
      log.entries = [founding]
    }
    const applied: LogMark = mark ?? emptyMark
    const memory = createMemoryStorage({
      hardState: { ...log.hardState, commit: Math.max(log.hardState.commit, applied.index) },
      confState: applied.confState,
      mark: log.mark,
      entries: log.entries,
    })
    const last = log.mark.index + log.entries.length
    // What a lagging follower is sent: the snapshot on disk, which may be newer than where the log begins. One past the
    // log's end was received just before a crash: the leader sends it again.
    const snapshot = await parts.snapshots.latest()
    if (snapshot && snapshot.index <= last) memory.createSnapshot(snapshot)
    if (applied.index > last) {
      throw new TroupeError(
        "ERR_LOG_CORRUPT",
        `the tables are at index ${applied.index} but the log ends at ${last}: entries that were durable are gone; ` +
          "move the data directory away and start again to rejoin as a new member",
        { file: "raft/wal", offset: 0, reason: "log ends before the applied index" },
      )
    }
    const tables = createTables()
    for await (const [key, value] of parts.tables.rows()) {
      tables.commit([{ key, value: JSON.parse(value) as unknown }])
    }
    const { timing } = options
    const raft = createRaft(
      {
        id: options.memberId,
        electionTicks: timing.electionTicks,
        heartbeatTicks: timing.heartbeatTicks,
        applied: applied.index,
        asyncStorageWrites: true,
        maxSizePerMsg: 256 << 10,
        maxCommittedSizePerReady: 1 << 20,
        maxUncommittedEntriesSize: 16 << 20,
        maxInflightMsgs: 64,
        maxInflightBytes: 4 << 20,
        checkQuorum: true,
        preVote: true,
        stepDownOnRemoval: true,
        disableConfChangeValidation: false,
        random: () => parts.random.next(),
      },
      memory,
    )
    const replica = new Replica({ options, parts, events, raft, memory, tables, applied })
    replica.#start()
    return replica
  }

  #start(): void {
    this.#tick = this.#parts.clock.every(this.#options.timing.tickMs, () => {
      // A disk that hangs must not keep its leader in office nor make it a candidate (C-24).
      if (!this.#isDiskStalled()) this.#input(() => this.#raft.tick())
    })
    this.#campaignIfAlone()
    this.#schedule()
  }

  #isDiskStalled(): boolean {
    const { electionTicks, tickMs } = this.#options.timing
    const [oldest] = this.#pendingSince
    return (
      oldest !== undefined && this.#parts.clock.boottime() - oldest > 2 * electionTicks * tickMs
    )
  }

  /** The only voter has nobody to wait for. */
  #campaignIfAlone(): void {
    const { voters, votersOutgoing } = this.#applied.confState
    const alone = voters.length === 1 && voters[0] === this.memberId && votersOutgoing.length === 0
    if (alone && this.#leader === 0) this.#raft.campaign()
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#tick?.cancel()
    this.#endLeading()
    this.#failWaiters(new TroupeError("ERR_STOPPED", "this node is stopping", { what: "replica" }))
    await this.#storing.catch(() => undefined) // Already told by fatal.
    await this.#writing.catch(() => undefined)
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
    if (envelope.message.type === "MsgAppResp") this.#wakeCopyWaiters()
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
  propose(command: Command): Promise<{ index: number; results: readonly ItemResult[] }> {
    const at = this.#parts.clock.now()
    const data = encodeEntries({ version: entryVersion, at, command }).map((part) => part.data)
    const results: ItemResult[] = []
    return new Promise((resolve, reject) => {
      if (this.#stopped) {
        reject(this.#notLeader())
        return
      }
      this.#input(() => {
        if (this.#raft.propose(data) === "dropped") {
          reject(this.#notLeader())
          return
        }
        const { lastIndex, term } = this.#raft.status()
        // A long command is several entries, applied in order: the last one answers for all.
        for (let index = lastIndex - data.length + 1; index <= lastIndex; index++) {
          const settle: Waiter["resolve"] = (part) => {
            results.push(...part.results)
            if (index === lastIndex) resolve({ index, results })
          }
          this.#proposals.set(index, { term, resolve: settle, reject })
        }
      })
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
    if (this.#reads.size >= readsMax) {
      throw new TroupeError("ERR_BUSY", "too many reads wait", { what: "reads", retryAfterMs: 100 })
    }
    const context = `${this.#term}.${this.#readSequence++}`
    const index = await abortable<number>(signal, (resolve, reject) => {
      this.#reads.set(context, { resolve, reject })
      this.#input(() => this.#raft.readIndex(Buffer.from(context)))
      return () => this.#reads.delete(context)
    })
    if (this.#applied.index >= index) return
    await abortable<void>(signal, (resolve) => {
      const waiter = { index, resolve }
      this.#appliedWaiters.add(waiter)
      return () => this.#appliedWaiters.delete(waiter)
    })
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
          this.#copyWaiters.delete(done)
          resolve()
        }
        const timer = this.#parts.clock.after(left, done)
        this.#copyWaiters.add(done)
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
    if (this.#leader === 0 || this.isLeading() || this.#hintedTerm === this.#term) return
    const dead = this.#leader
    this.#hintedTerm = this.#term
    this.#input(() => this.#raft.forgetLeader())
    const survivors = this.#applied.confState.voters.filter((id) => id !== dead)
    const rank = survivors.indexOf(this.memberId)
    if (rank < 0) return
    const term = this.#term
    // The survivors notice within a millisecond of each other: in turns they do not split the vote.
    const wait = rank * hintTurnMs + this.#parts.random.next() * hintJitterMs
    this.#parts.clock.after(wait, () => {
      if (this.#leader === 0 && this.#term === term) this.#input(() => this.#raft.campaign())
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
    return this.#leader
  }

  get term(): number {
    return this.#term
  }

  get applied(): LogMark {
    return this.#applied
  }

  fsyncP99Ms(): number {
    return this.#parts.log.stats().fsyncP99Ms
  }

  isLeading(): boolean {
    return this.#leading !== undefined
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
    queueMicrotask(() => {
      this.#scheduled = false
      this.#guard(() => this.#pump())
    })
  }

  #pump(): void {
    this.#pumping = true
    try {
      while (!this.#stopped && this.#raft.hasReady()) this.#handle(this.#raft.ready())
    } finally {
      this.#pumping = false
    }
  }

  #handle(ready: Ready): void {
    if (ready.softState || ready.hardState) this.#noteLeadership()
    for (const { index, context } of ready.readStates) {
      const key = Buffer.from(context).toString()
      this.#reads.get(key)?.resolve(index)
    }
    for (const message of ready.messages) {
      if (message.to === appendThread) this.#store(message)
      else if (message.to === applyThread) this.#apply(message)
      else this.#send(message)
    }
  }

  #noteLeadership(): void {
    const { lead, term, raftState, lastIndex } = this.#raft.status()
    const changed = lead !== this.#leader || term !== this.#term
    if (term !== this.#term || raftState !== "StateLeader") this.#endLeading()
    if (raftState === "StateLeader" && (this.#term !== term || this.#barrier === 0)) {
      this.#barrier = lastIndex
    }
    if (raftState !== "StateLeader") this.#barrier = 0
    this.#leader = lead
    this.#term = term
    if (changed) this.#events.leaderChanged(lead, term)
  }

  #beginLeading(): void {
    if (this.#leading || this.#barrier === 0 || this.#applied.index < this.#barrier) return
    this.#leading = new AbortController()
    this.#events.leading(this.#term, this.#leading.signal)
  }

  #endLeading(): void {
    this.#barrier = 0
    const error = new TroupeError(
      "ERR_UNKNOWN_OUTCOME",
      "the leader changed while this was under way; ask again with the same key",
      { hint: "retry with the same Idempotency-Key" },
    )
    this.#failWaiters(error)
    this.#leading?.abort(error)
    this.#leading = undefined
  }

  #failWaiters(error: Error): void {
    const waiters = [...this.#proposals.values(), ...this.#reads.values()]
    this.#proposals.clear()
    this.#reads.clear()
    for (const waiter of waiters) waiter.reject(error)
    this.#wakeCopyWaiters()
  }

  #wakeCopyWaiters(): void {
    for (const wake of this.#copyWaiters) wake()
  }

  // ---------------------------------------------------------------- storage

  /** Responses are stepped only after the batch is durable; batches are in order. */
  #store(message: Message): void {
    const { entries = [], snapshot, responses = [] } = message
    const hasState = (message.term ?? 0) > 0 || (message.commit ?? 0) > 0 || (message.vote ?? 0) > 0
    const hardState = hasState
      ? { term: message.term ?? 0, vote: message.vote ?? 0, commit: message.commit ?? 0 }
      : undefined
    this.#pendingSince.push(this.#parts.clock.boottime())
    const durable = this.#parts.log.append({ hardState, entries, snapshot: snapshot?.meta })
    const store = async (): Promise<void> => {
      await durable
      this.#pendingSince.shift()
      if (snapshot) await this.#install(snapshot.meta)
      this.#input(() => {
        if (snapshot) this.#memory.applySnapshot(snapshot)
        if (entries.length > 0) this.#memory.append(entries)
        if (hardState) this.#memory.setHardState(hardState)
        for (const response of responses) this.#deliver(response)
      })
    }
    // Chained: a snapshot's installation must end before a later batch answers.
    durable.catch(() => undefined) // Reported through the chain below.
    this.#storing = this.#storing.then(store)
    this.#storing.catch((error: Error) => this.#fatal(74, error))
  }

  #deliver(message: Message): void {
    if (message.to === this.memberId) this.#raft.step(message)
    else this.#send(message)
  }

  async #install(meta: LogMark): Promise<void> {
    await this.#writing
    await this.#parts.tables.replace(this.#parts.snapshots.rows(meta.index), meta)
    const rows: Write[] = []
    for await (const [key, value] of this.#parts.snapshots.rows(meta.index)) {
      rows.push({ key, value: JSON.parse(value) as unknown })
    }
    this.tables.clear()
    this.tables.commit(rows)
    this.#applied = meta
    this.#events.reset()
  }

  #apply(message: Message): void {
    const batch: Write[] = []
    let last: Entry | undefined
    for (const entry of message.entries ?? []) {
      // A snapshot that was installed meanwhile holds it already.
      if (entry.index <= this.#applied.index) continue
      batch.push(...this.#applyEntry(entry))
      last = entry
    }
    if (last) this.#persist(batch)
    for (const response of message.responses ?? []) this.#deliver(response)
    for (const waiter of this.#appliedWaiters) {
      if (waiter.index > this.#applied.index) continue
      this.#appliedWaiters.delete(waiter)
      waiter.resolve()
    }
    this.#beginLeading()
    this.#campaignIfAlone()
  }

  #applyEntry(entry: Entry): readonly Write[] {
    let confState = this.#applied.confState
    let applied: Applied = nothing
    if (entry.type === "EntryNormal") {
      if (entry.data.length > 0) applied = this.#run(entry, entry.data)
    } else {
      const change = decodeConfChange(entry.data)
      confState = this.#raft.applyConfChange(change)
      if (change.context.length > 0) applied = this.#run(entry, change.context)
    }
    this.tables.commit(applied.writes)
    this.#applied = { index: entry.index, term: entry.term, confState }
    this.#settle(entry, applied.results)
    this.#events.applied(entry.index, applied)
    return applied.writes
  }

  #run(entry: Entry, data: Uint8Array): Applied {
    const { version, at, command } = decodeEntry(data)
    return apply(this.tables, { index: entry.index, term: entry.term, version, at, command })
  }

  #settle(entry: Entry, results: readonly ItemResult[]): void {
    const waiter = this.#proposals.get(entry.index)
    if (!waiter) return
    this.#proposals.delete(entry.index)
    if (waiter.term === entry.term) waiter.resolve({ index: entry.index, results })
    else waiter.reject(this.#notLeader())
  }

  /** The rows follow the log to disk at leisure: after a crash the log is applied again from the stored mark. */
  #persist(writes: readonly Write[]): void {
    const mark = this.#applied
    const rows = writes.map(({ key, value }) => ({
      key,
      value: value === undefined ? undefined : JSON.stringify(value),
    }))
    void this.#write(() => this.#parts.tables.write(rows, mark, { sync: false }))
    if (this.#parts.log.stats().bytes > this.#limits.snapshotBytes) void this.#snapshot()
  }

  /** One table write after the other, in the order of the log. */
  #write(work: () => Promise<void>): Promise<void> {
    const written = this.#writing.then(work)
    this.#writing = written
    written.catch((error: Error) => this.#fatal(74, error))
    return written
  }

  async #snapshot(): Promise<void> {
    if (this.#snapshotting || this.#stopped) return
    this.#snapshotting = true
    try {
      // In line with the others: a mark that overtook its rows would lose them in a crash.
      const applied = this.#applied
      await this.#write(() => this.#parts.tables.write([], applied, { sync: true }))
      const { mark, rows } = await this.#parts.tables.view()
      await this.#parts.snapshots.create(mark, rows)
      const keep = Math.max(this.#memory.firstIndex(), mark.index - this.#limits.entriesKept)
      const term = this.#memory.term(keep)
      if (typeof term === "number") await this.#parts.log.compact({ ...mark, index: keep, term })
      this.#memory.createSnapshot(mark)
      this.#memory.compact({ index: keep })
      await this.#parts.snapshots.prune()
    } catch (error) {
      this.#fatal(74, error as Error)
    } finally {
      this.#snapshotting = false
    }
  }

  // ---------------------------------------------------------------- sending

  #frame(message: Message): Uint8Array {
    return encodeFrame({
      version: 1,
      clusterId: this.clusterId,
      incarnation: 0,
      to: message.to,
      from: this.memberId,
      message,
    })
  }

  #send(message: Message): void {
    const peer = this.peerOf(message.to)
    if (!peer) return
    if (message.type === "MsgSnap") {
      void this.#shipSnapshot(peer, message)
      return
    }
    if (!this.#parts.mesh.sendFrame(peer, this.#frame(message)) && message.type === "MsgApp") {
      // A dropped append must not leave the follower's progress optimistic.
      queueMicrotask(() => this.#input(() => this.#raft.reportUnreachable(message.to)))
    }
  }

  async #shipSnapshot(peer: PeerRef, message: Message): Promise<void> {
    const ok = await this.#sendSnapshot(peer, message)
    this.#input(() => this.#raft.reportSnapshot(message.to, ok))
  }

  #notLeader(): TroupeError<"ERR_NOT_LEADER"> {
    const leader = this.#leader === 0 ? undefined : this.peerOf(this.#leader)?.peerId
    return new TroupeError("ERR_NOT_LEADER", "this node does not lead", { leader })
  }

  #fatal(exitCode: 70 | 74 | 76, error: Error): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#tick?.cancel()
    this.#endLeading()
    this.#parts.fatal(exitCode, error)
  }
}

const nothing: Applied = { writes: [], events: [] as StateEvent[], results: [] }

/** A promise that ends by `settle` or by the signal, and cleans up either way. */
function abortable<T>(
  signal: AbortSignal,
  begin: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void,
): Promise<T> {
  signal.throwIfAborted()
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void => end(() => reject(signal.reason as Error))
    const end = (settle: () => void): void => {
      signal.removeEventListener("abort", aborted)
      cleanUp()
      settle()
    }
    const cleanUp = begin(
      (value) => end(() => resolve(value)),
      (error) => end(() => reject(error)),
    )
    signal.addEventListener("abort", aborted, { once: true })
  })
}

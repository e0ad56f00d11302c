/** One simulated node: the core, its log on a disk, its state machine, and the driver that joins them. */
import { Core } from "../../../src/consensus/core.ts"
import {
  appendThread,
  applyThread,
  createMemoryStorage,
  type Entry,
  type Id,
  type MemoryStorage,
  type Message,
  type Raft,
  type RaftConfig,
} from "../../../src/consensus/index.ts"
import { raftOf } from "../../../src/consensus/raft.ts"
import type { LogBatch } from "../../../src/wire/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Checks } from "./checks.ts"
import { SimDisk } from "./disk.ts"
import type { Elections } from "./elections.ts"
import { type Applied, Machine, type MachineState } from "./machine.ts"
import type { Profile } from "./profile.ts"
import { ShadowLog } from "./shadow-log.ts"

/** What a broken driver or disk does; the checks must notice each of them. */
export const mutants = [
  "answer-before-sync",
  "vote-not-written",
  "applied-apart",
  "wiped-disk",
  "local-read",
] as const
export type Mutant = (typeof mutants)[number]

/** What a member needs of the world around it. */
export interface Surroundings {
  readonly profile: Profile
  readonly checks: Checks
  readonly elections: Elections
  readonly mutant: Mutant | undefined
  readonly now: () => number
  /** Nothing goes wrong any more. */
  readonly isCalm: () => boolean
  readonly schedule: (delayMs: number, run: () => void) => void
  /** `state` travels beside a snapshot message. */
  readonly send: (message: Message, state: MachineState | undefined) => void
  readonly onApplied: (id: Id, entry: Entry, applied: Applied) => void
  readonly onDown: (id: Id, why: "disk error" | "crash") => void
  readonly note: (line: () => string) => void
}

/** A read that waits: for its index, then until that is applied. */
interface WaitingRead {
  readonly floor: number
  readonly onValues: ((registers: MachineState["registers"]) => void) | undefined
  index: number | undefined
}

interface Life {
  readonly core: Core
  readonly raft: Raft
  readonly storage: MemoryStorage
  readonly shadow: ShadowLog
  readonly applyQueue: Message[]
  readonly reads: Map<string, WaitingRead>
  isApplying: boolean
}

export const tickMs = 10
export const electionTicks = 10
/** A driver whose disk hangs for longer stops the clock of its core (C-24). */
const stallMsMax = 2 * electionTicks * tickMs

/** Small, so that every limit is met; a world's profile has the others. */
const limits = {
  electionTicks,
  heartbeatTicks: 3,
  asyncStorageWrites: true,
  maxUncommittedEntriesSize: 600,
  maxInflightBytes: 400,
  checkQuorum: true,
  preVote: true,
  stepDownOnRemoval: true,
  disableConfChangeValidation: false,
}

export class SimMember {
  readonly id: Id
  readonly #world: Surroundings
  readonly #random: SeededRandom
  readonly #start: MachineState
  #disk: SimDisk
  #machine: Machine
  /** Whole snapshots on this disk, by index. */
  readonly #snapshots = new Map<number, MachineState>()
  #newest: MachineState
  #life: Life | undefined
  #readCount = 0
  /** Frozen until then, as by SIGSTOP. */
  pausedUntil = 0
  lives = 0

  constructor(
    { id, start, random }: { id: Id; start: MachineState; random: SeededRandom },
    world: Surroundings,
  ) {
    this.id = id
    this.#world = world
    this.#random = random
    this.#start = start
    this.#newest = start
    this.#disk = this.#emptyDisk()
    this.#machine = new Machine(start)
    this.#snapshots.set(start.index, start)
  }

  #emptyDisk(): SimDisk {
    const { index, term, confState } = this.#start
    const { schedule, mutant, now, isCalm, profile } = this.#world
    const random = this.#random.fork()
    const times = {
      schedule,
      now,
      syncMs: (): number => {
        if (isCalm()) return 1
        const isStalled = random.chance(profile.stallChance)
        return random.below(isStalled ? profile.stallMsMax : profile.syncMsMax)
      },
      fails: (): boolean => random.chance(profile.diskErrorChance) && !isCalm(),
      onError: (): void => this.crash("disk error"),
    }
    return new SimDisk({ index, term, confState }, times, mutant)
  }

  get isAlive(): boolean {
    return this.#life !== undefined
  }

  get appliedIndex(): number {
    return this.#machine.state.index
  }

  /** What it has on disk and in memory, also while it is down. */
  get state(): MachineState {
    return this.#machine.state
  }

  /** The living core. */
  get raft(): Raft {
    if (!this.#life) throw new Error(`${this.id} is down`)
    return this.#life.raft
  }

  get isLeader(): boolean {
    return this.#life?.core.isLeader === true
  }

  start(): void {
    const { mark, entries, hardState } = this.#disk.recover()
    const received = this.#snapshots.get(mark.index)
    if (received && received.index > this.#newest.index) this.#newest = received
    if (this.#machine.state.index < mark.index) this.#machine.replace(this.#newest)
    const { index: applied, confState } = this.#machine.state
    const storage = createMemoryStorage({ hardState, mark, entries, confState })
    if (this.#newest.index >= mark.index) storage.createSnapshot(this.#newest)
    const { maxSizePerMsg, maxInflightMsgs, maxCommittedSizePerReady } = this.#world.profile.limits
    const config: RaftConfig = {
      ...limits,
      maxSizePerMsg,
      maxInflightMsgs,
      maxCommittedSizePerReady,
      id: this.id,
      applied,
      random: () => this.#random.next(),
    }
    const core = new Core(config, storage)
    const raft = raftOf(core)
    const shadow = new ShadowLog(mark.index, entries)
    this.lives++
    this.#life = {
      core,
      raft,
      storage,
      shadow,
      applyQueue: [],
      reads: new Map(),
      isApplying: false,
    }
    this.#world.note(
      () =>
        `${this.id} starts: term ${hardState.term} vote ${hardState.vote} commit ${hardState.commit} applied ${applied} log ${mark.index}+${entries.length}`,
    )
    this.#world.checks.appended(entries, core.log)
    this.#afterStep(this.#life)
  }

  crash(why: "disk error" | "crash" = "crash"): void {
    if (!this.#life) return
    const { mutant, note, elections } = this.#world
    this.#life = undefined
    elections.stopped(this.id)
    this.#disk.crash(this.#random)
    if (mutant === "applied-apart") this.#machine.skew()
    this.#machine.crash((unsynced) => this.#random.below(unsynced + 1))
    if (mutant === "wiped-disk") {
      this.#disk = this.#emptyDisk()
      this.#machine = new Machine(this.#start)
      this.#newest = this.#start
    }
    note(() => `${this.id} stops: ${why}`)
    this.#world.onDown(this.id, why)
  }

  /** Runs an input on the living core, then does what Ready asks. */
  input(act: (raft: Raft) => void): void {
    if (!this.#life) return
    act(this.#life.raft)
    this.#afterStep(this.#life)
  }

  tick(): void {
    if (this.#disk.waitsMs <= stallMsMax) this.input((raft) => raft.tick())
  }

  receive(message: Message, state: MachineState | undefined): void {
    if (state) this.#snapshots.set(state.index, state)
    this.input((raft) => raft.step(message))
  }

  /** Asks for a read that may not miss anything applied or read before now. */
  read(floor: number, onValues?: WaitingRead["onValues"]): void {
    const life = this.#life
    if (!life) return
    const key = `${this.id}.${this.lives}.${++this.#readCount}`
    const isLocal = this.#world.mutant === "local-read"
    const index = isLocal ? life.raft.status().commit : undefined
    life.reads.set(key, { floor, onValues, index })
    if (index !== undefined) this.#world.checks.read(this.id, index, floor)
    this.input((raft) => raft.readIndex(new TextEncoder().encode(key)))
  }

  #afterStep(life: Life): void {
    while (life.raft.hasReady()) this.#handleReady(life)
    const { checks, elections } = this.#world
    const { log } = life.core
    const status = life.raft.status()
    life.shadow.check(this.id, log, log.unstable.offset)
    elections.member(status, {
      entries: () =>
        log.applied < log.committed
          ? noneCompacted(log.slice(log.applied + 1, log.committed + 1, Infinity))
          : [],
    })
    checks.member(status, log)
  }

  #handleReady(life: Life): void {
    const { checks } = this.#world
    const { messages, readStates, entries, snapshot } = life.raft.ready()
    if (snapshot) life.shadow.restored(snapshot.meta.index)
    life.shadow.written(entries)
    checks.appended(entries, life.core.log)
    for (const { index, context } of readStates) {
      const key = new TextDecoder().decode(context)
      const read = life.reads.get(key)
      checks.read(this.id, index, read?.floor ?? 0)
      if (read) read.index = index
    }
    this.#answerReads(life)
    for (const message of messages) {
      for (const answer of message.responses ?? []) checks.answered(answer, life.core.term)
      if (message.to === appendThread) this.#write(life, message)
      else if (message.to === applyThread) life.applyQueue.push(message)
      else this.#send(message)
    }
    this.#applyNext(life)
  }

  #send(message: Message): void {
    this.#world.checks.sent(message)
    this.#world.send(message, this.#snapshots.get(message.snapshot?.meta.index ?? -1))
  }

  #answerReads({ reads }: Life): void {
    const { index: applied, registers } = this.#machine.state
    for (const [key, { index, onValues }] of reads) {
      if (index === undefined || index > applied) continue
      reads.delete(key)
      onValues?.(registers)
    }
  }

  #write(life: Life, message: Message): void {
    const { term = 0, vote = 0, commit = 0, entries = [], snapshot } = message
    const batch: LogBatch = {
      hardState: term + vote + commit > 0 ? { term, vote, commit } : undefined,
      entries,
      snapshot: snapshot?.meta,
    }
    const finish = (): void => {
      this.#mirror(life, batch)
      this.#answer(life, message)
    }
    if (this.#world.mutant === "answer-before-sync") {
      this.#disk.append(batch, () => undefined)
      this.#world.schedule(0, () => this.#life === life && finish())
    } else {
      this.#disk.append(batch, finish)
    }
  }

  /** What is on disk can now be read by the core. */
  #mirror({ storage }: Life, { hardState, snapshot, entries = [] }: LogBatch): void {
    if (hardState) storage.setHardState(hardState)
    if (snapshot) {
      storage.applySnapshot({ meta: snapshot, data: new Uint8Array(0) })
      const state = this.#snapshots.get(snapshot.index)
      if (!state) throw new Error(`the state of snapshot ${snapshot.index} was not received`)
      if (state.index > this.#newest.index) this.#newest = state
      if (state.index > this.#machine.state.index) {
        this.#machine.replace(state)
        this.#world.checks.restored(this.id, state)
      }
    }
    storage.append(entries)
  }

  #answer(life: Life, message: Message): void {
    for (const response of message.responses ?? []) {
      if (response.to === this.id) life.raft.step(response)
      else this.#send(response)
    }
    this.#afterStep(life)
  }

  #applyNext(life: Life): void {
    if (life.isApplying || life.applyQueue.length === 0) return
    life.isApplying = true
    const { isCalm, profile, schedule } = this.#world
    schedule(isCalm() ? 1 : this.#random.below(profile.applyMsMax), () => {
      if (this.#life !== life) return
      life.isApplying = false
      const message = life.applyQueue.shift()!
      for (const entry of message.entries ?? []) this.#apply(life, entry)
      this.#answerReads(life)
      this.#answer(life, message)
      this.#applyNext(life)
    })
  }

  #apply(life: Life, entry: Entry): void {
    // A snapshot may have overtaken it.
    if (entry.index <= this.#machine.state.index) return
    const applied = this.#machine.apply(entry, (change) => life.raft.applyConfChange(change))
    this.#world.checks.applied(this.id, entry, applied.state.hash)
    this.#world.onApplied(this.id, entry, applied)
  }

  /** Keeps the state on disk, and forgets most of the log behind it. */
  takeSnapshot(): void {
    const life = this.#life
    if (!life) return
    this.#machine.sync()
    const { state } = this.#machine
    if (state.index <= this.#newest.index) return
    this.#newest = state
    this.#snapshots.set(state.index, state)
    life.storage.createSnapshot(state)
    const index = state.index - this.#random.below(this.#world.profile.limits.trailingMax)
    const term = life.storage.term(index)
    if (typeof term !== "number" || index < life.storage.firstIndex()) return
    this.#disk.compact({ index, term, confState: state.confState })
    life.storage.compact({ index })
    this.#world.note(() => `${this.id} snapshot ${state.index}, log from ${index}`)
  }
}

function noneCompacted(entries: readonly Entry[] | "compacted"): readonly Entry[] {
  if (entries === "compacted") throw new Error("an unapplied entry was compacted")
  return entries
}

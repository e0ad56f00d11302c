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
import { Machine, type MachineState } from "./machine.ts"

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
  readonly random: SeededRandom
  readonly checks: Checks
  readonly mutant: Mutant | undefined
  readonly syncMs: () => number
  readonly applyMs: () => number
  readonly schedule: (delayMs: number, run: () => void) => void
  /** `state` travels beside a snapshot message. */
  readonly send: (message: Message, state: MachineState | undefined) => void
  readonly onApplied: (id: Id, entry: Entry) => void
  readonly note: (line: string) => void
}

interface Life {
  readonly core: Core
  readonly raft: Raft
  readonly storage: MemoryStorage
  readonly applyQueue: Message[]
  /** Reads that wait, and the index that each may not fall behind. */
  readonly reads: Map<string, number>
  isApplying: boolean
}

export const tickMs = 10
export const electionTicks = 10
const trailingMax = 6

/** Small, so that every limit is met. */
const limits: Omit<RaftConfig, "id" | "applied" | "random"> = {
  electionTicks,
  heartbeatTicks: 3,
  asyncStorageWrites: true,
  maxSizePerMsg: 120,
  maxCommittedSizePerReady: 200,
  maxUncommittedEntriesSize: 600,
  maxInflightMsgs: 4,
  maxInflightBytes: 400,
  checkQuorum: true,
  preVote: true,
  stepDownOnRemoval: true,
  disableConfChangeValidation: false,
}

export class SimMember {
  readonly id: Id
  readonly #world: Surroundings
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

  constructor(id: Id, start: MachineState, world: Surroundings) {
    this.id = id
    this.#world = world
    this.#start = start
    this.#newest = start
    this.#disk = this.#emptyDisk()
    this.#machine = new Machine(start)
    this.#snapshots.set(start.index, start)
  }

  #emptyDisk(): SimDisk {
    const { index, term, confState } = this.#start
    const { schedule, syncMs, mutant } = this.#world
    return new SimDisk({ index, term, confState }, { schedule, syncMs }, mutant)
  }

  get isAlive(): boolean {
    return this.#life !== undefined
  }

  get appliedIndex(): number {
    return this.#machine.state.index
  }

  /** The living core. */
  get raft(): Raft {
    if (!this.#life) throw new Error(`${this.id} is down`)
    return this.#life.raft
  }

  start(): void {
    const { mark, entries, hardState } = this.#disk.recover()
    const received = this.#snapshots.get(mark.index)
    if (received && received.index > this.#newest.index) this.#newest = received
    if (this.#machine.state.index < mark.index) this.#machine.replace(this.#newest)
    const { index: applied, confState } = this.#machine.state
    const storage = createMemoryStorage({ hardState, mark, entries, confState })
    if (this.#newest.index >= mark.index) storage.createSnapshot(this.#newest)
    const { random, note } = this.#world
    const config = { ...limits, id: this.id, applied, random: () => random.next() }
    const core = new Core(config, storage)
    const raft = raftOf(core)
    this.#life = { core, raft, storage, applyQueue: [], reads: new Map(), isApplying: false }
    note(
      `${this.id} starts: term ${hardState.term} vote ${hardState.vote} commit ${hardState.commit} applied ${applied} log ${mark.index}+${entries.length}`,
    )
    this.#world.checks.appended(entries, core.log)
    this.#afterStep(this.#life)
  }

  crash(): void {
    if (!this.#life) return
    const { random, mutant, note } = this.#world
    this.#life = undefined
    this.#disk.crash(random)
    if (mutant === "applied-apart") this.#machine.skew()
    this.#machine.crash((unsynced) => random.below(unsynced + 1))
    if (mutant === "wiped-disk") {
      this.#disk = this.#emptyDisk()
      this.#machine = new Machine(this.#start)
      this.#newest = this.#start
    }
    note(`${this.id} crashes`)
  }

  /** Runs an input on the living core, then does what Ready asks. */
  input(act: (raft: Raft) => void): void {
    if (!this.#life) return
    act(this.#life.raft)
    this.#afterStep(this.#life)
  }

  receive(message: Message, state: MachineState | undefined): void {
    if (state) this.#snapshots.set(state.index, state)
    this.input((raft) => raft.step(message))
  }

  /** Asks for a read that may not miss anything applied before now. */
  read(floor: number): void {
    const life = this.#life
    if (!life) return
    const key = `${this.id}.${++this.#readCount}`
    life.reads.set(key, floor)
    if (this.#world.mutant === "local-read") {
      this.#world.checks.read(this.id, life.raft.status().commit, floor)
    }
    this.input((raft) => raft.readIndex(new TextEncoder().encode(key)))
  }

  #afterStep(life: Life): void {
    while (life.raft.hasReady()) this.#handleReady(life)
    this.#world.checks.member(life.raft.status(), life.core.log)
  }

  #handleReady(life: Life): void {
    const { checks, send } = this.#world
    const { messages, readStates, entries } = life.raft.ready()
    checks.appended(entries, life.core.log)
    for (const { index, context } of readStates) {
      const key = new TextDecoder().decode(context)
      checks.read(this.id, index, life.reads.get(key) ?? 0)
      life.reads.delete(key)
    }
    for (const message of messages) {
      if (message.to === appendThread) this.#write(life, message)
      else if (message.to === applyThread) life.applyQueue.push(message)
      else send(message, this.#snapshots.get(message.snapshot?.meta.index ?? -1))
    }
    this.#applyNext(life)
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
      else this.#world.send(response, undefined)
    }
    this.#afterStep(life)
  }

  #applyNext(life: Life): void {
    if (life.isApplying || life.applyQueue.length === 0) return
    life.isApplying = true
    this.#world.schedule(this.#world.applyMs(), () => {
      if (this.#life !== life) return
      life.isApplying = false
      const message = life.applyQueue.shift()!
      for (const entry of message.entries ?? []) this.#apply(life, entry)
      this.#answer(life, message)
      this.#applyNext(life)
    })
  }

  #apply(life: Life, entry: Entry): void {
    // A snapshot may have overtaken it.
    if (entry.index <= this.#machine.state.index) return
    const { hash } = this.#machine.apply(entry, (change) => life.raft.applyConfChange(change))
    this.#world.checks.applied(this.id, entry, hash)
    this.#world.onApplied(this.id, entry)
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
    const index = state.index - this.#world.random.below(trailingMax)
    const term = life.storage.term(index)
    if (typeof term !== "number" || index < life.storage.firstIndex()) return
    this.#disk.compact({ index, term, confState: state.confState })
    life.storage.compact({ index })
    this.#world.note(`${this.id} snapshot ${state.index}, log from ${index}`)
  }
}

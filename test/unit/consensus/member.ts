/** A core with a log in memory, for tests that speak to it message by message. */
import {
  appendThread,
  applyThread,
  createMemoryStorage,
  createRaft,
  decodeConfChange,
  emptyConfState,
  type Entry,
  type HardState,
  type Id,
  type MemoryStorage,
  type Message,
  type MessageType,
  type Raft,
  type RaftConfig,
  type ReadState,
} from "../../../src/consensus/index.ts"

/** More than any of these tests needs: a core that never comes to rest fails instead of hanging. */
const roundsMax = 1000

const defaults: Omit<RaftConfig, "id" | "applied"> = {
  electionTicks: 10,
  heartbeatTicks: 1,
  asyncStorageWrites: true,
  maxSizePerMsg: 1 << 20,
  maxCommittedSizePerReady: 1 << 20,
  maxUncommittedEntriesSize: 1 << 20,
  maxInflightMsgs: 64,
  maxInflightBytes: 1 << 22,
  checkQuorum: true,
  preVote: false,
  stepDownOnRemoval: true,
  disableConfChangeValidation: false,
  random: () => 0,
}

export interface Start {
  readonly voters?: readonly Id[]
  readonly learners?: readonly Id[]
  /** The half that goes: a joint change is under way, and is not left by itself. */
  readonly votersOutgoing?: readonly Id[]
  /** Terms of the entries 2, 3, …; entry 1 is the beginning, of term 1. */
  readonly terms?: readonly number[]
  readonly hardState?: HardState
  readonly config?: Partial<RaftConfig>
}

export function entry(index: number, term: number, text = ""): Entry {
  return { index, term, type: "EntryNormal", data: new TextEncoder().encode(text) }
}

export class Member {
  readonly raft: Raft
  readonly storage: MemoryStorage
  readonly reads: ReadState[] = []
  readonly applied: Entry[] = []
  /** Left for others, until taken. */
  sent: Message[] = []
  /** Storage work waits here while `holdsWrites`. */
  held: Message[] = []
  holdsWrites = false
  holdsApplies = false
  readonly #sessions = new Map<Id, number>()

  constructor(id: Id, start: Start = {}) {
    const { voters = [1, 2, 3], learners = [], votersOutgoing = [], terms = [] } = start
    const confState = { ...emptyConfState, voters, learners, votersOutgoing }
    this.storage = createMemoryStorage({
      mark: { index: 1, term: 1, confState },
      entries: terms.map((term, position) => entry(position + 2, term)),
      ...(start.hardState && { hardState: start.hardState }),
    })
    this.raft = createRaft({ ...defaults, id, applied: 1, ...start.config }, this.storage)
  }

  /** Does what Ready asks until there is nothing more. */
  settle(): this {
    for (let round = 0; this.raft.hasReady(); round++) {
      if (round > roundsMax) throw new Error("the core never comes to rest")
      const { messages, readStates } = this.raft.ready()
      this.reads.push(...readStates)
      for (const message of messages) this.#route(message)
    }
    return this
  }

  #route(message: Message): void {
    if (message.epoch !== undefined) this.#sessions.set(message.to, message.epoch)
    const isWrite = message.to === appendThread
    if (!isWrite && message.to !== applyThread) this.sent.push(message)
    else if (isWrite ? this.holdsWrites : this.holdsApplies) this.held.push(message)
    else this.work(message)
  }

  /** Storage work is done, and answered. */
  work(message: Message): void {
    const { term = 0, vote = 0, commit = 0, entries = [], snapshot, responses = [] } = message
    if (message.to === appendThread) {
      if (term + vote + commit > 0) this.storage.setHardState({ term, vote, commit })
      if (snapshot) this.storage.applySnapshot(snapshot)
      this.storage.append(entries)
    } else {
      for (const done of entries) {
        this.applied.push(done)
        if (done.type !== "EntryNormal") this.raft.applyConfChange(decodeConfChange(done.data))
      }
    }
    for (const response of responses) {
      if (response.to === this.raft.status().id) this.raft.step(response)
      else this.sent.push(response)
    }
  }

  release(): this {
    const held = this.held
    this.held = []
    for (const message of held) this.work(message)
    return this.settle()
  }

  step(message: Omit<Message, "to">): this {
    this.raft.step({ to: this.raft.status().id, ...message })
    return this.settle()
  }

  tick(count: number): this {
    for (let ticked = 0; ticked < count; ticked++) {
      this.raft.tick()
      this.settle()
    }
    return this
  }

  take(type?: MessageType): Message[] {
    const taken = this.sent.filter((message) => type === undefined || message.type === type)
    this.sent = this.sent.filter((message) => !taken.includes(message))
    return taken
  }

  terms(): number[] {
    const terms: number[] = []
    for (let index = 2; index <= this.storage.lastIndex(); index++) {
      terms.push(Number(this.storage.term(index)))
    }
    return terms
  }

  propose(text: string): "ok" | "dropped" {
    const result = this.raft.propose([new TextEncoder().encode(text)])
    this.settle()
    return result
  }

  /** Wins an election with the votes of these. */
  lead(votes: readonly Id[] = [2]): this {
    this.raft.campaign()
    this.settle()
    const { term } = this.raft.status()
    for (const from of votes) this.step({ type: "MsgVoteResp", from, term })
    return this
  }

  /** An answer of a follower, within its session, that took everything up to index. */
  acknowledge(from: Id, index = this.raft.status().lastIndex): this {
    return this.answer({ type: "MsgAppResp", from, index })
  }

  /** An answer to the newest that was sent to that follower. */
  answer(message: Omit<Message, "to">): this {
    const { term } = this.raft.status()
    return this.step({ term, epoch: this.#sessions.get(message.from) ?? 0, ...message })
  }
}

/** Delivers everything among members until silence; `isLost` drops. */
export function exchange(
  members: readonly Member[],
  isLost: (message: Message) => boolean = () => false,
): void {
  for (let moved = true; moved;) {
    moved = false
    for (const member of members) {
      for (const message of member.settle().take()) {
        const target = members.find(({ raft }) => raft.status().id === message.to)
        if (!target || isLost(message)) continue
        target.raft.step(message)
        target.settle()
        moved = true
      }
    }
  }
}

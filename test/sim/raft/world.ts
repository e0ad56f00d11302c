/** Virtual time, the network, and everybody in it. One seed decides everything. */
import { emptyConfState, type Id, type Message } from "../../../src/consensus/index.ts"
import { SeededRandom } from "../../support/random.ts"
import { Checks, InvariantError } from "./checks.ts"
import type { MachineState } from "./machine.ts"
import { type Mutant, SimMember, type Surroundings, tickMs } from "./member.ts"
import { type Profile, profileOf } from "./profile.ts"

interface Timed {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export interface WorldOptions {
  readonly seed: number
  /** Voters at the start, 1 to 7. */
  readonly size: number
  readonly mutant?: Mutant | undefined
}

const notesKept = 60

export class World {
  readonly random: SeededRandom
  readonly profile: Profile
  readonly checks: Checks
  readonly members = new Map<Id, SimMember>()
  readonly #surroundings: Surroundings
  readonly #events = new Heap()
  readonly #blocked = new Set<string>()
  readonly #notes: string[] = []
  readonly #proposed = new Map<string, Id>()
  #order = 0
  now = 0
  steps = 0
  /** Nothing goes wrong any more. */
  isCalm = false

  constructor({ seed, size, mutant }: WorldOptions) {
    this.random = new SeededRandom(seed)
    this.profile = profileOf(this.random)
    const voters = Array.from({ length: size }, (_, position) => position + 1)
    const start: MachineState = {
      index: 1,
      term: 1,
      confState: { ...emptyConfState, voters },
      hash: 1,
    }
    this.checks = new Checks(start)
    this.#surroundings = {
      random: this.random,
      checks: this.checks,
      mutant,
      syncMs: () => this.#syncMs(),
      applyMs: () => (this.isCalm ? 1 : this.random.below(this.profile.applyMsMax)),
      schedule: (delayMs, run) => this.schedule(delayMs, run),
      send: (message, state) => this.#send(message, state),
      onApplied: (id, entry) => {
        const text = new TextDecoder().decode(entry.data)
        if (this.#proposed.get(text) === id) this.checks.acknowledge(text, entry.index)
      },
      note: (line) => this.note(line),
    }
    for (const id of voters) this.addMember(id, start)
  }

  /** A member that nobody counts yet starts with nothing. */
  addMember(
    id: Id,
    start: MachineState = { index: 0, term: 0, confState: emptyConfState, hash: 0 },
  ): void {
    const member = new SimMember(id, start, this.#surroundings)
    this.members.set(id, member)
    member.start()
    this.#tickLater(member)
  }

  schedule(delayMs: number, run: () => void): void {
    this.#events.push({ at: this.now + delayMs, order: this.#order++, run })
  }

  note(line: string): void {
    this.#notes.push(`${this.now.toFixed(0)} ${line}`)
    if (this.#notes.length > notesKept) this.#notes.shift()
  }

  get lastNotes(): readonly string[] {
    return this.#notes
  }

  /** One event. An invariant that breaks, or a core that throws, ends the run. */
  step(): void {
    const event = this.#events.pop()
    if (!event) throw new InvariantError("the world stands still")
    this.now = event.at
    this.steps++
    event.run()
  }

  leader(): SimMember | undefined {
    const leaders = [...this.members.values()].filter(
      (member) => member.isAlive && member.raft.status().raftState === "StateLeader",
    )
    return leaders.toSorted((left, right) => right.raft.status().term - left.raft.status().term)[0]
  }

  /** What any member has applied by now. */
  get highestApplied(): number {
    return Math.max(...[...this.members.values()].map(({ appliedIndex }) => appliedIndex))
  }

  alive(): SimMember[] {
    return [...this.members.values()].filter((member) => member.isAlive)
  }

  /** No two proposals are alike. */
  propose(member: SimMember, label: string): void {
    const text = `${label} ${this.#proposed.size}`
    member.input((raft) => {
      const result = raft.propose([new TextEncoder().encode(text)])
      if (result === "ok") this.#proposed.set(text, member.id)
    })
  }

  block(from: Id, to: Id): void {
    this.#blocked.add(`${from}>${to}`)
  }

  heal(): void {
    this.#blocked.clear()
  }

  #tickLater(member: SimMember): void {
    const jitter = this.isCalm ? 1 : 1 + (this.random.next() - 0.5) * this.profile.clockSkew
    this.schedule(tickMs * jitter, () => {
      if (member.pausedUntil <= this.now) member.input((raft) => raft.tick())
      this.#tickLater(member)
    })
  }

  #syncMs(): number {
    if (this.isCalm) return 1
    const { syncMsMax, stallChance, stallMsMax } = this.profile
    return this.random.chance(stallChance)
      ? this.random.below(stallMsMax)
      : this.random.below(syncMsMax)
  }

  #send(message: Message, state: MachineState | undefined): void {
    const { random, profile } = this
    const isLost = !this.isCalm && random.chance(profile.loss)
    const copies = !this.isCalm && random.chance(profile.duplicate) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (!isLost) this.schedule(this.#delayMs(), () => this.#deliver(message, state))
    }
    const sender = this.members.get(message.from)!
    if (message.type === "MsgSnap") {
      // The stream that carries the state tells its sender how it ended.
      const ok = !isLost && random.chance(0.8)
      this.schedule(200, () => sender.input((raft) => raft.reportSnapshot(message.to, ok)))
    } else if (isLost && random.chance(0.3)) {
      sender.input((raft) => raft.reportUnreachable(message.to))
    }
  }

  #delayMs(): number {
    if (this.isCalm) return 1 + this.random.below(3)
    const { slowChance, slowMsMax, delayMsMax } = this.profile
    return 1 + this.random.below(this.random.chance(slowChance) ? slowMsMax : delayMsMax)
  }

  #deliver(message: Message, state: MachineState | undefined): void {
    const { from, to } = message
    const member = this.members.get(to)
    if (!member || !member.isAlive || this.#blocked.has(`${from}>${to}`)) return
    if (member.pausedUntil > this.now) {
      this.schedule(member.pausedUntil - this.now, () => this.#deliver(message, state))
      return
    }
    this.note(
      `${from}->${to} ${message.type} t${message.term ?? 0} ${message.logTerm ?? 0}/${message.index ?? 0} +${message.entries?.length ?? 0} c${message.commit ?? 0}${message.reject ? " reject" : ""}`,
    )
    member.receive(message, state)
  }
}

/** Earliest first; of equal times the one scheduled first. */
class Heap {
  readonly #items: Timed[] = []

  push(item: Timed): void {
    const items = this.#items
    let at = items.push(item) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(item, items[parent]!)) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): Timed | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (!top || !last || items.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++
      if (!isBefore(items[child]!, last)) break
      items[at] = items[child]!
      at = child
    }
    items[at] = last
    return top
  }
}

function isBefore(left: Timed, right: Timed): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order)
}

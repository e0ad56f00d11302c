/** Virtual time and everybody in it. A seed decides everything, together with the events that it is given. */
import { emptyConfState, type Id, type Message } from "../../../src/consensus/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import { Calendar } from "./calendar.ts"
import { Checks } from "./checks.ts"
import { Clients } from "./clients.ts"
import { Elections } from "./elections.ts"
import { hold, InvariantError } from "./invariant.ts"
import type { MachineState } from "./machine.ts"
import { electionTicks, type Mutant, SimMember, type Surroundings, tickMs } from "./member.ts"
import { Network } from "./network.ts"
import { type Profile, profileOf, type Weather } from "./profile.ts"
import { streamOf } from "./streams.ts"

export interface WorldOptions {
  readonly seed: number
  /** Voters at the start, 1 to 7. */
  readonly size: number
  readonly mutant?: Mutant | undefined
  readonly without?: ReadonlySet<Weather> | undefined
  /** Keeps what happened, for a transcript. */
  readonly isNoted?: boolean | undefined
}

const notesKept = 400
const reportMs = 200
/** A refused redial, and the wait of whoever lost its leader. */
const redialMsMax = 5
const hintMsMax = 20
const restartMsMax = 400

interface Body {
  readonly member: SimMember
  readonly clock: SeededRandom
  /** Of its ticks: 1 is right. */
  readonly rate: number
  hintedTerm: number
  falseHints: number
}

export class World {
  readonly seed: number
  readonly profile: Profile
  readonly network: Network
  readonly checks: Checks
  readonly elections = new Elections()
  readonly clients: Clients
  readonly members = new Map<Id, SimMember>()
  /** Messages sent, by type. */
  readonly sent = new Map<string, number>()
  readonly #bodies = new Map<Id, Body>()
  readonly #surroundings: Surroundings
  readonly #calendar = new Calendar()
  readonly #notes: string[] | undefined
  readonly #proposed = new Map<string, Id>()
  readonly #counted = new Set<Id>()
  /** How many ids were given so far: none comes again. */
  ids = 0
  now = 0
  steps = 0
  /** Nothing goes wrong any more. */
  isCalm = false
  /** These stay down, whatever was planned before. */
  readonly asleep = new Set<Id>()

  constructor({ seed, size, mutant, without, isNoted }: WorldOptions) {
    this.seed = seed
    this.profile = profileOf(seed, without)
    this.network = new Network(seed, this.profile)
    this.#notes = isNoted ? [] : undefined
    const voters = Array.from({ length: size }, (_, position) => position + 1)
    const start: MachineState = {
      index: 1,
      term: 1,
      confState: { ...emptyConfState, voters },
      hash: 1,
      registers: new Map(),
    }
    this.checks = new Checks(start)
    this.#surroundings = {
      profile: this.profile,
      checks: this.checks,
      elections: this.elections,
      mutant,
      now: () => this.now,
      isCalm: () => this.isCalm,
      schedule: (delayMs, run) => this.schedule(delayMs, run),
      send: (message, state) => this.#send(message, state),
      onApplied: (id, entry, applied) => {
        const text = new TextDecoder().decode(entry.data)
        if (this.#proposed.get(text) === id) this.checks.acknowledge(text, entry.index)
        const member = this.members.get(id)
        if (member) this.clients.applied(member, text, applied)
      },
      onDown: (id) => this.#onDown(id),
      note: (line) => this.note(line),
    }
    this.clients = new Clients({
      now: () => this.now,
      isCalm: () => this.isCalm,
      alive: () => this.alive(),
      leader: () => this.leader(),
      schedule: (delayMs, run) => this.schedule(delayMs, run),
      propose: (member, text) => this.#proposeText(member, text),
      read: (member, onValues) => this.read(member, onValues),
      note: (line) => this.note(line),
    })
    for (const id of voters) this.addMember(id, start)
    this.clients.start(seed, this.profile)
  }

  /** A member that nobody counts yet starts with nothing. */
  addMember(
    id: Id,
    start: MachineState = {
      index: 0,
      term: 0,
      confState: emptyConfState,
      hash: 0,
      registers: new Map(),
    },
  ): void {
    this.ids = Math.max(this.ids, id)
    const random = streamOf(this.seed, `member ${id}`)
    const member = new SimMember({ id, start, random }, this.#surroundings)
    const clock = streamOf(this.seed, `clock ${id}`)
    const rate = 1 + (clock.next() - 0.5) * this.profile.clockSkew
    const body: Body = { member, clock, rate, hintedTerm: 0, falseHints: 0 }
    this.members.set(id, member)
    this.#bodies.set(id, body)
    member.start()
    this.#tickLater(body)
  }

  /** Members that were counted once, and that nobody counts any more, are switched off for good. */
  retire(): void {
    const inUse = new Set<Id>()
    for (const member of this.members.values()) {
      const { confState } = member.isAlive ? member.raft.status() : member.state
      const { voters, learners, votersOutgoing } = confState
      for (const id of [...voters, ...learners, ...votersOutgoing]) inUse.add(id)
    }
    for (const id of inUse) this.#counted.add(id)
    for (const [id, member] of this.members) {
      if (inUse.has(id) || !this.#counted.has(id)) continue
      this.note(() => `${id} is gone for good`)
      this.asleep.add(id)
      member.crash()
      this.members.delete(id)
    }
  }

  schedule(delayMs: number, run: () => void): void {
    this.#calendar.enter(this.now + delayMs, run)
  }

  note(line: () => string): void {
    if (!this.#notes) return
    this.#notes.push(`${this.now.toFixed(0).padStart(6)} ${line()}`)
    if (this.#notes.length > notesKept) this.#notes.shift()
  }

  get notes(): readonly string[] {
    return this.#notes ?? []
  }

  /** One event. An invariant that breaks, or a core that throws, ends the run. */
  step(): void {
    const event = this.#calendar.take()
    if (!event) throw new InvariantError("the world stands still")
    this.now = event.at
    this.steps++
    event.run()
  }

  leader(): SimMember | undefined {
    let newest: SimMember | undefined
    for (const member of this.members.values()) {
      if (!member.isLeader) continue
      if (!newest || member.raft.status().term > newest.raft.status().term) newest = member
    }
    return newest
  }

  /** What any member has applied by now, or was told by a read. */
  get readFloor(): number {
    let floor = this.checks.highestRead
    for (const { appliedIndex } of this.members.values()) floor = Math.max(floor, appliedIndex)
    return floor
  }

  alive(): SimMember[] {
    return [...this.members.values()].filter((member) => member.isAlive)
  }

  /** Now, or when it wakes. */
  whenAwake(member: SimMember, run: () => void): void {
    if (member.pausedUntil <= this.now) run()
    else this.schedule(member.pausedUntil - this.now, () => this.whenAwake(member, run))
  }

  read(member: SimMember, onValues?: (registers: MachineState["registers"]) => void): void {
    const floor = this.readFloor
    this.whenAwake(member, () => member.read(floor, onValues))
  }

  /** No two proposals are alike. */
  propose(member: SimMember, label: string): string {
    const text = `${label} ${this.#proposed.size}`
    this.#proposeText(member, text)
    return text
  }

  #proposeText(member: SimMember, text: string): boolean {
    let isTaken = false
    // A frozen one takes nothing.
    if (member.pausedUntil > this.now) return false
    member.input((raft) => {
      isTaken = raft.propose([new TextEncoder().encode(text)]) === "ok"
      if (isTaken) this.#proposed.set(text, member.id)
    })
    if (isTaken) this.note(() => `${member.id} takes "${text}"`)
    return isTaken
  }

  restartLater(member: SimMember, delayMs: number): void {
    this.schedule(delayMs, () => {
      const isWanted = this.members.has(member.id) && !this.asleep.has(member.id)
      if (!member.isAlive && isWanted) member.start()
    })
  }

  /** Its connections break, and a redial is refused: those who followed it know at once, where hints are on. */
  #onDown(down: Id): void {
    const body = this.#bodies.get(down)!
    this.restartLater(body.member, body.clock.below(restartMsMax))
    if (!this.profile.hasHints) return
    for (const other of this.#bodies.values()) {
      if (other.member.id === down) continue
      this.schedule(1 + other.clock.below(redialMsMax), () => {
        const isHeard = !this.network.isCut(down, other.member.id)
        if (isHeard) this.hint(other.member, down)
      })
    }
  }

  /** The lost-leader hint: forget it, ask around after a moment; once a term, slower after each false one. */
  hint(member: SimMember, lost: Id): void {
    const body = this.#bodies.get(member.id)!
    if (!member.isAlive || member.pausedUntil > this.now) return
    const { lead, term, raftState } = member.raft.status()
    if (lead !== lost || raftState !== "StateFollower" || body.hintedTerm === term) return
    body.hintedTerm = term
    this.note(() => `${member.id} has lost its leader ${lost}`)
    member.input((raft) => raft.forgetLeader())
    const life = member.lives
    this.schedule(body.clock.below(hintMsMax * 2 ** body.falseHints), () => {
      if (!member.isAlive || member.lives !== life || member.pausedUntil > this.now) return
      const now = member.raft.status()
      if (now.lead === 0 && now.raftState === "StateFollower")
        member.input((raft) => raft.campaign())
      else if (now.lead === lost) body.falseHints = Math.min(body.falseHints + 1, 4)
    })
  }

  #tickLater(body: Body): void {
    const { member, clock } = body
    const jitter = 0.9 + clock.next() * 0.2
    // In calm weather clocks differ by no more than a tenth.
    const rate = this.isCalm ? 1 + (body.rate - 1) * 0.2 : body.rate
    this.schedule(tickMs * rate * jitter, () => {
      if (!this.members.has(member.id)) return
      if (member.pausedUntil <= this.now) member.tick()
      this.#tickLater(body)
    })
  }

  #send(message: Message, state: MachineState | undefined): void {
    const { from, to, type } = message
    this.sent.set(type, (this.sent.get(type) ?? 0) + 1)
    const { now, isCalm } = this
    const arrivals = this.network.arrivals(from, to, { now, isCalm })
    for (const at of arrivals) this.schedule(at - now, () => this.#deliver(message, state))
    const isLost = arrivals.length === 0
    const sender = this.members.get(from)
    if (type === "MsgSnap") {
      // The stream that carries the state tells its sender how it ended.
      const delay = isLost ? reportMs : this.profile.praiseMs
      this.schedule(delay, () => sender?.input((raft) => raft.reportSnapshot(to, !isLost)))
    } else if (isLost) {
      this.schedule(1, () => sender?.input((raft) => raft.reportUnreachable(to)))
    }
  }

  #deliver(message: Message, state: MachineState | undefined): void {
    const { from, to } = message
    const member = this.members.get(to)
    if (!member || !member.isAlive || this.network.isCut(from, to)) return
    if (this.network.isHeld(to, () => this.#deliver(message, state))) return
    this.whenAwake(member, () => {
      if (!member.isAlive) return
      this.note(() => describe(message))
      member.receive(message, state)
    })
  }

  /** In calm weather: until it holds, or for so long. */
  runUntil(limitMs: number, isReached: () => boolean): boolean {
    const end = this.now + limitMs
    while (!isReached()) {
      if (this.now >= end) return false
      this.step()
    }
    return true
  }

  runFor(ms: number, check: () => void = () => undefined): void {
    const end = this.now + ms
    while (this.now < end) {
      this.step()
      check()
    }
  }

  /** How long an election may take in calm weather: some split votes included. */
  get electionMsMax(): number {
    return 12 * electionTicks * tickMs
  }

  must(isTrue: boolean, what: () => string): void {
    hold(isTrue, () => `${what()}\n${this.describe()}`)
  }

  describe(): string {
    const states = [...this.members.values()].map((member) => {
      if (!member.isAlive) return `${member.id} is down, applied ${member.appliedIndex}`
      const { id, raftState, term, commit, lastIndex, confState, lead } = member.raft.status()
      return `${id} ${raftState} t${term} lead ${lead} commit ${commit}/${lastIndex} applied ${member.appliedIndex} voters ${confState.voters.join(",")}&&${confState.votersOutgoing.join(",")} learners ${confState.learners.join(",")}`
    })
    return states.map((state) => `    ${state}`).join("\n")
  }
}

function describe({ type, from, to, term, logTerm, index, entries, ...rest }: Message): string {
  const log = logTerm || index ? ` ${logTerm ?? 0}/${index ?? 0}` : ""
  const texts = (entries ?? []).map((entry) => `${entry.term}/${entry.index}`)
  const carried = texts.length > 0 ? ` +[${texts.join(" ")}]` : ""
  const commit = rest.commit ? ` commit ${rest.commit}` : ""
  const snapshot = rest.snapshot
    ? ` snapshot ${rest.snapshot.meta.term}/${rest.snapshot.meta.index}`
    : ""
  return `${from}->${to} ${type} t${term ?? 0}${log}${carried}${commit}${snapshot}${rest.reject ? " reject" : ""}`
}

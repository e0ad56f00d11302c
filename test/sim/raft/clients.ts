/** Clients that write, compare and read registers at any member, and keep a history of what they were told. */
import type { Id } from "../../../src/consensus/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import {
  checkHistory,
  describeFailure,
  HistoryRecorder,
  type RecordedCall,
  type RegisterCall,
  registerModel,
  type RegisterOutput,
} from "../../lincheck/index.ts"
import { hold } from "./invariant.ts"
import { type Applied, type Command, commandText } from "./machine.ts"
import type { SimMember } from "./member.ts"
import { streamOf } from "./streams.ts"

type Recorder = HistoryRecorder<RegisterCall, RegisterOutput>
type Call = RecordedCall<RegisterOutput>

/** What clients need of the world. */
export interface Service {
  readonly now: () => number
  readonly isCalm: () => boolean
  readonly alive: () => readonly SimMember[]
  readonly leader: () => SimMember | undefined
  readonly schedule: (delayMs: number, run: () => void) => void
  readonly propose: (member: SimMember, text: string) => boolean
  readonly read: (
    member: SimMember,
    onValues: (registers: ReadonlyMap<string, number>) => void,
  ) => void
  readonly note: (line: () => string) => void
}

const keys = ["x", "y", "z"]
/** After that a client gives up: its call may have had an effect, or may have one still. */
const patienceMs = 400
const checkWorkMax = 3_000_000

interface Pending {
  readonly member: Id
  readonly life: number
  readonly onApplied: (applied: Applied) => void
}

export class Clients {
  readonly #service: Service
  readonly #histories = new Map<string, Recorder>()
  readonly #pending = new Map<string, Pending>()
  /** Written, or tried to be: what a cas may find. */
  readonly #tried = new Map<string, number[]>()
  #value = 0
  completed = 0
  unknown = 0

  constructor(service: Service) {
    this.#service = service
    for (const key of keys) this.#histories.set(key, new HistoryRecorder())
  }

  start(seed: number, { clients, thinkMsMax }: { clients: number; thinkMsMax: number }): void {
    for (let client = 1; client <= clients; client++) {
      const random = streamOf(seed, `client ${client}`)
      const again = (): void => {
        if (this.#service.isCalm()) return
        this.#service.schedule(random.next() * thinkMsMax, () => this.#act(client, random, again))
      }
      again()
    }
  }

  #act(client: number, random: SeededRandom, done: () => void): void {
    // As many draws each time.
    const key = random.pick(keys)
    const kind = random.next()
    const place = random.next()
    const member = this.#service.leader()
    const alive = this.#service.alive()
    const target = member && place < 0.8 ? member : alive[Math.floor(place * alive.length)]
    if (!target) done()
    else if (kind < 0.5) this.#read(client, { key, target }, done)
    else this.#write(client, { key, target, isCas: kind > 0.85 }, done)
  }

  #begin(client: number, key: string, call: RegisterCall): Call {
    return this.#histories.get(key)!.invoke(client, call)
  }

  #read(
    client: number,
    { key, target }: { key: string; target: SimMember },
    done: () => void,
  ): void {
    const call = this.#begin(client, key, { op: "read", input: undefined })
    let isOver = false
    this.#service.schedule(patienceMs, () => {
      if (isOver) return
      isOver = true
      call.discard()
      done()
    })
    this.#service.read(target, (registers) => {
      if (isOver) return
      isOver = true
      this.completed++
      const value = registers.get(key) ?? null
      this.#service.note(() => `client ${client} reads ${key} = ${value} at ${target.id}`)
      call.complete(value)
      done()
    })
  }

  #write(
    client: number,
    { key, target, isCas }: { key: string; target: SimMember; isCas: boolean },
    done: () => void,
  ): void {
    const to = ++this.#value
    const tried = this.#tried.get(key) ?? []
    const from = tried.at(-1) ?? null
    this.#tried.set(key, [...tried.slice(-4), to])
    const command: Command = { op: isCas ? "cas" : "write", key, from, to }
    const text = commandText(command)
    const call = this.#begin(
      client,
      key,
      isCas ? { op: "cas", input: { from, to } } : { op: "write", input: to },
    )
    let isOver = false
    const onApplied = ({ isDone }: Applied): void => {
      if (isOver) return
      isOver = true
      this.completed++
      this.#service.note(() => `client ${client} is told ${text} = ${isDone}`)
      call.complete(isCas ? isDone : undefined)
      done()
    }
    this.#pending.set(text, { member: target.id, life: target.lives, onApplied })
    if (!this.#service.propose(target, text)) {
      // Refused before it was tried.
      this.#pending.delete(text)
      call.discard()
      done()
      return
    }
    this.#service.schedule(patienceMs, () => {
      if (isOver) return
      isOver = true
      // Without an ending: nobody knows (C-21).
      this.unknown++
      done()
    })
  }

  /** Only who took the proposal, in the same life, answers for it. */
  applied(member: SimMember, text: string, applied: Applied): void {
    const pending = this.#pending.get(text)
    if (pending?.member !== member.id || pending.life !== member.lives) return
    this.#pending.delete(text)
    pending.onApplied(applied)
  }

  /** What is there at the end is a part of every history. */
  readLast(registers: ReadonlyMap<string, number>): void {
    for (const key of keys) {
      const call = this.#begin(0, key, { op: "read", input: undefined })
      call.complete(registers.get(key) ?? null)
    }
  }

  /** How many histories were too hard to judge. */
  check(): number {
    let unjudged = 0
    for (const [key, recorder] of this.#histories) {
      const history = recorder.history()
      const { verdict, failure } = checkHistory(registerModel, history, { workMax: checkWorkMax })
      if (verdict === "unknown") unjudged++
      hold(
        verdict !== "bad",
        () =>
          `register ${key} is not linearizable: ${failure ? describeFailure(registerModel, failure) : ""}`,
      )
    }
    return unjudged
  }
}

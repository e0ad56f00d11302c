/** Reads that wait until a majority confirmed the leader (C-41). Rounds are the leader's own: no two share a context. */
import { type JointVoters, jointCommitted } from "./quorum.ts"
import type { Id, Message } from "./types.ts"

const waitingMax = 4096
const roundBytes = 8

interface Waiting {
  readonly round: number
  readonly index: number
  readonly request: Message
}

export class Reads {
  /** Asked before this leader committed an entry of its term. */
  #early: Message[] = []
  #waiting: Waiting[] = []
  #round = 0
  /** The heartbeats of the newest round have not left yet, so another read may still join it. */
  #open = false
  readonly #answered = new Map<Id, number>()

  /** False: too many wait already. */
  postpone(request: Message): boolean {
    if (this.#early.length >= waitingMax) return false
    this.#early.push(request)
    return true
  }

  takePostponed(): Message[] {
    const early = this.#early
    this.#early = []
    return early
  }

  /** Notes a read at this commit index. `fresh`: a round of heartbeats must be sent. */
  add(request: Message, index: number): { accepted: boolean; fresh: boolean } {
    if (this.#waiting.length >= waitingMax) return { accepted: false, fresh: false }
    const fresh = !this.#open
    if (fresh) {
      this.#round++
      this.#open = true
    }
    this.#waiting.push({ round: this.#round, index, request })
    return { accepted: true, fresh }
  }

  /** The outbox was emptied: later reads need heartbeats of their own. */
  closeRound(): void {
    this.#open = false
  }

  /** Those who ask are told by their driver. Rounds are counted on: an answer from before confirms nothing asked after. */
  forget(): void {
    this.#early = []
    this.#waiting = []
    this.#open = false
  }

  /** What heartbeats carry while reads wait. */
  context(): Uint8Array | undefined {
    return this.#waiting.length === 0 ? undefined : encodeRound(this.#round)
  }

  /** A member answered this round, and with it every earlier one. */
  answer(from: Id, context: Uint8Array): void {
    const round = decodeRound(context)
    if (round === undefined || round > this.#round) return
    this.#answered.set(from, Math.max(this.#answered.get(from) ?? 0, round))
  }

  /** The reads whose round a quorum answered; `self` always agrees with itself. */
  confirmed(voters: JointVoters, self: Id): readonly Waiting[] {
    const round = jointCommitted(voters, (id) =>
      id === self ? this.#round : this.#answered.get(id),
    )
    const open = this.#waiting.findIndex((read) => read.round > round)
    return this.#waiting.splice(0, open < 0 ? this.#waiting.length : open)
  }
}

function encodeRound(round: number): Uint8Array {
  const bytes = new Uint8Array(roundBytes)
  new DataView(bytes.buffer).setFloat64(0, round)
  return bytes
}

function decodeRound(bytes: Uint8Array): number | undefined {
  if (bytes.length !== roundBytes) return undefined
  const round = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getFloat64(0)
  return Number.isSafeInteger(round) ? round : undefined
}

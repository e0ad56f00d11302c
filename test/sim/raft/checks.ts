/** What must hold after every step, whatever goes wrong in the world (Raft paper, figure 3). */
import type { Entry, Id, RaftStatus } from "../../../src/consensus/index.ts"

/** A broken promise: of the core, or of the simulated world itself. */
export class InvariantError extends Error {
  override readonly name = "InvariantError"
}

function hold(isTrue: boolean, message: () => string): void {
  if (!isTrue) throw new InvariantError(message())
}

/** A member's log as it is right now. */
export interface LogView {
  term(index: number): number | "compacted" | "unavailable"
}

interface Known {
  readonly previousTerm: number
  readonly text: string
}

interface Committed {
  readonly term: number
  /** In which term it was committed: at or after the entry's own. */
  readonly during: number
}

/** The whole history of one world, as no member knows it. */
export class Checks {
  readonly #leaders = new Map<number, Id>()
  readonly #entries = new Map<string, Known>()
  readonly #committed = new Map<number, Committed>()
  readonly #applied = new Map<number, { readonly term: number; readonly hash: number }>()
  readonly #leaderLast = new Map<Id, { readonly term: number; readonly last: number }>()
  readonly #acknowledged = new Map<string, number>()
  readonly #appliedTexts = new Map<string, number>()
  readonly #decode = new TextDecoder()
  readonly #first: number
  highestCommit = 0

  constructor(start: { readonly index: number; readonly term: number }) {
    this.#first = start.index + 1
    this.highestCommit = start.index
    this.#committed.set(start.index, { term: start.term, during: 0 })
  }

  get leadersSeen(): number {
    return this.#leaders.size
  }

  get acknowledged(): ReadonlyMap<string, number> {
    return this.#acknowledged
  }

  /** Log matching: the same index and term mean the same bytes and the same past. */
  appended(entries: readonly Entry[], log: LogView): void {
    for (const { index, term, type, data } of entries) {
      const previousTerm = log.term(index - 1)
      if (typeof previousTerm !== "number") continue
      const text = `${type} ${this.#decode.decode(data)}`
      const key = `${term}/${index}`
      const known = this.#entries.get(key)
      if (!known) {
        this.#entries.set(key, { previousTerm, text })
        continue
      }
      hold(known.text === text, () => `log matching: ${key} is "${known.text}" and "${text}"`)
      hold(
        known.previousTerm === previousTerm,
        () => `log matching: ${key} follows terms ${known.previousTerm} and ${previousTerm}`,
      )
    }
  }

  /** After each step of a member. */
  member(status: RaftStatus, log: LogView): void {
    if (status.raftState === "StateLeader") this.#checkLeader(status, log)
    else this.#leaderLast.delete(status.id)
    if (status.commit > this.highestCommit) this.#checkCommit(status, log)
  }

  #checkLeader({ id, term, lastIndex }: RaftStatus, log: LogView): void {
    const other = this.#leaders.get(term)
    if (other === undefined) {
      this.#leaders.set(term, id)
      this.#checkCompleteness(id, term, log)
    } else {
      hold(other === id, () => `election safety: ${other} and ${id} lead term ${term}`)
    }
    const before = this.#leaderLast.get(id)
    if (before?.term === term) {
      hold(lastIndex >= before.last, () => `leader ${id} cut its log at ${lastIndex}`)
    }
    this.#leaderLast.set(id, { term, last: lastIndex })
  }

  /** A new leader holds everything that was committed in earlier terms; a late winner need not know of later ones. */
  #checkCompleteness(id: Id, leaderTerm: number, log: LogView): void {
    for (let index = this.highestCommit; index >= this.#first; index--) {
      const committed = this.#committed.get(index)
      if (!committed || committed.during >= leaderTerm) continue
      const term = log.term(index)
      if (term === "compacted") return
      hold(
        term === committed.term,
        () => `leader completeness: ${id} has ${term} at ${index}, committed was ${committed.term}`,
      )
    }
  }

  #checkCommit({ id, commit, term: during }: RaftStatus, log: LogView): void {
    for (let index = this.highestCommit + 1; index <= commit; index++) {
      const term = log.term(index)
      hold(typeof term === "number", () => `${id} committed ${index}, which is ${term} there`)
      this.#committed.set(index, { term: Number(term), during })
    }
    this.highestCommit = commit
  }

  /** State-machine safety: what one member applied, all do; hash is the state's after it. */
  applied(id: Id, entry: Entry, hash: number): void {
    const { index, term } = entry
    const committed = this.#committed.get(index)?.term
    hold(committed === term, () => `${id} applied ${term}/${index}, committed was ${committed}`)
    const known = this.#applied.get(index)
    if (!known) {
      this.#applied.set(index, { term, hash })
      this.#noteText(entry)
      return
    }
    hold(
      known.term === term && known.hash === hash,
      () => `state machine safety: ${id} differs after ${term}/${index}`,
    )
  }

  #noteText({ data, index, type }: Entry): void {
    if (type !== "EntryNormal" || data.length === 0) return
    const text = this.#decode.decode(data)
    const before = this.#appliedTexts.get(text)
    hold(before === undefined, () => `"${text}" was applied at ${before} and at ${index}`)
    this.#appliedTexts.set(text, index)
  }

  /** A snapshot's state is the state that applying would have made. */
  restored(id: Id, at: { readonly index: number; readonly hash: number }): void {
    const known = this.#applied.get(at.index)
    hold(
      known === undefined || known.hash === at.hash,
      () => `${id} restored another state at ${at.index}`,
    )
  }

  /** The client was told. */
  acknowledge(text: string, index: number): void {
    this.#acknowledged.set(text, index)
  }

  /** A read may not miss what was acknowledged before it was asked. */
  read(id: Id, index: number, floor: number): void {
    hold(index >= floor, () => `stale read at ${id}: ${index}, though ${floor} was applied before`)
  }

  /** At the end: every acknowledged proposal is where the client was told. */
  durable(applied: number): void {
    for (const [text, index] of this.#acknowledged) {
      hold(
        index <= applied && this.#appliedTexts.get(text) === index,
        () => `"${text}" was acknowledged at ${index} and is gone`,
      )
    }
  }
}

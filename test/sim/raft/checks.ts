/** What must hold after every step, whatever goes wrong in the world (Raft paper, figure 3). */
import type { Entry, Id, Message, RaftStatus } from "../../../src/consensus/index.ts"
import { hold } from "./invariant.ts"

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
  /** Empty entries by term, and how many of them a refused change may have made. */
  readonly #empties = new Map<number, number>()
  readonly #changes = new Map<number, number>()
  readonly #leaderCommit = new Map<Id, { readonly term: number; readonly commit: number }>()
  readonly #decode = new TextDecoder()
  #highestRead = 0
  readonly #first: number
  highestCommit = 0

  constructor(start: { readonly index: number; readonly term: number }) {
    this.#first = start.index + 1
    this.highestCommit = start.index
    this.#committed.set(start.index, { term: start.term, during: 0 })
    this.#entries.set(`${start.term}/${start.index}`, { previousTerm: 0, text: "" })
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
        if (type === "EntryNormal" && data.length === 0) this.#countEmpty(term)
        continue
      }
      hold(known.text === text, () => `log matching: ${key} is "${known.text}" and "${text}"`)
      hold(
        known.previousTerm === previousTerm,
        () => `log matching: ${key} follows terms ${known.previousTerm} and ${previousTerm}`,
      )
    }
  }

  /** A leader was asked for a change; a refused one becomes an empty entry. */
  changeProposed(term: number): void {
    this.#changes.set(term, (this.#changes.get(term) ?? 0) + 1)
  }

  /** B-17: nobody appends empty entries but a leader at its start, and for each refused change. */
  #countEmpty(term: number): void {
    const count = (this.#empties.get(term) ?? 0) + 1
    this.#empties.set(term, count)
    const allowed = 1 + (this.#changes.get(term) ?? 0)
    hold(count <= allowed, () => `${count} empty entries of term ${term}, ${allowed} have a cause`)
  }

  /** C-04: who refuses names the term that it is in, whatever term was asked about. */
  answered({ from, to, type, reject, term }: Message, own: number): void {
    if (type !== "MsgPreVoteResp" || !reject) return
    hold(term === own, () => `${from}, in term ${own}, refuses ${to} and names term ${term}`)
  }

  /** C-15: what an append or a snapshot builds on is an entry that there was. */
  sent({ from, type, index = 0, logTerm = 0, snapshot }: Message): void {
    if (type !== "MsgApp" && type !== "MsgSnap") return
    const at = snapshot ? `${snapshot.meta.term}/${snapshot.meta.index}` : `${logTerm}/${index}`
    hold(
      (type === "MsgApp" && index === 0 && logTerm === 0) || this.#entries.has(at),
      () => `${from} sends ${type} after ${at}, which never was`,
    )
  }

  /** After each step of a member. */
  member(status: RaftStatus, log: LogView): void {
    if (status.raftState === "StateLeader") {
      this.#checkLeader(status, log)
    } else {
      this.#leaderLast.delete(status.id)
      this.#leaderCommit.delete(status.id)
    }
    if (status.commit > this.highestCommit) this.#checkCommit(status, log)
  }

  #checkLeader({ id, term, lastIndex, commit }: RaftStatus, log: LogView): void {
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
    this.#checkOwnCommit(id, { term, commit }, log)
  }

  /** C-11: counting commits entries of the leader's own term, and others only through these. */
  #checkOwnCommit(id: Id, now: { term: number; commit: number }, log: LogView): void {
    const before = this.#leaderCommit.get(id)
    this.#leaderCommit.set(id, now)
    if (before?.term !== now.term || before.commit === now.commit) return
    const term = log.term(now.commit)
    hold(
      term === now.term,
      () =>
        `leader ${id} of term ${now.term} commits up to ${now.commit}, which is of term ${term}`,
    )
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
    if (text.startsWith("calm")) this.calmTerm = this.#applied.get(index)?.term
  }

  /** Of the last entry that was proposed in calm and applied: that leader gets work done. */
  calmTerm: number | undefined

  /** A read may not miss what was applied, nor what another read was told, before it was asked. */
  read(id: Id, index: number, floor: number): void {
    hold(index >= floor, () => `stale read at ${id}: ${index}, though ${floor} was applied before`)
    this.#highestRead = Math.max(this.#highestRead, index)
  }

  get highestRead(): number {
    return this.#highestRead
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

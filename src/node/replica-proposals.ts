/** Commands on their way into the log: those of one turn go to the core together, and each hears of its own end. */
import type { Entry, Raft } from "../consensus/index.ts"
import type { ItemResult } from "../state/index.ts"

export interface ProposalOutcome {
  readonly index: number
  readonly results: readonly ItemResult[]
}

export interface Proposal {
  /** Entries, in order: a long command is several. */
  readonly data: readonly Uint8Array[]
  resolve(value: ProposalOutcome): void
  reject(error: Error): void
}

interface Pending {
  readonly term: number
  resolve(part: ProposalOutcome): void
  reject(error: Error): void
}

/** Handed to the core at once, so that one append carries them; a little below what one message takes. */
const handBytesMax = 192 << 10

/** Bounded by the core: what it drops is refused. */
export class Proposals {
  #queued: Proposal[] = []
  readonly #pending = new Map<number, Pending>()

  /** Not answered yet. */
  get size(): number {
    return this.#queued.length + this.#pending.size
  }

  add(proposal: Proposal): void {
    this.#queued.push(proposal)
  }

  /** All that is queued. `refused`: why the core takes none. */
  hand(raft: Raft, refused: () => Error): void {
    const queued = this.#queued
    if (queued.length === 0) return
    this.#queued = []
    let group: Proposal[] = []
    let bytes = 0
    for (const proposal of queued) {
      const size = proposal.data.reduce((sum, data) => sum + data.length, 0)
      if (bytes > 0 && bytes + size > handBytesMax) {
        this.#handGroup(raft, group, refused)
        group = []
        bytes = 0
      }
      group.push(proposal)
      bytes += size
    }
    this.#handGroup(raft, group, refused)
  }

  #handGroup(raft: Raft, group: readonly Proposal[], refused: () => Error): void {
    const data = group.flatMap((proposal) => proposal.data)
    if (raft.propose(data) === "dropped") {
      for (const proposal of group) proposal.reject(refused())
      return
    }
    const { lastIndex, term } = raft.position()
    let first = lastIndex - data.length + 1
    for (const proposal of group) {
      this.#expect(proposal, first, term)
      first += proposal.data.length
    }
  }

  /** Entries are applied in order: the last one answers for all. */
  #expect(proposal: Proposal, first: number, term: number): void {
    const last = first + proposal.data.length - 1
    const results: ItemResult[] = []
    const reject = (error: Error): void => proposal.reject(error)
    for (let index = first; index <= last; index++) {
      const resolve = (part: ProposalOutcome): void => {
        results.push(...part.results)
        if (index === last) proposal.resolve({ index, results })
      }
      this.#pending.set(index, { term, resolve, reject })
    }
  }

  /** `overtaken`: why another leader's entry stands where the proposal was. */
  settle(entry: Entry, results: readonly ItemResult[], overtaken: () => Error): void {
    const pending = this.#pending.get(entry.index)
    if (!pending) return
    this.#pending.delete(entry.index)
    if (pending.term === entry.term) pending.resolve({ index: entry.index, results })
    else pending.reject(overtaken())
  }

  /** What the core has may still happen; what it has not yet will not, and is told the same. */
  fail(error: Error): void {
    const waiting = [...this.#queued.splice(0), ...this.#pending.values()]
    this.#pending.clear()
    for (const one of waiting) one.reject(error)
  }
}

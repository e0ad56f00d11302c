/** The log as the core sees it: durable entries in storage, the rest in memory, and how far it is committed and applied. */
import { type Trace, Unstable } from "./unstable.ts"
import type { Entry, RaftStorage, Snapshot } from "./types.ts"

/** What an entry weighs against every size limit: its data and its header in compact form. */
export function entrySize(entry: Entry): number {
  const { length } = entry.data
  const data = length === 0 ? 0 : 1 + varintSize(length) + length
  return 4 + varintSize(entry.term) + varintSize(entry.index) + data
}

function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++
  return size
}

export function entriesSize(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entrySize(entry), 0)
}

/** Bytes of the proposals alone. */
export function payloadSize(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entry.data.length, 0)
}

/** The longest prefix that weighs at most maxBytes, but at least one entry. */
function limitSize(entries: readonly Entry[], maxBytes: number): readonly Entry[] {
  let size = 0
  for (const [position, entry] of entries.entries()) {
    size += entrySize(entry)
    if (size > maxBytes && position > 0) return entries.slice(0, position)
  }
  return entries
}

export class RaftLog {
  readonly unstable: Unstable
  committed: number
  /** Handed out to be applied. */
  applying: number
  /** Known to be applied. */
  applied: number
  readonly #storage: RaftStorage
  readonly #maxApplyingSize: number
  readonly #trace: Trace
  #applyingSize = 0
  #applyingPaused = false

  constructor(storage: RaftStorage, options: { maxApplyingSize: number; trace: Trace }) {
    this.#storage = storage
    this.#maxApplyingSize = options.maxApplyingSize
    this.#trace = options.trace
    const start = storage.firstIndex() - 1
    this.unstable = new Unstable(storage.lastIndex() + 1, options.trace)
    this.committed = start
    this.applying = start
    this.applied = start
  }

  firstIndex(): number {
    return this.unstable.firstIndex() ?? this.#storage.firstIndex()
  }

  lastIndex(): number {
    return this.unstable.lastIndex() ?? this.#storage.lastIndex()
  }

  term(index: number): number | "compacted" | "unavailable" {
    const unstable = this.unstable.term(index)
    if (unstable !== undefined) return unstable
    if (index + 1 < this.firstIndex()) return "compacted"
    if (index > this.lastIndex()) return "unavailable"
    return this.#storage.term(index)
  }

  /** 0 where the term is not known. */
  termOrZero(index: number): number {
    const term = this.term(index)
    return typeof term === "number" ? term : 0
  }

  last(): { readonly index: number; readonly term: number } {
    const index = this.lastIndex()
    const term = this.term(index)
    if (typeof term !== "number") throw new Error(`the last entry (${index}) is ${term}`)
    return { index, term }
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term
  }

  /** Is a log that ends at (term, index) at least as complete as ours (C-01)? */
  isUpToDate(other: { readonly index: number; readonly term: number }): boolean {
    const last = this.last()
    return other.term > last.term || (other.term === last.term && other.index >= last.index)
  }

  /** [low, high), cut by size but at least one entry. */
  slice(low: number, high: number, maxBytes: number): readonly Entry[] | "compacted" {
    if (low < this.firstIndex()) return "compacted"
    if (low > high || high > this.lastIndex() + 1) {
      throw new Error(`log [${low}, ${high}) is out of bounds, it ends at ${this.lastIndex()}`)
    }
    if (low === high) return []
    const { offset } = this.unstable
    if (low >= offset) return limitSize(this.unstable.slice(low, high), maxBytes)
    const cut = Math.min(high, offset)
    const stored = this.#storage.entries(low, cut, maxBytes)
    if (stored === "compacted") return stored
    if (stored === "unavailable") throw new Error(`entries [${low}, ${cut}) are missing in storage`)
    if (stored.length < cut - low || high <= offset) return stored
    const room = maxBytes - entriesSize(stored)
    if (room <= 0) return stored
    const rest = limitSize(this.unstable.slice(offset, high), room)
    if (rest.length === 1 && entrySize(rest[0]!) > room) return stored
    return [...stored, ...rest]
  }

  /** From `low` to the end. */
  entries(low: number, maxBytes: number): readonly Entry[] | "compacted" {
    return low > this.lastIndex() ? [] : this.slice(low, this.lastIndex() + 1, maxBytes)
  }

  append(entries: readonly Entry[]): number {
    if (entries.length === 0) return this.lastIndex()
    const after = entries[0]!.index - 1
    if (after < this.committed) {
      throw new Error(`append after ${after}, but ${this.committed} is committed`)
    }
    this.unstable.truncateAndAppend(entries)
    return this.lastIndex()
  }

  /** Appends what the leader sent after (index, term), cutting only at the first conflict (C-13). The new last index, or
   *  undefined when we do not hold that entry. */
  maybeAppend(
    previous: { readonly index: number; readonly term: number },
    entries: readonly Entry[],
    leaderCommit: number,
  ): number | undefined {
    if (!this.matches(previous.index, previous.term)) return undefined
    const last = previous.index + entries.length
    const conflict = this.#findConflict(entries)
    if (conflict !== undefined) {
      if (conflict <= this.committed) {
        throw new Error(
          `entry ${conflict} conflicts with the committed one (commit ${this.committed})`,
        )
      }
      this.append(entries.slice(conflict - previous.index - 1))
    }
    // Not past what this message verified (C-14).
    this.commitTo(Math.min(leaderCommit, last))
    return last
  }

  #findConflict(entries: readonly Entry[]): number | undefined {
    for (const { index, term } of entries) {
      if (this.matches(index, term)) continue
      if (index <= this.lastIndex()) {
        this.#trace?.(
          "INFO",
          `found conflict at index ${index} [existing term: ${this.termOrZero(index)}, conflicting term: ${term}]`,
        )
      }
      return index
    }
    return undefined
  }

  /** The highest index at or below `index` whose term is at most `term`: the best guess where two logs meet (C-16). */
  findConflictByTerm(index: number, term: number): { index: number; term: number } {
    for (let at = index; at > 0; at--) {
      const ours = this.term(at)
      if (typeof ours !== "number") return { index: at, term: 0 }
      if (ours <= term) return { index: at, term: ours }
    }
    return { index: 0, term: 0 }
  }

  commitTo(index: number): void {
    if (index <= this.committed) return
    if (index > this.lastIndex()) {
      throw new Error(
        `commit ${index} is past the last entry ${this.lastIndex()}: was the log corrupted, truncated or lost?`,
      )
    }
    this.committed = index
  }

  /** Only entries of the leader's own term are committed by counting (C-11). */
  maybeCommit(index: number, term: number): boolean {
    if (index <= this.committed || !this.matches(index, term)) return false
    this.commitTo(index)
    return true
  }

  /** Is (index, term) surely not what was committed there? Where ours is compacted: terms never fall along a log. */
  contradictsCommitted({
    index,
    term,
  }: {
    readonly index: number
    readonly term: number
  }): boolean {
    if (index > this.committed) return false
    const exact = this.term(index)
    if (typeof exact === "number") return term !== exact
    const highest = this.term(this.firstIndex() - 1)
    return typeof highest === "number" && term > highest
  }

  hasSnapshotPending(): boolean {
    return this.unstable.snapshot !== undefined
  }

  #maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1)
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.#applyingPaused || this.hasSnapshotPending()) return false
    return this.applying < this.#maxAppliable(allowUnstable)
  }

  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return []
    const room = this.#maxApplyingSize - this.#applyingSize
    const entries = this.slice(this.applying + 1, this.#maxAppliable(allowUnstable) + 1, room)
    if (entries === "compacted") {
      throw new Error(`entry ${this.applying + 1} was compacted before it was applied`)
    }
    return entries
  }

  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries.at(-1)
    if (!last) return
    if (last.index > this.committed) throw new Error(`applying ${last.index} past the commit`)
    this.applying = last.index
    this.#applyingSize += entriesSize(entries)
    this.#applyingPaused =
      this.#applyingSize >= this.#maxApplyingSize ||
      this.applying < this.#maxAppliable(allowUnstable)
  }

  appliedTo(index: number, size: number): void {
    if (index > this.committed || index < this.applied) {
      throw new Error(`applied ${index} is not within [${this.applied}, ${this.committed}]`)
    }
    this.applied = index
    this.applying = Math.max(this.applying, index)
    this.#applyingSize = Math.max(0, this.#applyingSize - size)
    this.#applyingPaused = this.#applyingSize >= this.#maxApplyingSize
  }

  snapshot(): Snapshot | "unavailable" {
    return this.unstable.snapshot ?? this.#storage.snapshot()
  }

  restore(snapshot: Snapshot): void {
    const { index, term } = snapshot.meta
    this.#trace?.(
      "INFO",
      `log [${this.#describe()}] starts to restore snapshot [index: ${index}, term: ${term}]`,
    )
    this.committed = index
    this.unstable.restore(snapshot)
  }

  #describe(): string {
    const { offset, offsetInProgress, length } = this.unstable
    return `committed=${this.committed}, applied=${this.applied}, applying=${this.applying}, unstable.offset=${offset}, unstable.offsetInProgress=${offsetInProgress}, len(unstable.Entries)=${length}`
  }
}

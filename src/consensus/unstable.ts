/** The tail of the log that is not known to be durable: a snapshot, then entries, some of them being written. */
import type { Entry, Snapshot } from "./types.ts"

export type Trace = ((level: "DEBUG" | "INFO" | "WARN" | "ERROR", line: string) => void) | undefined

export class Unstable {
  #entries: Entry[] = []
  /** Index of the first entry here. */
  offset: number
  /** Entries before this index have been handed to storage. */
  offsetInProgress: number
  snapshot: Snapshot | undefined
  #snapshotInProgress = false
  readonly #trace: Trace

  constructor(offset: number, trace: Trace) {
    this.offset = offset
    this.offsetInProgress = offset
    this.#trace = trace
  }

  get length(): number {
    return this.#entries.length
  }

  firstIndex(): number | undefined {
    return this.snapshot && this.snapshot.meta.index + 1
  }

  lastIndex(): number | undefined {
    if (this.#entries.length > 0) return this.offset + this.#entries.length - 1
    return this.snapshot?.meta.index
  }

  term(index: number): number | undefined {
    if (index < this.offset) {
      return this.snapshot?.meta.index === index ? this.snapshot.meta.term : undefined
    }
    return this.#entries[index - this.offset]?.term
  }

  slice(low: number, high: number): readonly Entry[] {
    if (low < this.offset || high > this.offset + this.#entries.length) {
      throw new Error(`unstable [${low}, ${high}) is out of bounds`)
    }
    return this.#entries.slice(low - this.offset, high - this.offset)
  }

  /** Entries that storage was not asked to write yet. */
  nextEntries(): readonly Entry[] {
    return this.#entries.slice(this.offsetInProgress - this.offset)
  }

  hasNextEntries(): boolean {
    return this.#entries.length > this.offsetInProgress - this.offset
  }

  nextSnapshot(): Snapshot | undefined {
    return this.#snapshotInProgress ? undefined : this.snapshot
  }

  /** All of it has been handed to storage. */
  accept(): void {
    if (this.#entries.length > 0) this.offsetInProgress = this.offset + this.#entries.length
    if (this.snapshot) this.#snapshotInProgress = true
  }

  /** Storage holds the entry (index, term) and all before it. Ignored when that entry was replaced meanwhile (B-30). */
  stableTo(index: number, term: number): void {
    const ours = this.term(index)
    if (ours === undefined) {
      this.#trace?.("INFO", `entry at index ${index} missing from unstable log; ignoring`)
      return
    }
    if (index < this.offset) {
      this.#trace?.("INFO", `entry at index ${index} matched unstable snapshot; ignoring`)
      return
    }
    if (ours !== term) {
      this.#trace?.(
        "INFO",
        `entry at (index,term)=(${index},${term}) mismatched with entry at (${index},${ours}) in unstable log; ignoring`,
      )
      return
    }
    this.#entries = this.#entries.slice(index + 1 - this.offset)
    this.offset = index + 1
    this.offsetInProgress = Math.max(this.offsetInProgress, this.offset)
  }

  stableSnapshotTo(index: number): void {
    if (this.snapshot?.meta.index !== index) return
    this.snapshot = undefined
    this.#snapshotInProgress = false
  }

  /** The whole log is replaced (C-31). */
  restore(snapshot: Snapshot): void {
    this.offset = snapshot.meta.index + 1
    this.offsetInProgress = this.offset
    this.#entries = []
    this.snapshot = snapshot
    this.#snapshotInProgress = false
  }

  truncateAndAppend(entries: readonly Entry[]): void {
    const from = entries[0]!.index
    if (from === this.offset + this.#entries.length) {
      for (const entry of entries) this.#entries.push(entry)
      return
    }
    if (from <= this.offset) {
      this.#trace?.("INFO", `replace the unstable entries from index ${from}`)
      this.#entries = [...entries]
      this.offset = from
      this.offsetInProgress = from
      return
    }
    this.#trace?.("INFO", `truncate the unstable entries before index ${from}`)
    this.#entries = [...this.slice(this.offset, from), ...entries]
    this.offsetInProgress = Math.min(this.offsetInProgress, from)
  }
}

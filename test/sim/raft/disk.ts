/** A disk under a log: batches are records, records are atomic, and only a sync makes them durable. */
import type { Entry, HardState } from "../../../src/consensus/index.ts"
import type { LogBatch, LogMark } from "../../../src/wire/index.ts"
import type { SeededRandom } from "../../support/random.ts"

/** What a recovery reads. Entries follow the mark. */
export interface LogImage {
  hardState: HardState
  mark: LogMark
  entries: Entry[]
}

export interface DiskTimes {
  /** How long the next sync takes. */
  readonly syncMs: () => number
  readonly schedule: (delayMs: number, run: () => void) => void
  readonly now: () => number
  /** Does the next sync fail? Then `onError` ends this life: nothing of it was acknowledged (C-23). */
  readonly fails: () => boolean
  readonly onError: () => void
}

interface Pending {
  readonly batch: LogBatch
  readonly since: number
  readonly done: () => void
}

export class SimDisk {
  readonly #image: LogImage
  readonly #times: DiskTimes
  readonly #mutant: string | undefined
  #pending: Pending[] = []
  #isSyncing = false
  /** Syncs of an earlier life do not finish. */
  #life = 0

  constructor(mark: LogMark, times: DiskTimes, mutant: string | undefined) {
    this.#image = { hardState: { term: 0, vote: 0, commit: 0 }, mark, entries: [] }
    this.#times = times
    this.#mutant = mutant
  }

  /** `done` when durable, in order. One sync for all that wait. */
  append(batch: LogBatch, done: () => void): void {
    const { hardState } = batch
    const isVoteLost = this.#mutant === "vote-not-written" && hardState !== undefined
    const record = isVoteLost ? { ...batch, hardState: { ...hardState, vote: 0 } } : batch
    this.#pending.push({ batch: record, since: this.#times.now(), done })
    this.#sync()
  }

  /** How long the oldest write has been waiting. */
  get waitsMs(): number {
    const [oldest] = this.#pending
    return oldest ? this.#times.now() - oldest.since : 0
  }

  #write({ hardState, snapshot, entries = [] }: LogBatch): void {
    const image = this.#image
    if (hardState) image.hardState = hardState
    if (snapshot) {
      image.mark = snapshot
      image.entries = []
    }
    const fresh = entries.filter(({ index }) => index > image.mark.index)
    const [first] = fresh
    if (!first) return
    const at = first.index - image.mark.index - 1
    if (at > image.entries.length) throw new Error(`a gap before ${first.index} on the disk`)
    image.entries.length = at
    image.entries.push(...fresh)
  }

  #sync(): void {
    if (this.#isSyncing || this.#pending.length === 0) return
    this.#isSyncing = true
    const life = this.#life
    const count = this.#pending.length
    this.#times.schedule(this.#times.syncMs(), () => {
      if (life !== this.#life) return
      this.#isSyncing = false
      if (this.#times.fails()) {
        this.#times.onError()
        return
      }
      const durable = this.#pending.splice(0, count)
      for (const { batch } of durable) this.#write(batch)
      this.#sync()
      for (const { done } of durable) done()
    })
  }

  /** Of what was not synced, some first records survive whole; the next one is torn, and all behind it are gone (C-25). */
  crash(random: SeededRandom): void {
    const kept = random.below(this.#pending.length + 1)
    for (const { batch } of this.#pending.slice(0, kept)) this.#write(batch)
    this.#pending = []
    this.#isSyncing = false
    this.#life++
  }

  /** Entries up to the mark go. Only durable ones can. */
  compact(mark: LogMark): void {
    const { entries, mark: old } = this.#image
    if (mark.index <= old.index) return
    const cut = entries[mark.index - old.index - 1]
    if (!cut) return
    if (cut.term !== mark.term) throw new Error("compaction to an entry of another term")
    this.#image.entries = entries.slice(mark.index - old.index)
    this.#image.mark = mark
  }

  recover(): LogImage {
    const { hardState, mark, entries } = this.#image
    return { hardState, mark, entries: [...entries] }
  }
}

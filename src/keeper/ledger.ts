/** The book and its journal together: what waits for the disk, what does not, and what happens when the disk refuses. */
import type { Ending } from "../schema/index.ts"
import type { Attempt, Book } from "./book.ts"
import type { KeeperClock, KeeperLog } from "./clock.ts"
import type { Journal, JournalRecord } from "./journal.ts"
import { Refusal } from "./protocol.ts"

export interface LedgerParts {
  readonly journal: Pick<Journal, "append" | "rewrite" | "failed" | "isLarge">
  readonly clock: KeeperClock
  readonly log: KeeperLog
  /** An ending is on the disk. */
  readonly ended: (attempt: Attempt) => void
}

const mendMs = 1000

/** The book is always ahead of the journal, so that a journal written anew from it misses nothing. */
export class Ledger {
  readonly #book: Book
  readonly #parts: LedgerParts
  #rewriting = false
  #noted: Promise<void> = Promise.resolve()

  constructor(book: Book, parts: LedgerParts) {
    this.#book = book
    this.#parts = parts
  }

  /** ERR_KEEPER while the journal cannot be written. */
  check(): void {
    const { failed } = this.#parts.journal
    if (failed) throw refuseKeeper(`its journal cannot be written: ${failed.message}`)
  }

  /** For what may be told before it is durable, because a restart finds it out again. */
  note(record: JournalRecord): void {
    this.#book.apply(record)
    this.#noted = this.#parts.journal.append(record)
    this.#noted.catch(() => this.#mendSoon())
  }

  /** Resolves when everything that was noted is durable; ERR_KEEPER when it cannot be. */
  async settled(): Promise<void> {
    await this.#noted.catch((error: Error) => {
      throw refuseKeeper(`its journal cannot be written: ${error.message}`)
    })
  }

  /** Resolves when it is durable; ERR_KEEPER when it cannot be. */
  async write(record: JournalRecord): Promise<void> {
    this.#book.apply(record)
    try {
      await this.#parts.journal.append(record)
    } catch (error) {
      this.#mendSoon()
      throw refuseKeeper(`its journal cannot be written: ${(error as Error).message}`)
    }
    this.#tidy()
  }

  /** `ended` is called when it is durable, now or after the journal is mended. */
  async end(attempt: Attempt, ending: Ending): Promise<void> {
    attempt.ending = ending
    const { run, task, fence } = attempt.spec
    try {
      await this.#parts.journal.append({ type: "ended", run, task, fence, ending })
    } catch {
      this.#mendSoon()
      return
    }
    this.#parts.ended(attempt)
    this.#tidy()
  }

  #tidy(): void {
    if (!this.#parts.journal.isLarge || this.#rewriting) return
    this.#rewriting = true
    this.#rewrite().catch((error: Error) =>
      this.#parts.log("journal not compacted", { error: error.message }),
    )
  }

  async #rewrite(): Promise<void> {
    try {
      await this.#parts.journal.rewrite(() => this.#book.records())
    } finally {
      this.#rewriting = false
    }
    for (const attempt of this.#book.live()) if (attempt.ending) this.#parts.ended(attempt)
  }

  // A journal that failed is written anew until that succeeds; meanwhile nothing is accepted and no ending is told.
  #mendSoon(): void {
    if (this.#rewriting) return
    this.#rewriting = true
    this.#parts.log("journal failed", { error: this.#parts.journal.failed?.message })
    this.#parts.clock.after(mendMs, () => {
      this.#rewrite().then(
        () => this.#parts.log("journal mended"),
        () => this.#mendSoon(),
      )
    })
  }
}

export function refuseKeeper(reason: string): Refusal {
  return new Refusal("ERR_KEEPER", `the keeper refuses: ${reason}`, { reason })
}

/** The terms of a log as they were handed out to be written: the core must read back the same, from disk or memory. */
import type { Entry, Id } from "../../../src/consensus/index.ts"
import { hold } from "./invariant.ts"

export interface ReadLog {
  term(index: number): number | "compacted" | "unavailable"
  lastIndex(): number
}

const checkedMax = 4

export class ShadowLog {
  #base: number
  #terms: number[]

  constructor(base: number, entries: readonly Entry[]) {
    this.#base = base
    this.#terms = entries.map(({ term }) => term)
  }

  restored(index: number): void {
    this.#base = index
    this.#terms = []
  }

  written(entries: readonly Entry[]): void {
    for (const { index, term } of entries) {
      hold(index > this.#base, () => `entry ${index} is written again behind ${this.#base}`)
      this.#terms.length = index - this.#base - 1
      this.#terms.push(term)
    }
  }

  /** Around the place where memory ends and disk begins (`offset`), and at the end. */
  check(id: Id, log: ReadLog, offset: number): void {
    const last = this.#base + this.#terms.length
    hold(
      log.lastIndex() === last,
      () => `${id}: the log ends at ${log.lastIndex()}, written were entries up to ${last}`,
    )
    for (const from of [offset, last]) {
      const first = Math.max(this.#base + 1, from - checkedMax)
      for (let index = Math.min(from, last); index >= first; index--) this.#checkOne(id, log, index)
    }
  }

  #checkOne(id: Id, log: ReadLog, index: number): void {
    const term = log.term(index)
    if (term === "compacted") return
    const written = this.#terms[index - this.#base - 1]
    hold(
      term === written,
      () => `${id}: entry ${index} reads as of term ${term}, written was one of term ${written}`,
    )
  }
}

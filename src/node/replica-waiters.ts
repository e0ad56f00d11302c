/** Who waits for a replica: proposals, reads, callers for an applied index or for copies. */
import type { Entry } from "../consensus/index.ts"
import { TroupeError } from "../schema/index.ts"
import type { ItemResult } from "../state/index.ts"

export interface ProposalOutcome {
  readonly index: number
  readonly results: readonly ItemResult[]
}

export interface Waiter {
  readonly term: number
  resolve(value: ProposalOutcome): void
  reject(error: Error): void
}

const readsMax = 10_000

/** Bounded where callers from outside can fill it; proposals are bounded by the core's uncommitted bytes. */
export class Waiters {
  readonly #proposals = new Map<number, Waiter>()
  readonly #reads = new Map<string, { resolve(index: number): void; reject(error: Error): void }>()
  readonly #applied = new Set<{ index: number; resolve(): void }>()
  readonly #copies = new Set<() => void>()

  /** A long command is several entries, applied in order: the last one answers for all. */
  proposed(range: { readonly first: number; readonly last: number }, waiter: Waiter): void {
    const { first, last } = range
    const results: ItemResult[] = []
    for (let index = first; index <= last; index++) {
      const resolve: Waiter["resolve"] = (part) => {
        results.push(...part.results)
        if (index === last) waiter.resolve({ index, results })
      }
      this.#proposals.set(index, {
        term: waiter.term,
        resolve,
        reject: (error) => waiter.reject(error),
      })
    }
  }

  /** `overtaken`: why another leader's entry stands where the proposal was. */
  settle(entry: Entry, results: readonly ItemResult[], overtaken: () => Error): void {
    const waiter = this.#proposals.get(entry.index)
    if (!waiter) return
    this.#proposals.delete(entry.index)
    if (waiter.term === entry.term) waiter.resolve({ index: entry.index, results })
    else waiter.reject(overtaken())
  }

  /** ERR_BUSY when too many wait. `begin` asks the core; resolves with the index to wait for. */
  async read(context: string, begin: () => void, signal: AbortSignal): Promise<number> {
    if (this.#reads.size >= readsMax) {
      throw new TroupeError("ERR_BUSY", "too many reads wait", { what: "reads", retryAfterMs: 100 })
    }
    return await abortable<number>(signal, (resolve, reject) => {
      this.#reads.set(context, { resolve, reject })
      begin()
      return () => this.#reads.delete(context)
    })
  }

  confirmRead(context: string, index: number): void {
    this.#reads.get(context)?.resolve(index)
  }

  async applied(index: number, signal: AbortSignal): Promise<void> {
    await abortable<void>(signal, (resolve) => {
      const waiter = { index, resolve }
      this.#applied.add(waiter)
      return () => this.#applied.delete(waiter)
    })
  }

  wakeApplied(applied: number): void {
    for (const waiter of this.#applied) {
      if (waiter.index > applied) continue
      this.#applied.delete(waiter)
      waiter.resolve()
    }
  }

  /** `wake` is called at each new acknowledgement until the answer is called. */
  onCopies(wake: () => void): () => void {
    this.#copies.add(wake)
    return () => this.#copies.delete(wake)
  }

  wakeCopies(): void {
    for (const wake of this.#copies) wake()
  }

  /** All proposals and reads; whoever waits for copies looks again. */
  fail(error: Error): void {
    const waiters = [...this.#proposals.values(), ...this.#reads.values()]
    this.#proposals.clear()
    this.#reads.clear()
    for (const waiter of waiters) waiter.reject(error)
    this.wakeCopies()
  }
}

/** A promise that ends by `settle` or by the signal, and cleans up either way. */
function abortable<T>(
  signal: AbortSignal,
  begin: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void,
): Promise<T> {
  signal.throwIfAborted()
  return new Promise<T>((resolve, reject) => {
    const aborted = (): void => end(() => reject(signal.reason as Error))
    const end = (settle: () => void): void => {
      signal.removeEventListener("abort", aborted)
      cleanUp()
      settle()
    }
    const cleanUp = begin(
      (value) => end(() => resolve(value)),
      (error) => end(() => reject(error)),
    )
    signal.addEventListener("abort", aborted, { once: true })
  })
}

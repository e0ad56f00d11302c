/** Who waits for a replica: reads, callers for an applied index or for copies. */
import type { Clock } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"

const readsMax = 10_000

/** Bounded where callers from outside can fill it. */
export class Waiters {
  readonly #reads = new Map<string, { resolve(index: number): void; reject(error: Error): void }>()
  readonly #applied = new Set<{ index: number; resolve(): void }>()
  readonly #copies = new Set<() => void>()

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
  #onCopies(wake: () => void): () => void {
    this.#copies.add(wake)
    return () => this.#copies.delete(wake)
  }

  /** Until some replica acknowledges more, at most `ms`. */
  async moreCopies(clock: Clock, ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel()
        forget()
        resolve()
      }
      const timer = clock.after(ms, done)
      const forget = this.#onCopies(done)
    })
  }

  wakeCopies(): void {
    for (const wake of this.#copies) wake()
  }

  get reads(): number {
    return this.#reads.size
  }

  /** What was confirmed before a standstill says nothing of now: whoever reads asks again (C-45). */
  failReads(): void {
    const error = new TroupeError("ERR_UNKNOWN_OUTCOME", "the node stood still; ask again", {
      hint: "ask again",
    })
    const waiters = [...this.#reads.values()]
    this.#reads.clear()
    for (const waiter of waiters) waiter.reject(error)
  }

  /** All reads; whoever waits for copies looks again. */
  fail(error: Error): void {
    const waiters = [...this.#reads.values()]
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

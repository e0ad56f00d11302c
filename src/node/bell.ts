/** Wakes whoever waits; who does not wait yet is woken at once when he does. */
import type { Clock } from "../platform/index.ts"

export class Bell {
  readonly #clock: Pick<Clock, "after">
  #waiters: (() => void)[] = []
  #rung = false

  constructor(clock: Pick<Clock, "after">) {
    this.#clock = clock
  }

  ring(): void {
    this.#rung = this.#waiters.length === 0
    for (const wake of this.#waiters.splice(0)) wake()
  }

  /** Resolves when it rings, or after `ms`; rejects when aborted. */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#rung) {
      this.#rung = false
      return
    }
    await new Promise<void>((resolve, reject) => {
      const end = () => {
        timer?.cancel()
        signal.removeEventListener("abort", aborted)
        resolve()
      }
      const aborted = () => {
        timer?.cancel()
        reject(signal.reason as Error)
      }
      const timer = Number.isFinite(ms) ? this.#clock.after(Math.ceil(ms), end) : undefined
      signal.addEventListener("abort", aborted, { once: true })
      this.#waiters.push(end)
    })
  }
}

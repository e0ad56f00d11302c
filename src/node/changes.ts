/** Says that something changed here (rows, the leader), to those who wait for it. Nothing correct depends on being told. */
import { EventEmitter } from "node:events"
import type { Clock } from "../platform/index.ts"

export class Changes {
  readonly #emitter = new EventEmitter<{ change: [] }>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#emitter.setMaxListeners(0)
  }

  announce(): void {
    this.#emitter.emit("change")
  }

  /** Calls `run` at every change until the answer is called. */
  watch(run: () => void): () => void {
    this.#emitter.on("change", run)
    return () => void this.#emitter.off("change", run)
  }

  /** Resolves at the next change, or after ms; rejects when aborted. */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        timer.cancel()
        unwatch()
        signal.removeEventListener("abort", aborted)
        settle()
      }
      const changed = end(resolve)
      const aborted = end(() => reject(signal.reason as Error))
      const unwatch = this.watch(changed)
      const timer = this.#clock.after(ms, changed)
      signal.addEventListener("abort", aborted, { once: true })
    })
  }
}

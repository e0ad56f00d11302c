/** The clock of one process: when the process dies, nothing that it planned happens any more. */
import type { Clock, Timer } from "../../../src/platform/index.ts"
import { TroupeError } from "../../../src/schema/index.ts"

export class ProcessClock implements Clock {
  readonly #machine: Clock
  #dead = false

  constructor(machine: Clock) {
    this.#machine = machine
  }

  die(): void {
    this.#dead = true
  }

  now(): number {
    return this.#machine.now()
  }

  boottime(): number {
    return this.#machine.boottime()
  }

  after(ms: number, run: () => void): Timer {
    return this.#machine.after(ms, () => {
      if (!this.#dead) run()
    })
  }

  soon(run: () => void): void {
    this.#machine.soon(() => {
      if (!this.#dead) run()
    })
  }

  every(ms: number, run: () => void): Timer {
    const timer = this.#machine.every(ms, () => {
      if (this.#dead) timer.cancel()
      else run()
    })
    return timer
  }

  timeoutSignal(ms: number, what: string): AbortSignal {
    const controller = new AbortController()
    this.after(ms, () => {
      const details = { what, afterMs: ms }
      controller.abort(new TroupeError("ERR_TIMEOUT", `${what} took too long`, details))
    })
    return controller.signal
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const done = Promise.withResolvers<void>()
    const timer = this.after(ms, done.resolve)
    const aborted = (): void => done.reject(signal?.reason as Error)
    signal?.addEventListener("abort", aborted, { once: true })
    try {
      await done.promise
    } finally {
      timer.cancel()
      signal?.removeEventListener("abort", aborted)
    }
  }
}

/** The clock of one process: when the process dies, nothing that it planned happens any more; while it is stopped
 *  (SIGSTOP, a sleeping laptop), what comes due waits, and an interval fires once for all the times that it missed. */
import type { Clock, Timer } from "../../../src/platform/index.ts"
import { TroupeError } from "../../../src/schema/index.ts"

export class ProcessClock implements Clock {
  readonly #machine: Clock
  readonly #skewMs: () => number
  #dead = false
  /** What came due while the process was stopped, by its timer. */
  #due: Map<object, () => void> | undefined

  constructor(machine: Clock, skewMs: () => number = () => 0) {
    this.#machine = machine
    this.#skewMs = skewMs
  }

  die(): void {
    this.#dead = true
  }

  stop(): void {
    this.#due ??= new Map()
  }

  resume(): void {
    const due = [...(this.#due ?? new Map<object, () => void>()).values()]
    this.#due = undefined
    for (const run of due) this.#run({}, run)
  }

  #run(timer: object, run: () => void): void {
    if (this.#dead) return
    if (!this.#due) run()
    else if (!this.#due.has(timer)) this.#due.set(timer, run)
  }

  now(): number {
    return this.#machine.now() + this.#skewMs()
  }

  boottime(): number {
    return this.#machine.boottime()
  }

  after(ms: number, run: () => void): Timer {
    const state = { cancelled: false }
    const timer = this.#machine.after(ms, () => {
      this.#run(state, () => {
        if (!state.cancelled) run()
      })
    })
    return {
      cancel: () => {
        state.cancelled = true
        timer.cancel()
      },
    }
  }

  soon(run: () => void): void {
    this.#machine.soon(() => this.#run({}, run))
  }

  every(ms: number, run: () => void): Timer {
    const state = { cancelled: false }
    const timer = this.#machine.every(ms, () => {
      if (this.#dead) timer.cancel()
      else {
        this.#run(state, () => {
          if (!state.cancelled) run()
        })
      }
    })
    return {
      cancel: () => {
        state.cancelled = true
        timer.cancel()
      },
    }
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

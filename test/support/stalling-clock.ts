/** A clock moved by hand whose process can stand still, as under SIGSTOP: timers that were due fire late, and an
 *  interval fires once for all the times that it missed. */
import type { Clock, Timer } from "../../src/platform/index.ts"
import { TroupeError } from "../../src/schema/index.ts"

interface Alarm {
  at: number
  readonly order: number
  readonly everyMs: number | undefined
  readonly run: () => void
}

export class StallingClock implements Clock {
  #now = 0
  #order = 0
  readonly #alarms = new Set<Alarm>()

  now(): number {
    return 1_700_000_000_000 + this.#now
  }

  boottime(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Timer {
    return this.#set({ at: this.#now + ms, order: this.#order++, everyMs: undefined, run })
  }

  soon(run: () => void): void {
    this.after(0, run)
  }

  every(ms: number, run: () => void): Timer {
    return this.#set({ at: this.#now + ms, order: this.#order++, everyMs: ms, run })
  }

  timeoutSignal(ms: number, what: string): AbortSignal {
    const controller = new AbortController()
    const details = { what, afterMs: ms }
    this.after(ms, () => controller.abort(new TroupeError("ERR_TIMEOUT", what, details)))
    return controller.signal
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const done = Promise.withResolvers<void>()
    const timer = this.after(ms, done.resolve)
    signal?.addEventListener("abort", () => done.reject(signal.reason), { once: true })
    await done.promise.finally(() => timer.cancel())
  }

  /** Time goes by and nothing runs. */
  stall(ms: number): void {
    this.#now += ms
  }

  /** Runs what is due up to then, in order; what is overdue first. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = [...this.#alarms].toSorted((a, b) => a.at - b.at || a.order - b.order)[0]
      if (!next || next.at > end) break
      this.#now = Math.max(this.#now, next.at)
      if (next.everyMs === undefined) this.#alarms.delete(next)
      // As Node does: the next time counts from when it ran.
      else next.at = this.#now + next.everyMs
      next.run()
    }
    this.#now = end
  }

  #set(alarm: Alarm): Timer {
    this.#alarms.add(alarm)
    return { cancel: () => this.#alarms.delete(alarm) }
  }
}

/** Time that runs only as fast as a test drives it: timers fire in order of their time, then of their making. */
import type { Clock, Timer } from "../../src/platform/index.ts"
import { TroupeError } from "../../src/schema/index.ts"

interface Alarm {
  at: number
  readonly order: number
  readonly everyMs: number | undefined
  readonly run: () => void
}

export class VirtualClock implements Clock {
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
    return this.#set(ms, undefined, run)
  }

  every(ms: number, run: () => void): Timer {
    return this.#set(ms, ms, run)
  }

  timeoutSignal(ms: number, what: string): AbortSignal {
    const controller = new AbortController()
    const details = { what, afterMs: ms }
    this.after(ms, () =>
      controller.abort(new TroupeError("ERR_TIMEOUT", `${what} took too long`, details)),
    )
    return controller.signal
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const done = Promise.withResolvers<void>()
    const timer = this.after(ms, done.resolve)
    const aborted = () => done.reject(signal?.reason as Error)
    signal?.addEventListener("abort", aborted, { once: true })
    try {
      await done.promise
    } finally {
      timer.cancel()
      signal?.removeEventListener("abort", aborted)
    }
  }

  /** Fires the next timer; false when there is none up to `end`. */
  step(end = Number.POSITIVE_INFINITY): boolean {
    let next: Alarm | undefined
    for (const alarm of this.#alarms) {
      const earlier =
        !next || alarm.at < next.at || (alarm.at === next.at && alarm.order < next.order)
      if (earlier) next = alarm
    }
    if (!next || next.at > end) return false
    this.#now = next.at
    if (next.everyMs === undefined) this.#alarms.delete(next)
    else next.at += next.everyMs
    next.run()
    return true
  }

  /** Lets ms pass: every timer in turn, and after each all that it set in motion. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await settled()
    while (this.step(end)) await settled()
    this.#now = end
    await settled()
  }

  /** Lets time pass until the work is done, at most `limitMs`. */
  async drive<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    const end = this.#now + limitMs
    const state = { done: false }
    const mark = () => {
      state.done = true
    }
    work.then(mark, mark)
    await settled()
    while (!state.done) {
      if (!this.step(end)) throw new Error(`not done after ${limitMs} ms of virtual time`)
      await settled()
    }
    return await work
  }

  #set(ms: number, everyMs: number | undefined, run: () => void): Timer {
    const alarm = { at: this.#now + Math.max(0, ms), order: this.#order++, everyMs, run }
    this.#alarms.add(alarm)
    return { cancel: () => this.#alarms.delete(alarm) }
  }
}

/** All promise reactions have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Time that runs only as fast as a test drives it: timers fire in order of their time, then of their making. */
import type { Clock, Timer } from "../../src/platform/index.ts"
import { TroupeError } from "../../src/schema/index.ts"

interface Alarm {
  at: number
  readonly order: number
  readonly everyMs: number | undefined
  readonly run: () => void
  cancelled: boolean
}

export class VirtualClock implements Clock {
  /** Whole microseconds: a wait that is too short to change a number would never end. */
  #now = 0
  #order = 0
  /** A binary heap: the next alarm first. Cancelled ones stay until they surface. */
  readonly #alarms: Alarm[] = []

  now(): number {
    return 1_700_000_000_000 + this.boottime()
  }

  boottime(): number {
    return this.#now / 1000
  }

  after(ms: number, run: () => void): Timer {
    return this.#set(ms, undefined, run)
  }

  soon(run: () => void): void {
    this.after(0, run)
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

  /** Fires the next timer; false when there is none. */
  step(): boolean {
    return this.#fire(Number.POSITIVE_INFINITY)
  }

  #fire(end: number): boolean {
    while (this.#alarms[0]?.cancelled) this.#take()
    const next = this.#alarms[0]
    if (!next || next.at > end) return false
    this.#take()
    this.#now = next.at
    if (next.everyMs !== undefined) {
      next.at += micros(next.everyMs)
      this.#put(next)
    }
    next.run()
    return true
  }

  /** Lets ms pass: every timer in turn, and after each all that it set in motion. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + micros(ms)
    await settled()
    while (this.#fire(end)) await settled()
    this.#now = end
    await settled()
  }

  /** Lets time pass until the work is done, at most `limitMs`. */
  async drive<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    const end = this.#now + micros(limitMs)
    const state = { done: false }
    const mark = () => {
      state.done = true
    }
    work.then(mark, mark)
    await settled()
    while (!state.done) {
      if (!this.#fire(end)) throw new Error(`not done after ${limitMs} ms of virtual time`)
      await settled()
    }
    return await work
  }

  #set(ms: number, everyMs: number | undefined, run: () => void): Timer {
    const at = this.#now + micros(ms)
    const alarm = { at, order: this.#order++, everyMs, run, cancelled: false }
    this.#put(alarm)
    return {
      cancel: () => {
        alarm.cancelled = true
      },
    }
  }

  #put(alarm: Alarm): void {
    const heap = this.#alarms
    let place = heap.length
    while (place > 0) {
      const above = (place - 1) >> 1
      if (!isBefore(alarm, heap[above]!)) break
      heap[place] = heap[above]!
      place = above
    }
    heap[place] = alarm
  }

  /** Removes the first. */
  #take(): void {
    const heap = this.#alarms
    const last = heap.pop()!
    if (heap.length === 0) return
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++
      if (!isBefore(heap[below]!, last)) break
      heap[place] = heap[below]!
      place = below
    }
    heap[place] = last
  }
}

function micros(ms: number): number {
  // What is only a rounding error above a whole number does not count.
  return ms <= 0 ? 0 : Math.max(1, Math.ceil(ms * 1000 - 0.001))
}

function isBefore(one: Alarm, other: Alarm): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

/** All promise reactions have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

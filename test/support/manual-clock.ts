/** A clock that stands still until a test moves it. */
import type { Clock, Timer } from "../../src/platform/index.ts"
import { TroupeError } from "../../src/schema/index.ts"

interface Alarm {
  at: number
  readonly everyMs: number | undefined
  readonly run: () => void
}

export class ManualClock implements Clock {
  #now = 0
  readonly #alarms = new Set<Alarm>()
  #watchers: { count: number; resolve: () => void }[] = []

  now(): number {
    return 1_700_000_000_000 + this.#now
  }

  boottime(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Timer {
    return this.#set({ at: this.#now + ms, everyMs: undefined, run })
  }

  soon(run: () => void): void {
    this.after(0, run)
  }

  every(ms: number, run: () => void): Timer {
    return this.#set({ at: this.#now + ms, everyMs: ms, run })
  }

  timeoutSignal(ms: number, what: string): AbortSignal {
    const controller = new AbortController()
    this.after(ms, () =>
      controller.abort(new TroupeError("ERR_TIMEOUT", what, { what, afterMs: ms })),
    )
    return controller.signal
  }

  async sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const done = Promise.withResolvers<void>()
    const timer = this.after(ms, done.resolve)
    signal?.addEventListener("abort", () => done.reject(signal.reason), { once: true })
    await done.promise.finally(() => timer.cancel())
  }

  /** Runs what is due up to then, in order. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      const next = [...this.#alarms].toSorted((a, b) => a.at - b.at)[0]
      if (!next || next.at > end) break
      this.#now = next.at
      if (next.everyMs === undefined) this.#alarms.delete(next)
      else next.at += next.everyMs
      next.run()
    }
    this.#now = end
  }

  /** Resolves when at least `count` timers of exactly this length run. */
  async waitForTimer(ms: number, count = 1): Promise<void> {
    while ([...this.#alarms].filter((alarm) => alarm.at - this.#now === ms).length < count) {
      const changed = Promise.withResolvers<void>()
      this.#watchers.push({ count, resolve: changed.resolve })
      await changed.promise
    }
  }

  #set(alarm: Alarm): Timer {
    this.#alarms.add(alarm)
    for (const watcher of this.#watchers.splice(0)) watcher.resolve()
    return { cancel: () => this.#alarms.delete(alarm) }
  }
}

/** How long the event loop kept its timers waiting, and what ran meanwhile as far as can be known. */
import { PerformanceObserver } from "node:perf_hooks"
import { RecentDurations } from "../lib/index.ts"
import type { Clock, Logger } from "./types.ts"

/** ms, of the last half minute; `worstMs` since the start. */
export interface LoopDelay {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly worstMs: number
}

export interface LoopProbe {
  delay(): LoopDelay
  /** Runs synchronous work under a name, so that a long one can be told. */
  during<T>(what: string, work: () => T): T
  stop(): void
}

export interface LoopProbeParts {
  readonly clock: Clock
  readonly logger: Logger
  /** CPU time of the loop's thread so far, ms. */
  readonly cpuMs: () => number
  /** Calls back with every garbage collection; answers how to end that. */
  readonly watchCollections: (onCollection: (ms: number) => void) => () => void
}

/** A delay worth a word: nothing on the main loop may take longer (DESIGN.md §4). */
const loopBusyMs = 5
const intervalMs = 10
/** Collections are told after the fact: a stall is explained a moment later, and not more often than this. */
const reportMs = 1000

interface Stall {
  readonly ms: number
  readonly cpuMs: number
  readonly longest: { readonly what: string; readonly ms: number } | undefined
}

/** Measures from now on until `stop`. */
export function createLoopProbe(parts: LoopProbeParts): LoopProbe {
  return new Probe(parts)
}

/** Of this process: its main thread's CPU time, and V8's collections. */
export const loopOfThisProcess: Pick<LoopProbeParts, "cpuMs" | "watchCollections"> = {
  cpuMs() {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  },
  watchCollections(onCollection) {
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) onCollection(entry.duration)
    })
    observer.observe({ entryTypes: ["gc"] })
    return () => observer.disconnect()
  },
}

class Probe implements LoopProbe {
  readonly #parts: LoopProbeParts
  readonly #recent = new RecentDurations({
    windowMs: 30_000,
    steps: 6,
    expected: 30_000 / intervalMs,
  })
  readonly #ends: readonly (() => void)[]
  #worstMs = 0
  #lastAt: number
  #lastCpuMs: number
  /** The longest named work since the last look. */
  #longest: Stall["longest"]
  /** Since the last report. */
  #worst: Stall | undefined
  #stalls = 0
  #collectedMs = 0

  constructor(parts: LoopProbeParts) {
    const { clock, cpuMs, watchCollections } = parts
    this.#parts = parts
    this.#lastAt = clock.boottime()
    this.#lastCpuMs = cpuMs()
    const looks = clock.every(intervalMs, () => this.#look())
    const reports = clock.every(reportMs, () => this.#report())
    const unwatch = watchCollections((ms) => {
      this.#collectedMs = Math.max(this.#collectedMs, ms)
    })
    this.#ends = [() => looks.cancel(), () => reports.cancel(), unwatch]
  }

  delay(): LoopDelay {
    const now = this.#parts.clock.boottime()
    return {
      p50Ms: this.#recent.quantile(now, 0.5),
      p99Ms: this.#recent.p99(now),
      maxMs: this.#recent.max(now),
      worstMs: this.#worstMs,
    }
  }

  during<T>(what: string, work: () => T): T {
    const { clock } = this.#parts
    const begun = clock.boottime()
    try {
      return work()
    } finally {
      const ms = clock.boottime() - begun
      if (ms > loopBusyMs && ms > (this.#longest?.ms ?? 0)) this.#longest = { what, ms }
    }
  }

  stop(): void {
    for (const end of this.#ends) end()
  }

  #look(): void {
    const now = this.#parts.clock.boottime()
    const cpuMs = this.#parts.cpuMs()
    const ms = Math.max(0, now - this.#lastAt - intervalMs)
    this.#recent.record(now, ms)
    this.#worstMs = Math.max(this.#worstMs, ms)
    if (ms > loopBusyMs) {
      this.#stalls++
      const stall = { ms, cpuMs: cpuMs - this.#lastCpuMs, longest: this.#longest }
      if (ms > (this.#worst?.ms ?? 0)) this.#worst = stall
    }
    this.#lastAt = now
    this.#lastCpuMs = cpuMs
    this.#longest = undefined
  }

  #report(): void {
    const worst = this.#worst
    const collectedMs = this.#collectedMs
    const stalls = this.#stalls
    this.#worst = undefined
    this.#collectedMs = 0
    this.#stalls = 0
    if (!worst) return
    const { logger } = this.#parts
    const fields = { worstMs: round(worst.ms), times: stalls, ran: whatRan(worst, collectedMs) }
    // The machine's doing is no news of ours.
    if (worst.cpuMs < worst.ms / 2) logger.debug("the event loop was kept waiting", fields)
    else logger.warn("the event loop was kept waiting", fields)
  }
}

function whatRan({ ms, cpuMs, longest }: Stall, collectedMs: number): string {
  if (longest && longest.ms > ms / 2) return `${longest.what} (${round(longest.ms)} ms)`
  if (cpuMs < ms / 2) {
    return `nothing of ours: the machine was busy or asleep (${round(cpuMs)} ms of CPU time used)`
  }
  if (collectedMs > ms / 2) return `garbage collection (${round(collectedMs)} ms)`
  return `work without a name (${round(cpuMs)} ms of CPU time)`
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** The client's waits. A browser has no injected clock; a test has its own. */

export interface Timing {
  /** Rejects with the signal's reason. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>
  /** [0, 1), to spread clients that lost the same node. */
  random(): number
  /** ms, for durations. */
  now(): number
}

export const realTiming: Timing = {
  random: () => Math.random(),
  now: () => performance.now(),
  async sleep(ms, signal) {
    signal?.throwIfAborted()
    const done = Promise.withResolvers<void>()
    const timer = setTimeout(done.resolve, ms)
    const abort = () => done.reject(signal?.reason)
    signal?.addEventListener("abort", abort, { once: true })
    try {
      await done.promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener("abort", abort)
    }
  },
}

/** 100 ms, 200 … 3 s, each with up to a half more. */
export function backoffMs(failures: number, timing: Timing): number {
  const base = Math.min(3000, 100 * 2 ** Math.max(0, failures - 1))
  return base * (1 + timing.random() / 2)
}

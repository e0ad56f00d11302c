/** Which errors of a read pass by themselves, and how long a stream waits before it asks again. */
import type { Clock } from "../platform/index.ts"
import { type ErrorCode, isTroupeError } from "../schema/index.ts"

/** A leader change, or a node that is away for a moment. ERR_STOPPED is not here: it is this node that stops. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "ERR_NO_LEADER",
  "ERR_NOT_LEADER",
  "ERR_UNKNOWN_OUTCOME",
  "ERR_PEER_UNREACHABLE",
  "ERR_TIMEOUT",
  "ERR_BUSY",
])

const waitMinMs = 200
const waitMaxMs = 5000
/** An empty answer sooner than this did not wait for news, so we do. */
const emptyMinMs = 250

export interface Patience<T> {
  readonly clock: Clock
  readonly signal: AbortSignal
  /** True for an answer without news. */
  readonly isEmpty?: (answer: T) => boolean
}

/** Calls `read` until it answers or fails for good; ends with the signal's reason when that aborts first. */
export async function patiently<T>(read: () => Promise<T>, options: Patience<T>): Promise<T> {
  const { clock, signal } = options
  for (let waitMs = waitMinMs; ; waitMs = Math.min(waitMaxMs, waitMs * 2)) {
    const askedAt = clock.boottime()
    try {
      const answer = await read()
      // Whoever answers at once that there is nothing must not be asked again at once.
      const isQuick = clock.boottime() - askedAt < emptyMinMs
      if (isQuick && options.isEmpty?.(answer) === true) await clock.sleep(emptyMinMs, { signal })
      return answer
    } catch (error) {
      signal.throwIfAborted()
      if (!isTroupeError(error) || !passing.has(error.code)) throw error
    }
    await clock.sleep(waitMs, { signal })
  }
}

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

/** Calls `read` until it answers or fails for good; ends with the signal's reason when that aborts first. */
export async function patiently<T>(
  read: () => Promise<T>,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<T> {
  for (let waitMs = waitMinMs; ; waitMs = Math.min(waitMaxMs, waitMs * 2)) {
    try {
      return await read()
    } catch (error) {
      options.signal.throwIfAborted()
      if (!isTroupeError(error) || !passing.has(error.code)) throw error
    }
    await options.clock.sleep(waitMs, { signal: options.signal })
  }
}

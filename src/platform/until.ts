/** Waiting for work that others share. */
import { setMaxListeners } from "node:events"

/** Waits for `work`, but no longer than this caller wants to; the work itself goes on. Rejects with the signal's reason. */
export async function until<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = () => aborted.reject(signal.reason as Error)
  if (signal.aborted) abort()
  // One signal may stand for a whole term, and for any number of waits in it.
  setMaxListeners(0, signal)
  signal.addEventListener("abort", abort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

/** Gives up on streams where nothing moves. One timer a stream, not one a chunk. */
import type { Clock } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"
import { transferLimits } from "./types.ts"

export interface Watch {
  /** Something moved, or is waited for from now on. */
  touch(): void
  /** It is our own turn: no waiting until the next touch. */
  rest(): void
  stop(): void
}

/** Calls `giveUp` once with ERR_TIMEOUT when nothing moved for `stallMs`. */
export function watchStall(clock: Clock, what: string, giveUp: (error: Error) => void): Watch {
  let touched = clock.boottime()
  const timer = clock.every(transferLimits.stallMs / 5, () => {
    if (clock.boottime() - touched < transferLimits.stallMs) return
    timer.cancel()
    const afterMs = transferLimits.stallMs
    const details = { what, afterMs }
    giveUp(new TroupeError("ERR_TIMEOUT", `${what} stood still for ${afterMs} ms`, details))
  })
  return {
    touch() {
      touched = clock.boottime()
    },
    rest() {
      touched = Number.POSITIVE_INFINITY
    },
    stop: () => timer.cancel(),
  }
}

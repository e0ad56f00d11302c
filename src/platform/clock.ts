/** The real clock. Durations use /proc/uptime's clock where there is one: it counts on while the machine sleeps. */
import { uptime } from "node:os"
import { TroupeError } from "../schema/index.ts"
import type { Clock, Timer } from "./types.ts"

export function createClock(): Clock {
  return { now: () => Date.now(), boottime, after, soon, every, timeoutSignal, sleep }
}

// os.uptime() reads CLOCK_BOOTTIME but costs a system call and rounds to 10 ms; performance.now() is exact but stops
// while the machine sleeps. Their difference is the time slept: looked up at most once a second.
let slept = 0
let sleptReadAt = Number.NEGATIVE_INFINITY
const origin = uptime() * 1000 - performance.now()
function boottime(): number {
  const running = performance.now()
  if (running - sleptReadAt > 1000) {
    sleptReadAt = running
    const drift = uptime() * 1000 - running - origin
    // Below half a second it is rounding and clock adjustment, not sleep.
    if (drift - slept > 500) slept = drift
  }
  return running + slept
}

function after(ms: number, run: () => void): Timer {
  const timer = setTimeout(run, ms)
  return { cancel: () => clearTimeout(timer) }
}

function soon(run: () => void): void {
  setImmediate(run)
}

function every(ms: number, run: () => void): Timer {
  const timer = setInterval(run, ms)
  return { cancel: () => clearInterval(timer) }
}

function timeoutSignal(ms: number, what: string): AbortSignal {
  const controller = new AbortController()
  setTimeout(() => {
    controller.abort(
      new TroupeError("ERR_TIMEOUT", `${what} took longer than ${ms} ms`, { what, afterMs: ms }),
    )
  }, ms).unref()
  return controller.signal
}

async function sleep(ms: number, options: { signal?: AbortSignal } = {}): Promise<void> {
  const { signal } = options
  signal?.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const done = () => {
      signal?.removeEventListener("abort", aborted)
      resolve()
    }
    const timer = setTimeout(done, ms)
    const aborted = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    signal?.addEventListener("abort", aborted, { once: true })
  })
}

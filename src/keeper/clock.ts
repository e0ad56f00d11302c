/** The keeper's own small clock, and the shape of its log. platform's door would bring the logger's and the checker's libraries into this program. */
import { uptime } from "node:os"
import type { Clock } from "../platform/index.ts"

/** The part of platform's Clock that the keeper uses. */
export type KeeperClock = Pick<Clock, "now" | "boottime" | "after" | "every">

/** One line into the keeper's log: a constant sentence and its fields. */
export type KeeperLog = (message: string, fields?: Record<string, unknown>) => void

export function createKeeperClock(): KeeperClock {
  return {
    now: () => Date.now(),
    // CLOCK_BOOTTIME, in steps of 10 ms: exact enough for deadlines and grace.
    boottime: () => Math.round(uptime() * 1000),
    after(ms, run) {
      const timer = setTimeout(run, ms)
      return { cancel: () => clearTimeout(timer) }
    },
    every(ms, run) {
      const timer = setInterval(run, ms)
      return { cancel: () => clearInterval(timer) }
    },
  }
}

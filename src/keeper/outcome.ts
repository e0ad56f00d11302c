/** How an attempt's ending is put into words; what is not known is never invented. */
import type { Ending, Limits } from "../schema/index.ts"
import { type LimitHits, sizeText } from "./limits.ts"
import type { Exit } from "./spawner.ts"

export interface Stop {
  readonly at: number
  readonly graceMs: number
  readonly reason: string
  /** Not the attempt's fault, nor anybody's word: its node was cut off. Kept by this keeper only. */
  readonly isLoss?: true
}

export interface Times {
  readonly startedAt: number
  readonly endedAt: number
}

/** The parent saw it end. */
export function seenEnding(exit: Exit, stop: Stop | undefined, times: Times): Ending {
  const stopped = stop !== undefined
  if (stop?.isLoss) {
    const { signal } = exit
    const how = { outcome: "lost", reason: stop.reason, stopped, ...times } as const
    return signal === undefined ? how : { ...how, signal }
  }
  if (exit.signal !== undefined) {
    const reason = stop?.reason ?? `killed by ${exit.signal}`
    return { outcome: "signalled", signal: exit.signal, reason, stopped, ...times }
  }
  const exitCode = exit.exitCode ?? 0
  const reason = stop?.reason ?? (exitCode === 0 ? undefined : `exited with code ${exitCode}`)
  return { outcome: "exited", exitCode, stopped, ...times, ...(reason !== undefined && { reason }) }
}

/** Nobody saw it end: its parent, an earlier keeper, was gone. */
export function unseenEnding(
  stop: Stop | undefined,
  times: { readonly startedAt?: number | undefined; readonly endedAt: number },
): Ending {
  const lost = "its exit status is not known: the keeper was restarted while it ran"
  const reason = stop ? `${stop.reason}; ${lost}` : lost
  return { outcome: "unknown", reason, stopped: stop !== undefined, ...times }
}

export function notStarted(reason: string, endedAt: number): Ending {
  return { outcome: "not_started", reason, stopped: false, endedAt }
}

/** What the kernel did to keep it within its limits, in sentences. */
export function hitsText(
  ending: Ending,
  hits: LimitHits | undefined,
  limits: Limits | undefined,
): readonly string[] {
  const said: string[] = []
  const { memoryBytes, pids } = limits ?? {}
  if (hits && hits.oomKills > 0 && memoryBytes !== undefined) {
    // An ending that has nothing wrong with it was the job's own, so it was another process that went.
    const whom = ending.reason === undefined ? "a process of it was killed" : "killed"
    said.push(`${whom}: ${outOfMemory} (limit ${sizeText(memoryBytes)})`)
  }
  if (hits && hits.forksRefused > 0 && pids !== undefined) {
    said.push(`refused ${hits.forksRefused} times another process or thread (limit ${pids})`)
  }
  return said
}

const outOfMemory = "out of memory"

/** What else is to be said of an ending becomes part of its reason. */
export function withNotes(ending: Ending, notes: readonly string[]): Ending {
  if (notes.length === 0) return ending
  const { outcome, signal, stopped, reason } = ending
  // The kernel kills for want of memory by KILL: to say both would be to say one thing twice.
  const isExplained = notes.some((note) => note.startsWith(`killed: ${outOfMemory}`))
  const isKilled = outcome === "signalled" && signal === "SIGKILL" && !stopped
  const first = reason === undefined || (isExplained && isKilled) ? [] : [reason]
  return { ...ending, reason: [...first, ...notes].join("; ") }
}

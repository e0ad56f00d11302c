/** For how long attempts may run on that are moved elsewhere when their node is cut off from the leader. */
import type { LaunchSpec } from "../wire/index.ts"
import { Refusal } from "./protocol.ts"

/** From TERM to KILL, at most: the leader counts on it. */
export const selfStopGraceMs = 1000

/** Times are ms of the host's boot-time clock: it counts on while the machine sleeps and when the node is dead. */
export class Tenure {
  readonly #now: () => number
  #renewedAt: number | undefined

  constructor(now: () => number) {
    this.#now = now
  }

  /** The node had a lease then. What arrives late, or twice, extends nothing. */
  renew(at: number): void {
    this.#renewedAt = Math.max(this.#renewedAt ?? 0, Math.min(at, this.#now()))
  }

  /** Whether the node has had no lease for so long; before any word of it, counted from `since`. */
  isOver(limitMs: number, since: number): boolean {
    return this.#now() - (this.#renewedAt ?? since) >= limitMs
  }

  /** ERR_LEASE_LOST for an order that would be ended as soon as it ran. */
  check({ selfStopMs, task, attempt }: LaunchSpec): void {
    if (selfStopMs === undefined || !this.isOver(selfStopMs, this.#now())) return
    const what = `${task} is not started: ${cutOffText(selfStopMs)}`
    throw new Refusal("ERR_LEASE_LOST", what, { task, attempt })
  }
}

/** One clause: why an attempt was ended here. */
export function cutOffText(limitMs: number): string {
  return `its node had had no lease for ${limitMs / 1000} s`
}

/** What a replica is opened with, and what it tells its owner. */
import type { PeerRef } from "../schema/index.ts"
import type { Applied, Command } from "../state/index.ts"
import type { LogLimits } from "./options.ts"
import type { Parts, ReplicaStores } from "./parts.ts"
import type { Timing } from "./timing.ts"

export interface ReplicaOptions {
  readonly clusterId: string
  readonly memberId: number
  readonly timing: Timing
  /** A new cluster of one: this command becomes entry 1. */
  readonly genesis?: Command
  /** Addresses of members before the tables are here (a fresh learner knows the roster of its admission). */
  readonly roster: (id: number) => PeerRef | undefined
  readonly logLimits?: LogLimits | undefined
}

export interface ReplicaEvents {
  /** After each applied entry, in order. */
  applied(index: number, applied: Applied): void
  /** Leading is only said once an entry of the own term is applied. */
  leading(term: number, signal: AbortSignal): void
  leaderChanged(leader: number, term: number): void
  /** Everything was replaced by a snapshot. */
  reset(): void
}

export type ReplicaParts = Parts & ReplicaStores

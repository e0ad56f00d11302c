/** What a replica is opened with, and what it tells its owner. */
import type { PeerRef, VersionRange } from "../schema/index.ts"
import type { Applied, Command } from "../state/index.ts"
import type { Outdated } from "./boots.ts"
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
  /** This start of the node, as its sessions name it. */
  readonly boot: string
  readonly logLimits?: LogLimits | undefined
  /** Versions that this node understands; undefined: those of the build. */
  readonly versions?: VersionRange | undefined
}

export interface ReplicaEvents {
  /** After each applied entry, in order. */
  applied(index: number, applied: Applied): void
  /** Leading is only said once an entry of the own term is applied. */
  leading(term: number, signal: AbortSignal): void
  leaderChanged(leader: number, term: number): void
  /** Everything was replaced by a snapshot. */
  reset(): void
  /** A member speaks from an older copy of its disk, or without what it had acknowledged: it is not heard, but told. */
  outdated(peer: PeerRef, outdated: Outdated): void
  /** This replica lacks what it had acknowledged: it must not go on as the member that it was. */
  lost(reason: string): void
  /** Nothing ran in this process for so long that what was known of others is old (C-45). */
  woke(gapMs: number): void
}

export type ReplicaParts = Parts & ReplicaStores

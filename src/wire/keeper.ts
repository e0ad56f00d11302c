/** What a node and its keeper say to each other. */
import type { Ending, Limits, Readiness } from "../schema/index.ts"

/** An attempt as the keeper knows it: what to run and by whose order. */
export interface LaunchSpec {
  readonly clusterId: string
  readonly term: number
  readonly fence: number
  readonly lease: number
  readonly run: string
  /** Task name, e.g. `server` or `shard[3]`. */
  readonly task: string
  readonly attempt: number
  readonly argv: readonly string[]
  /** Added to the keeper's own clean environment. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  /** Gives the attempt its own directory (its cwd unless `cwd` is set). */
  readonly directory: boolean
  /** Absolute local source (a blob's file) → relative path in the directory. */
  readonly files: readonly { source: string; path: string }[]
  readonly readiness?: Readiness | undefined
  readonly deadlineMs?: number | undefined
  readonly graceMs: number
  /** requeue jobs must die with the keeper; wait and fail jobs survive it. */
  readonly onKeeperDeath: "survive" | "die"
  /** Per stream; beyond it output is cut with an honest marker. */
  readonly outputBytesMax: number
  /** Of its whole tree; where one cannot be enforced the attempt is not started, and its reason says why. */
  readonly limits?: Limits | undefined
  /** Ended by the keeper when its node had no lease for this long (boot-time clock): it may run elsewhere by then. */
  readonly selfStopMs?: number | undefined
}

export interface KeeperAttempt {
  readonly run: string
  readonly task: string
  readonly attempt: number
  readonly fence: number
  readonly state: "accepted" | "started" | "ready" | "ended"
  readonly pid?: number | undefined
  readonly startedAt?: number | undefined
  readonly readyAt?: number | undefined
  readonly ending?: Ending | undefined
  /** Absolute paths, for reading through this door and for collecting. */
  readonly stdout: string
  readonly stderr: string
  readonly directory?: string | undefined
  readonly outputBytesMax: number
  /** False: asked to die with the keeper, but this host has no parent-death signal: attempts may overlap. */
  readonly diesWithKeeper?: boolean | undefined
}

/** Where reading of a stream begins: at a byte; or at the first line since a time (node wall clock, ms) that is among the
 *  last so many. */
export type OutputStart =
  | { readonly offset: number }
  | { readonly since?: number | undefined; readonly lines?: number | undefined }

/** Some bytes of a stream, and when they were there. */
export interface OutputPiece {
  /** live: may grow · ended: complete · absent: nothing of such an attempt is here · removed: it was, until `removedAt`. */
  readonly state: "live" | "ended" | "absent" | "removed"
  readonly offset: number
  readonly data: Uint8Array
  /** Bytes that the stream has now. */
  readonly size: number
  /** At `at` (node wall clock, ms) it had `bytes`; from the last point before the data to the first one behind it. */
  readonly points: readonly { readonly bytes: number; readonly at: number }[]
  readonly removedAt?: number | undefined
}

/** What a run that is over has on the disk of a node. */
export interface KeptOutput {
  readonly run: string
  readonly bytes: number
  /** Wall clock of the newest change, ms. */
  readonly changedAt: number
}

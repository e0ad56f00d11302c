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

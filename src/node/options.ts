/** What a node is told at its start. */
import type { Timing } from "./timing.ts"

export interface NodeOptions {
  readonly name: string
  readonly cluster: string
  readonly version: string
  readonly labels: Readonly<Record<string, string>>
  readonly voter: "auto" | "never"
  /** Attempts at once. */
  readonly capacity: number
  /** Base URL of this node's API as others reach it; empty when it is on loopback only. */
  readonly apiUrl: string
  /** Whether somebody was named to join. */
  readonly hasSeeds: boolean
  readonly timing: Timing
  /** Tests only: snapshots long before the log is as long as it may be. */
  readonly logLimits?: LogLimits
}

export interface LogLimits {
  /** A snapshot is made when the log has grown by this since the last one. */
  readonly snapshotBytes: number
  /** Entries before a snapshot that stay for followers that lag a little. */
  readonly entriesKept: number
}

/** What a node is told at its start. */
import type { VersionRange } from "../schema/index.ts"
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
  /** Found nothing before so many nodes without a cluster hear each other. */
  readonly expect?: number | undefined
  readonly timing: Timing
  /** Tests only: snapshots long before the log is as long as it may be. */
  readonly logLimits?: LogLimits
  /** Versions of entries and rows that this node understands; undefined: those that the source knows. */
  readonly versions?: VersionRange
  readonly retention?: Retention
  /** Of what one attempt writes to one stream; 256 MiB unless told. */
  readonly streamBytesMax?: number
}

/** What is kept, and for how long. */
export interface Retention {
  /** Finished runs older than this go, and the oldest beyond so many. Pinned ones stay. */
  readonly runsMs: number
  readonly runsMax: number
  /** Idempotency keys. */
  readonly keysMs: number
  /** Blobs of one node: above this the oldest that no kept run names go. */
  readonly blobBytes: number
  /** What ended attempts wrote, on one node: above this that of the runs that ended first goes. */
  readonly outputBytes: number
}

const dayMs = 24 * 3600 * 1000

/** DESIGN.md §8. */
export const defaultRetention: Retention = {
  runsMs: 30 * dayMs,
  runsMax: 1000,
  keysMs: 7 * dayMs,
  blobBytes: 20 * 2 ** 30,
  outputBytes: 10 * 2 ** 30,
}

export interface LogLimits {
  /** A snapshot is made when the log has grown by this since the last one. */
  readonly snapshotBytes: number
  /** Or by so many entries, while that is more than a snapshot costs: all of them are in memory, too. */
  readonly snapshotEntries?: number
  /** Entries before a snapshot that stay for followers that lag a little. */
  readonly entriesKept: number
  /** The same in bytes of their data: whichever is reached first. */
  readonly bytesKept?: number
}

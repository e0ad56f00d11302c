/** The one table of exit codes (DESIGN.md §9). */
import type { ErrorCode, Verdict } from "../schema/index.ts"

export const exitCodes = {
  ok: 0,
  internal: 1,
  usage: 2,
  failed: 3,
  timeout: 4,
  lost: 5,
  forbidden: 6,
  noLeader: 7,
  mismatch: 8,
  unplaceable: 9,
  cancelled: 130,
  storage: 74,
  newerCluster: 76,
} as const

/** How a run ended → what `run` and `runs wait` exit with. */
export const verdictExit: Readonly<Record<Verdict, number>> = {
  succeeded: exitCodes.ok,
  failed: exitCodes.failed,
  timed_out: exitCodes.timeout,
  lost: exitCodes.lost,
  cancelled: exitCodes.cancelled,
}

/** What went wrong → what the command exits with. */
export const errorExit: Readonly<Record<ErrorCode, number>> = {
  ERR_NOT_LEADER: exitCodes.noLeader,
  ERR_NO_LEADER: exitCodes.noLeader,
  // The leader went away in the middle, and asking again with the same key did not find another.
  ERR_UNKNOWN_OUTCOME: exitCodes.noLeader,
  ERR_STOPPED: exitCodes.noLeader,
  ERR_TIMEOUT: exitCodes.timeout,
  ERR_PEER_UNREACHABLE: exitCodes.noLeader,
  ERR_PROTOCOL: exitCodes.internal,
  ERR_FORBIDDEN: exitCodes.forbidden,
  ERR_LIMIT: exitCodes.usage,
  ERR_BUSY: exitCodes.noLeader,
  ERR_MANIFEST_INVALID: exitCodes.usage,
  ERR_CONFIG_INVALID: exitCodes.usage,
  ERR_REQUEST_INVALID: exitCodes.usage,
  ERR_UNPLACEABLE: exitCodes.unplaceable,
  ERR_CONFLICT: exitCodes.usage,
  ERR_NEWER_CLUSTER: exitCodes.newerCluster,
  ERR_KEY_CONFLICT: exitCodes.usage,
  ERR_RUN_NOT_FOUND: exitCodes.usage,
  ERR_TASK_NOT_FOUND: exitCodes.usage,
  ERR_NODE_NOT_FOUND: exitCodes.usage,
  ERR_RUN_NOT_FINISHED: exitCodes.usage,
  ERR_ATTEMPT_GONE: exitCodes.lost,
  ERR_LEASE_LOST: exitCodes.lost,
  ERR_BLOB_NOT_FOUND: exitCodes.lost,
  ERR_BLOB_CORRUPT: exitCodes.mismatch,
  ERR_BUNDLE_NOT_FOUND: exitCodes.lost,
  ERR_BUNDLE_INVALID: exitCodes.mismatch,
  ERR_KEEPER: exitCodes.lost,
  ERR_STORAGE: exitCodes.storage,
  ERR_LOG_CORRUPT: exitCodes.storage,
  ERR_ADDRESS_IN_USE: exitCodes.usage,
  ERR_UNSUPPORTED: exitCodes.usage,
}

/** How the mesh says what went wrong. */
import { isTroupeError, TroupeError } from "../schema/index.ts"

/** `not connected: …`: nothing was sent. */
export function notConnected(peer: string, cause: unknown): TroupeError<"ERR_PEER_UNREACHABLE"> {
  return unreachable(peer, `not connected: ${reasonOf(cause)}`, cause)
}

/** The connection broke while an answer was due: its outcome is unknown. */
export function connectionLost(peer: string): TroupeError<"ERR_PEER_UNREACHABLE"> {
  return unreachable(peer, "connection lost")
}

function unreachable(
  peer: string,
  reason: string,
  cause?: unknown,
): TroupeError<"ERR_PEER_UNREACHABLE"> {
  const options = cause === undefined ? undefined : { cause }
  return new TroupeError(
    "ERR_PEER_UNREACHABLE",
    `peer ${peer} cannot be reached: ${reason}`,
    { peer, reason },
    options,
  )
}

export function stopped(): TroupeError<"ERR_STOPPED"> {
  return new TroupeError("ERR_STOPPED", "the mesh is not running", { what: "mesh" })
}

export function busy(what: string): TroupeError<"ERR_BUSY"> {
  return new TroupeError("ERR_BUSY", `too many ${what}`, { what, retryAfterMs: 100 })
}

export function tooLarge(what: string, max: number): TroupeError<"ERR_LIMIT"> {
  return new TroupeError("ERR_LIMIT", `${what} of more than ${max} bytes`, { what, max })
}

/** ECONNREFUSED in an error of libp2p, which may be one of several of a dial. */
export function isRefused(error: unknown): boolean {
  if (error instanceof AggregateError) {
    return error.errors.length > 0 && error.errors.every(isRefused)
  }
  return error instanceof Error && "code" in error && error.code === "ECONNREFUSED"
}

export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) {
    return [...new Set(error.errors.map(reasonOf))].join("; ") || error.message
  }
  if (isRefused(error)) return "connection refused"
  if (isTroupeError(error) && error.code === "ERR_PEER_UNREACHABLE") return error.details.reason
  return error instanceof Error ? error.message : String(error)
}

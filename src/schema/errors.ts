/** The closed list of what can go wrong in the world, and the one error class that carries it. */

/** One mistake in a document, at its place. Lines and columns count from 1. */
export interface Issue {
  /** Dotted path in the document, e.g. `roles.server.agent`; empty for the document itself. */
  readonly path: string
  /** What is wrong and what to write instead. */
  readonly message: string
  readonly file?: string
  readonly line?: number
  readonly column?: number
}

/** What each code carries. A new code gets a row here, a status in `api/problem.ts` and an exit code in `cli/exit.ts`. */
export interface ErrorDetails {
  ERR_NOT_LEADER: { leader: string | undefined }
  ERR_NO_LEADER: { waitedMs: number }
  ERR_UNKNOWN_OUTCOME: { hint: string }
  ERR_STOPPED: { what: string }
  ERR_TIMEOUT: { what: string; afterMs: number }
  ERR_PEER_UNREACHABLE: { peer: string; reason: string }
  ERR_PROTOCOL: { where: string; reason: string }
  ERR_FORBIDDEN: { what: string }
  ERR_LIMIT: { what: string; max: number }
  ERR_BUSY: { what: string; retryAfterMs: number }
  ERR_MANIFEST_INVALID: { issues: readonly Issue[] }
  ERR_CONFIG_INVALID: { issues: readonly Issue[] }
  ERR_REQUEST_INVALID: { issues: readonly Issue[] }
  ERR_UNPLACEABLE: { task: string; reasons: readonly string[] }
  ERR_CONFLICT: { reason: string }
  ERR_NEWER_CLUSTER: { reason: string }
  ERR_KEY_CONFLICT: { key: string; run: string }
  ERR_RUN_NOT_FOUND: { run: string }
  ERR_TASK_NOT_FOUND: { run: string; task: string }
  ERR_NODE_NOT_FOUND: { node: string; nearest: string | undefined }
  ERR_RUN_NOT_FINISHED: { run: string }
  ERR_ATTEMPT_GONE: { run: string; task: string }
  ERR_LEASE_LOST: { task: string; attempt: number }
  ERR_BLOB_NOT_FOUND: { digest: string }
  ERR_BLOB_CORRUPT: { expected: string; actual: string }
  ERR_BUNDLE_NOT_FOUND: { run: string }
  ERR_BUNDLE_INVALID: { path: string; reason: string }
  ERR_KEEPER: { reason: string }
  ERR_STORAGE: { path: string; reason: string }
  ERR_LOG_CORRUPT: { file: string; offset: number; reason: string }
  ERR_ADDRESS_IN_USE: { address: string; flag: string }
  ERR_UNSUPPORTED: { what: string }
}
export type ErrorCode = keyof ErrorDetails

export class TroupeError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "TroupeError"
  readonly code: Code
  readonly details: ErrorDetails[Code]

  constructor(code: Code, message: string, details: ErrorDetails[Code], options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.details = details
  }
}

export type AnyTroupeError = { [Code in ErrorCode]: TroupeError<Code> }[ErrorCode]

/** Narrows: after `isTroupeError(error) && error.code === "ERR_NOT_LEADER"`, `error.details.leader` is typed. */
export function isTroupeError(error: unknown): error is AnyTroupeError {
  return error instanceof TroupeError
}

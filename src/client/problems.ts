/** From what the network says to TroupeError: problems keep their code, lost connections become ours. */
import {
  type ErrorCode,
  type ErrorDetails,
  type Issue,
  isTroupeError,
  Problem,
  TroupeError,
} from "../schema/index.ts"

type FieldKind = "string" | "number" | "strings" | "issues"
type KindOf<T> = [T] extends [readonly Issue[]]
  ? "issues"
  : [T] extends [readonly string[]]
    ? "strings"
    : [T] extends [number]
      ? "number"
      : "string"

/** What each code carries, so that an answer's `details` can be trusted to have it. */
const fields: {
  readonly [Code in ErrorCode]: {
    readonly [F in keyof ErrorDetails[Code]]-?: KindOf<ErrorDetails[Code][F]>
  }
} = {
  ERR_NOT_LEADER: { leader: "string" },
  ERR_NO_LEADER: { waitedMs: "number" },
  ERR_UNKNOWN_OUTCOME: { hint: "string" },
  ERR_STOPPED: { what: "string" },
  ERR_TIMEOUT: { what: "string", afterMs: "number" },
  ERR_PEER_UNREACHABLE: { peer: "string", reason: "string" },
  ERR_PROTOCOL: { where: "string", reason: "string" },
  ERR_FORBIDDEN: { what: "string" },
  ERR_LIMIT: { what: "string", max: "number" },
  ERR_BUSY: { what: "string", retryAfterMs: "number" },
  ERR_MANIFEST_INVALID: { issues: "issues" },
  ERR_CONFIG_INVALID: { issues: "issues" },
  ERR_REQUEST_INVALID: { issues: "issues" },
  ERR_UNPLACEABLE: { task: "string", reasons: "strings" },
  ERR_CONFLICT: { reason: "string" },
  ERR_NEWER_CLUSTER: { reason: "string" },
  ERR_KEY_CONFLICT: { key: "string", run: "string" },
  ERR_RUN_NOT_FOUND: { run: "string" },
  ERR_TASK_NOT_FOUND: { run: "string", task: "string" },
  ERR_NODE_NOT_FOUND: { node: "string", nearest: "string" },
  ERR_RUN_NOT_FINISHED: { run: "string" },
  ERR_ATTEMPT_GONE: { run: "string", task: "string" },
  ERR_LEASE_LOST: { task: "string", attempt: "number" },
  ERR_BLOB_NOT_FOUND: { digest: "string" },
  ERR_BLOB_CORRUPT: { expected: "string", actual: "string" },
  ERR_BUNDLE_NOT_FOUND: { run: "string" },
  ERR_BUNDLE_INVALID: { path: "string", reason: "string" },
  ERR_KEEPER: { reason: "string" },
  ERR_STORAGE: { path: "string", reason: "string" },
  ERR_LOG_CORRUPT: { file: "string", offset: "number", reason: "string" },
  ERR_ADDRESS_IN_USE: { address: "string", flag: "string" },
  ERR_UNSUPPORTED: { what: "string" },
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(fields, code)
}

/** The error that an answer's body tells of; ERR_PROTOCOL when it tells of none that is known. */
export function errorOf(
  body: unknown,
  answer: { readonly status: number; readonly url: string },
): TroupeError {
  const problem = Problem.safeParse(body)
  if (!problem.success) {
    const reason = `status ${answer.status} without a problem that troupe knows; is this a troupe node?`
    return new TroupeError("ERR_PROTOCOL", `${answer.url} answered ${reason}`, {
      where: answer.url,
      reason,
    })
  }
  const { code, title, detail } = problem.data
  const message = detail ?? title
  if (isErrorCode(code)) return troupeError(code, message, problem.data)
  return new TroupeError("ERR_PROTOCOL", message, {
    where: answer.url,
    reason: `${answer.status} ${code}`,
  })
}

function troupeError<Code extends ErrorCode>(
  code: Code,
  message: string,
  problem: Problem,
): TroupeError<Code> {
  const details: Record<string, unknown> = {}
  for (const [name, kind] of Object.entries<FieldKind>(fields[code])) {
    details[name] =
      kind === "issues" ? (problem.errors ?? []) : fieldOf(problem.details?.[name], kind)
  }
  // The table above is typed by ErrorDetails, so what was read by it has that shape.
  return new TroupeError(code, message, details as ErrorDetails[Code])
}

/** An absent or wrong value becomes an empty one: a message must not fail because of its decoration. */
function fieldOf(value: unknown, kind: Exclude<FieldKind, "issues">): unknown {
  if (kind === "strings") return Array.isArray(value) ? value.map(String) : []
  if (kind === "number") return typeof value === "number" ? value : 0
  return typeof value === "string" ? value : undefined
}

/** No node answers at these URLs. */
export function unreachable(
  urls: readonly string[],
  cause: unknown,
): TroupeError<"ERR_PEER_UNREACHABLE"> {
  const reason = reasonOf(cause)
  const where = urls.join(", ")
  return new TroupeError(
    "ERR_PEER_UNREACHABLE",
    `no troupe node answers at ${where} (${reason}); start one with \`troupe node start\``,
    { peer: where, reason },
    { cause },
  )
}

/** A node that has a process, and no answer. `listens`: undefined where that cannot be told. */
export function frozen(
  url: string,
  listens: boolean | undefined,
): TroupeError<"ERR_PEER_UNREACHABLE"> {
  const reason =
    listens === false
      ? "takes no connections and does not refuse them: its machine is off, or the way there is cut"
      : "accepts connections but does not answer: its process is stopped, or its machine is overloaded"
  return new TroupeError("ERR_PEER_UNREACHABLE", `${url} ${reason}`, {
    peer: url,
    reason: frozenReason,
  })
}

const frozenReason = "does not answer"

/** True for what frozen() made: the request may have arrived. */
export function isFrozen(error: unknown): error is TroupeError<"ERR_PEER_UNREACHABLE"> {
  return (
    isTroupeError(error) &&
    error.code === "ERR_PEER_UNREACHABLE" &&
    error.details.reason === frozenReason
  )
}

/** fetch says only "fetch failed"; the reason is its cause's, or one of several addresses'. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (error.cause instanceof Error) return reasonOf(error.cause)
  const code = codeOf(error)
  return code === undefined || error.message.includes(code)
    ? error.message
    : `${error.message} ${code}`.trim()
}

/** True when surely nothing was sent: nobody listens there. Browsers do not tell, so there it is false. */
export function isRefused(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof AggregateError)
    return error.errors.length > 0 && error.errors.every(isRefused)
  const code = codeOf(error)
  if (code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EHOSTUNREACH") return true
  return error.cause !== undefined && isRefused(error.cause)
}

function codeOf(error: Error): string | undefined {
  return "code" in error && typeof error.code === "string" ? error.code : undefined
}

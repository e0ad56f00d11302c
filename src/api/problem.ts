/** How every error leaves this node over HTTP: one table of statuses, one body (RFC 9457). */
import {
  type AnyTroupeError,
  type ErrorCode,
  type Issue,
  isTroupeError,
  type Problem,
} from "../schema/index.ts"

export interface ProblemRow {
  readonly status: number
  /** The same sentence for every error of this code. */
  readonly title: string
  /** Seconds for Retry-After: asking again may help. */
  readonly retryAfterS?: number
}

/** Status and title of every error code. docs/api.md shows this table. */
export const problemTable: { readonly [Code in ErrorCode]: ProblemRow } = {
  ERR_NOT_LEADER: { status: 503, title: "This node is not the leader", retryAfterS: 1 },
  ERR_NO_LEADER: { status: 503, title: "The cluster has no leader now", retryAfterS: 2 },
  ERR_UNKNOWN_OUTCOME: {
    status: 503,
    title: "The leader was lost; ask again with the same Idempotency-Key",
    retryAfterS: 1,
  },
  ERR_STOPPED: { status: 503, title: "This node is stopping", retryAfterS: 2 },
  ERR_TIMEOUT: { status: 504, title: "It took too long" },
  ERR_PEER_UNREACHABLE: { status: 502, title: "Another node cannot be reached" },
  ERR_PROTOCOL: { status: 502, title: "Another node answered what cannot be understood" },
  ERR_FORBIDDEN: { status: 403, title: "Not allowed" },
  ERR_LIMIT: { status: 413, title: "A limit is exceeded" },
  ERR_BUSY: { status: 503, title: "Too busy now", retryAfterS: 1 },
  ERR_MANIFEST_INVALID: { status: 422, title: "The manifest has mistakes" },
  ERR_CONFIG_INVALID: { status: 500, title: "The node's configuration has mistakes" },
  ERR_REQUEST_INVALID: { status: 400, title: "The request has mistakes" },
  ERR_UNPLACEABLE: { status: 422, title: "No node can take a task" },
  ERR_NEWER_CLUSTER: { status: 409, title: "This node is older than its cluster" },
  ERR_CONFLICT: { status: 409, title: "The cluster cannot do that now" },
  ERR_KEY_CONFLICT: { status: 422, title: "The Idempotency-Key was used for another request" },
  ERR_RUN_NOT_FOUND: { status: 404, title: "There is no such run" },
  ERR_TASK_NOT_FOUND: { status: 404, title: "The run has no such task" },
  ERR_NODE_NOT_FOUND: { status: 404, title: "There is no such node" },
  ERR_RUN_NOT_FINISHED: { status: 409, title: "The run is not finished yet" },
  ERR_ATTEMPT_GONE: { status: 410, title: "The attempt is gone from its node" },
  ERR_LEASE_LOST: { status: 409, title: "The attempt is no longer this node's" },
  ERR_BLOB_NOT_FOUND: { status: 404, title: "A file was not uploaded, or is gone" },
  ERR_BLOB_CORRUPT: { status: 422, title: "The bytes do not have the digest that was named" },
  ERR_BUNDLE_NOT_FOUND: { status: 404, title: "The run has no bundle" },
  ERR_BUNDLE_INVALID: { status: 500, title: "The bundle on disk is damaged" },
  ERR_KEEPER: { status: 503, title: "The process keeper does not answer", retryAfterS: 2 },
  ERR_STORAGE: { status: 500, title: "The disk failed" },
  ERR_LOG_CORRUPT: { status: 500, title: "The node's log is damaged" },
  ERR_ADDRESS_IN_USE: { status: 500, title: "An address is in use" },
  ERR_UNSUPPORTED: { status: 501, title: "Not supported" },
}

/** What only HTTP knows of; no other face of troupe has these codes. */
export const httpProblemTable = {
  ERR_ROUTE_NOT_FOUND: { status: 404, title: "There is no such route" },
  ERR_METHOD_NOT_ALLOWED: { status: 405, title: "The route does not take this method" },
  ERR_MEDIA_TYPE: { status: 415, title: "The body is of a type that the route does not take" },
  ERR_INTERNAL: { status: 500, title: "The node made a mistake" },
} as const satisfies Record<string, ProblemRow>
export type HttpProblemCode = keyof typeof httpProblemTable

/** Thrown by the API's own plumbing for what is no TroupeError. */
export class HttpProblem extends Error {
  override readonly name = "HttpProblem"
  readonly code: HttpProblemCode

  constructor(code: HttpProblemCode, message: string) {
    super(message)
    this.code = code
  }
}

export interface ProblemAnswer {
  readonly body: Problem
  readonly retryAfterS: number | undefined
  /** Our own mistake: the caller logs it, the answer does not show it. */
  readonly internal: boolean
}

/** Any thrown value as a problem. What is unknown becomes a 500 that says nothing of its inside. */
export function problemOf(error: unknown): ProblemAnswer {
  if (isTroupeError(error)) return troupeProblem(error)
  if (error instanceof HttpProblem) return httpProblem(error.code, error.message)
  const fromFramework = frameworkProblem(error)
  if (fromFramework) return fromFramework
  return {
    ...httpProblem("ERR_INTERNAL", "an unexpected error; the node's log has it"),
    internal: true,
  }
}

function httpProblem(code: HttpProblemCode, detail: string): ProblemAnswer {
  const { status, title } = httpProblemTable[code]
  return {
    body: { type: typeOf(code), title, status, detail, code },
    retryAfterS: undefined,
    internal: false,
  }
}

function troupeProblem(error: AnyTroupeError): ProblemAnswer {
  const row = problemTable[error.code]
  const { issues, ...details }: { issues?: readonly Issue[] } & Record<string, unknown> =
    error.details
  const body: Problem = {
    type: typeOf(error.code),
    title: row.title,
    status: row.status,
    detail: error.message,
    code: error.code,
  }
  if (issues !== undefined) body.errors = issues.map((issue) => ({ ...issue }))
  if (Object.keys(details).length > 0) body.details = details
  const asked = error.code === "ERR_BUSY" ? Math.ceil(error.details.retryAfterMs / 1000) : undefined
  return {
    body,
    retryAfterS: asked === undefined ? row.retryAfterS : Math.max(1, asked),
    internal: row.status === 500,
  }
}

/** Fastify's own errors: it reads bodies and URLs before any code of ours runs. */
function frameworkProblem(error: unknown): ProblemAnswer | undefined {
  if (!(error instanceof Error) || !("statusCode" in error)) return undefined
  const { statusCode } = error
  const code = "code" in error ? error.code : undefined
  if (typeof statusCode !== "number" || statusCode < 400 || statusCode > 499) return undefined
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    const detail =
      "send `content-type: application/json`, or `application/yaml` for a bare manifest"
    return httpProblem("ERR_MEDIA_TYPE", detail)
  }
  const known = statusCode === 413 ? "ERR_LIMIT" : "ERR_REQUEST_INVALID"
  const { title } = problemTable[known]
  return {
    body: {
      type: typeOf(known),
      title,
      status: statusCode,
      detail: error.message,
      code: known,
      ...(known === "ERR_REQUEST_INVALID"
        ? { errors: [{ path: "", message: error.message }] }
        : { details: { what: "the body", max: jsonBytesMax } }),
    },
    retryAfterS: undefined,
    internal: false,
  }
}

/** Largest body that is read into memory. Blobs are streamed and have their own limit. */
export const jsonBytesMax = 8 * 2 ** 20

/** A URI that names the kind of problem; where it is explained in docs/api.md. */
function typeOf(code: string): string {
  return `urn:troupe:problem:${code.replace(/^ERR_/, "").toLowerCase().replaceAll("_", "-")}`
}

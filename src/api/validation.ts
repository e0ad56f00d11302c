/** zod's findings about a request as one ERR_REQUEST_INVALID, each mistake with its place. */
import type { FastifySchemaCompiler } from "fastify"
import * as z from "zod"
import { nearest } from "../lib/index.ts"
import { type Issue, TroupeError } from "../schema/index.ts"

/** At most this many mistakes in one answer. */
const issuesMax = 100

/** Fastify's hook: checks one part of a request (`body`, `querystring`, `params`, `headers`). */
export const validatorCompiler: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const part = httpPart ?? "body"
  return (data) => {
    // Fastify hands in null for a body that is not there.
    if (part === "body" && data === null) return { error: missingBody() }
    const checked = schema.safeParse(data)
    if (checked.success) return { value: checked.data }
    return { error: invalidRequest(issuesOf(checked.error, part, knownKeys(schema))) }
  }
}

/** One mistake or many, as one error. */
export function invalidRequest(issues: readonly Issue[]): TroupeError<"ERR_REQUEST_INVALID"> {
  const first = issues[0]
  const message = first ? sentence(first) : "the request is invalid"
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ""
  return new TroupeError("ERR_REQUEST_INVALID", message + more, {
    issues: issues.slice(0, issuesMax),
  })
}

function missingBody(): TroupeError<"ERR_REQUEST_INVALID"> {
  return invalidRequest([
    {
      path: "",
      message:
        "the body is missing: send JSON, or the manifest itself as `content-type: application/yaml`",
    },
  ])
}

function issuesOf(error: z.ZodError, part: string, known: readonly string[]): Issue[] {
  return error.issues.flatMap((issue): Issue[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => {
        const near = issue.path.length === 0 ? nearest(key, known) : undefined
        const hint = near === undefined ? "" : `; did you mean \`${near}\`?`
        return { path: pathOf(part, [...issue.path, key]), message: `is not known here${hint}` }
      })
    }
    return [{ path: pathOf(part, issue.path), message: plain(issue) }]
  })
}

function plain(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_type" && issue.message.endsWith("received undefined")) {
    return `is missing (${issue.expected})`
  }
  return issue.message.replace(/^Invalid input: /, "").replace(/^Invalid option: /, "")
}

const partNames: Readonly<Record<string, string>> = {
  querystring: "query",
  params: "path",
  headers: "header",
}

/** `files.a.digest` in the body; `query.limit`, `path.id`, `header.idempotency-key` elsewhere. */
function pathOf(part: string, path: readonly PropertyKey[]): string {
  const prefix = partNames[part]
  return [...(prefix === undefined ? [] : [prefix]), ...path.map(String)].join(".")
}

function knownKeys(schema: z.ZodType): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
}

function sentence(issue: Issue): string {
  return issue.path === "" ? issue.message : `${issue.path}: ${issue.message}`
}

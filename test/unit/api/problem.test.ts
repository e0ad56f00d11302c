/** Every error code has the status that its meaning asks for, and its details arrive. */
import { expect, test } from "vitest"
import { HttpProblem, problemOf, problemTable } from "../../../src/api/problem.ts"
import { type ErrorCode, Problem, TroupeError } from "../../../src/schema/index.ts"

/** By meaning: whose turn is it? 4xx the caller's, 503 wait, 5xx ours. */
const statuses: Readonly<Record<number, readonly ErrorCode[]>> = {
  400: ["ERR_REQUEST_INVALID"],
  403: ["ERR_FORBIDDEN"],
  404: [
    "ERR_RUN_NOT_FOUND",
    "ERR_TASK_NOT_FOUND",
    "ERR_NODE_NOT_FOUND",
    "ERR_BLOB_NOT_FOUND",
    "ERR_BUNDLE_NOT_FOUND",
  ],
  409: ["ERR_CONFLICT", "ERR_NEWER_CLUSTER", "ERR_RUN_NOT_FINISHED", "ERR_LEASE_LOST"],
  410: ["ERR_ATTEMPT_GONE"],
  413: ["ERR_LIMIT"],
  422: ["ERR_MANIFEST_INVALID", "ERR_UNPLACEABLE", "ERR_KEY_CONFLICT", "ERR_BLOB_CORRUPT"],
  500: [
    "ERR_CONFIG_INVALID",
    "ERR_BUNDLE_INVALID",
    "ERR_STORAGE",
    "ERR_LOG_CORRUPT",
    "ERR_ADDRESS_IN_USE",
  ],
  501: ["ERR_UNSUPPORTED"],
  502: ["ERR_PEER_UNREACHABLE", "ERR_PROTOCOL"],
  503: [
    "ERR_NOT_LEADER",
    "ERR_NO_LEADER",
    "ERR_UNKNOWN_OUTCOME",
    "ERR_STOPPED",
    "ERR_BUSY",
    "ERR_KEEPER",
  ],
  504: ["ERR_TIMEOUT"],
}

function sorted(lists: Readonly<Record<number, readonly string[]>>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(lists).map(([key, codes]) => [key, codes.toSorted()]))
}

test("the status of every code", () => {
  const found: Record<number, string[]> = {}
  for (const [code, { status }] of Object.entries(problemTable)) (found[status] ??= []).push(code)
  expect(sorted(found)).toEqual(sorted(statuses))
})

test("exactly the 503s say when to ask again", () => {
  for (const [code, { status, retryAfterS }] of Object.entries(problemTable)) {
    expect(retryAfterS !== undefined, code).toBe(status === 503)
  }
})

test("details arrive; issues become errors", () => {
  const { body } = problemOf(
    new TroupeError("ERR_UNPLACEABLE", "no node", { task: "server", reasons: ["needs iperf3"] }),
  )
  expect(Problem.parse(body)).toEqual({
    type: "urn:troupe:problem:unplaceable",
    title: "No node can take a task",
    status: 422,
    detail: "no node",
    code: "ERR_UNPLACEABLE",
    details: { task: "server", reasons: ["needs iperf3"] },
  })
  const issues = [{ path: "a", message: "is wrong", line: 1, column: 2 }]
  const invalid = problemOf(new TroupeError("ERR_REQUEST_INVALID", "wrong", { issues })).body
  expect(invalid.errors).toEqual(issues)
  expect(invalid.details).toBeUndefined()
})

test("a busy node says how long, rounded up to whole seconds", () => {
  const seconds = [0, 1, 1000, 1001].map((retryAfterMs) => {
    return problemOf(new TroupeError("ERR_BUSY", "busy", { what: "disk", retryAfterMs }))
      .retryAfterS
  })
  expect(seconds).toEqual([1, 1, 1, 2])
})

test("what is no error of the world is a 500 that hides it", () => {
  for (const thrown of [new Error("/secret"), "text", undefined, { code: "ERR_LIMIT" }]) {
    const { body, internal } = problemOf(thrown)
    expect(body).toMatchObject({ status: 500, code: "ERR_INTERNAL" })
    expect(JSON.stringify(body)).not.toContain("secret")
    expect(internal).toBe(true)
  }
})

test("HTTP's own problems", () => {
  const { body, internal } = problemOf(new HttpProblem("ERR_METHOD_NOT_ALLOWED", "PATCH"))
  expect(Problem.parse(body)).toMatchObject({ status: 405, detail: "PATCH" })
  expect(internal).toBe(false)
})

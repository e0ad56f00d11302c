/** Errors survive the wire: what a node threw is what the client throws. */
import { expect, test } from "vitest"
import { problemOf } from "../../../src/api/problem.ts"
import { errorOf, isRefused, reasonOf } from "../../../src/client/problems.ts"
import { everyError } from "../../support/fake-face.ts"

const answer = { status: 500, url: "http://n/v1/runs" }

test.each(everyError.map((error) => [error.code, error] as const))("%s", (_code, error) => {
  const { body } = problemOf(error)
  const back = errorOf(JSON.parse(JSON.stringify(body)), { ...answer, status: body.status })
  expect({ code: back.code, message: back.message, details: back.details }).toEqual({
    code: error.code,
    message: error.message,
    details: error.details,
  })
})

test("details that are missing or wrong become empty ones of the right kind", () => {
  const problem = { type: "t", title: "Title", status: 422 }
  const unplaceable = errorOf(
    { ...problem, code: "ERR_UNPLACEABLE", details: { reasons: 3 } },
    answer,
  )
  expect(unplaceable.details).toEqual({ task: undefined, reasons: [] })
  expect(unplaceable.message).toBe("Title")
  expect(errorOf({ ...problem, code: "ERR_MANIFEST_INVALID" }, answer).details).toEqual({
    issues: [],
  })
})

test.each([
  ["a page", "<html>"],
  ["nothing", undefined],
  ["another's JSON", { error: "x" }],
  ["a code of a newer node", { type: "t", title: "T", status: 500, code: "ERR_NEW" }],
  ["a name that every object has", { type: "t", title: "T", status: 500, code: "toString" }],
])("%s is ERR_PROTOCOL and names the URL", (_name, body) => {
  const error = errorOf(body, answer)
  expect(error).toMatchObject({ code: "ERR_PROTOCOL", details: { where: answer.url } })
})

function system(code: string): Error {
  return Object.assign(new Error(`connect ${code}`), { code })
}

/** As fetch of Node throws it. */
function wrapped(cause: Error): Error {
  return new TypeError("fetch failed", { cause })
}

test("a refused connection is told from one that broke", () => {
  expect(isRefused(wrapped(system("ECONNREFUSED")))).toBe(true)
  const both = new AggregateError([system("ECONNREFUSED"), system("ECONNREFUSED")])
  expect(isRefused(wrapped(both))).toBe(true)
  const mixed = new AggregateError([system("ECONNREFUSED"), system("ETIMEDOUT")])
  expect(isRefused(wrapped(mixed))).toBe(false)
  expect(isRefused(wrapped(system("ECONNRESET")))).toBe(false)
  expect(isRefused(new TypeError("Failed to fetch"))).toBe(false)
  expect(reasonOf(wrapped(both))).toBe("connect ECONNREFUSED")
})

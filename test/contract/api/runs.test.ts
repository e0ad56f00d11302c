/** Runs over real HTTP: hand in, list, show, cancel, and the errors of each. */
import { expect, test } from "vitest"
import { Problem, RunList, RunView, TroupeError } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { serve } from "./served.ts"

const manifest = JSON.stringify({ document: "api_version: v1\n" })
const json = { "content-type": "application/json" }

test("a run is accepted with 201 and its place, and found there", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/v1/runs`, { method: "POST", headers: json, body: manifest })
  expect(answer.status).toBe(201)
  const run = RunView.parse(await answer.json())
  expect(answer.headers.get("location")).toBe(`/v1/runs/${run.id}`)
  expect(answer.headers.get("troupe-node")).toBe("ada")
  const shown = await fetch(url + answer.headers.get("location")!)
  expect(RunView.parse(await shown.json())).toEqual(run)
})

test("the bare manifest is taken as YAML, with the defaults of the JSON form", async () => {
  const { url, face } = await serve()
  const answer = await fetch(`${url}/v1/runs`, {
    method: "POST",
    headers: { "content-type": "application/yaml; charset=utf-8" },
    body: "api_version: v1\nrun_id: größe\n",
  })
  expect(answer.status).toBe(201)
  expect(face.calls[0]).toEqual({
    method: "submitRun",
    argument: {
      document: "api_version: v1\nrun_id: größe\n",
      file: "manifest.yaml",
      agents: {},
      files: {},
      lenient: false,
      analyze: true,
      diff: true,
    },
  })
})

test("the same key again: 200 with the same run; with another body: 422", async () => {
  const { url } = await serve()
  const post = (key: string, body: string) =>
    fetch(`${url}/v1/runs`, {
      method: "POST",
      headers: { ...json, "idempotency-key": key },
      body,
    })
  const first = await post("k-1", manifest)
  // A structured-field string (the IETF draft) and the bare key are the same key.
  const again = await post('"k-1"', manifest)
  expect([first.status, again.status]).toEqual([201, 200])
  expect(RunView.parse(await again.json()).id).toBe(RunView.parse(await first.json()).id)
  const other = await post("k-1", JSON.stringify({ document: "something: else\n" }))
  expect(other.status).toBe(422)
  expect(Problem.parse(await other.json()).code).toBe("ERR_KEY_CONFLICT")
})

test("a dry run answers the plan and submits nothing", async () => {
  const { url, face } = await serve()
  const answer = await fetch(`${url}/v1/runs?dryRun=true`, {
    method: "POST",
    headers: json,
    body: manifest,
  })
  expect(answer.status).toBe(200)
  expect(await answer.json()).toMatchObject({ placements: [{ task: "server", node: "bob" }] })
  expect(face.calls.map((call) => call.method)).toEqual(["planRun"])
})

test("a manifest's mistakes come as errors with file, line and column", async () => {
  const { url, face } = await serve()
  const issues = [
    { path: "roles.server", message: "is missing", file: "m.yaml", line: 3, column: 1 },
    { path: "rolez", message: "did you mean `roles`?", file: "m.yaml", line: 7, column: 1 },
  ]
  face.fail("submitRun", new TroupeError("ERR_MANIFEST_INVALID", "two mistakes", { issues }))
  const answer = await fetch(`${url}/v1/runs`, { method: "POST", headers: json, body: manifest })
  expect(answer.status).toBe(422)
  expect(answer.headers.get("content-type")).toMatch(/^application\/problem\+json/)
  expect(Problem.parse(await answer.json())).toEqual({
    type: "urn:troupe:problem:manifest-invalid",
    title: "The manifest has mistakes",
    status: 422,
    detail: "two mistakes",
    code: "ERR_MANIFEST_INVALID",
    errors: issues,
  })
})

test.each([
  { name: "no body", headers: json, status: 400, says: "the body is empty" },
  { name: "no JSON", headers: json, body: "{ document", status: 400, says: "is not JSON" },
  {
    name: "a slip",
    headers: json,
    body: '{"document":"a","lenent":true}',
    status: 400,
    says: "did you mean `lenient`?",
  },
  {
    name: "a missing field",
    headers: json,
    body: "{}",
    status: 400,
    says: "document: is missing (string)",
  },
  {
    name: "a wrong type",
    headers: json,
    body: '{"document":3}',
    status: 400,
    says: "document: expected string",
  },
  {
    name: "plain text",
    headers: { "content-type": "text/plain" },
    body: "a: 1",
    status: 415,
    says: "application/yaml",
  },
  {
    name: "a bad key",
    headers: { ...json, "idempotency-key": "a b" },
    body: manifest,
    status: 400,
    says: "header.idempotency-key",
  },
])("$name is refused with the reason", async ({ headers, body, status, says }) => {
  const { url, face } = await serve()
  const answer = await fetch(`${url}/v1/runs`, { method: "POST", headers, body: body ?? null })
  const problem = Problem.parse(await answer.json())
  expect({ status: answer.status, detail: problem.detail }).toEqual({
    status,
    detail: expect.stringContaining(says),
  })
  expect(face.calls).toEqual([])
})

test("every unknown field and every wrong one is named with its path", async () => {
  const { url } = await serve()
  const answer = await fetch(`${url}/v1/runs`, {
    method: "POST",
    headers: json,
    body: JSON.stringify({ document: "", a: 1, files: { x: { digest: "no", bytes: -1, b: 2 } } }),
  })
  const { errors } = Problem.parse(await answer.json())
  expect(errors?.map((error) => error.path).toSorted()).toEqual(
    ["a", "files.x.absolute", "files.x.b", "files.x.bytes", "files.x.digest"].toSorted(),
  )
})

test("a list has pages, linked", async () => {
  const { url, face } = await serve()
  for (const n of [1, 2, 3]) face.addRun(aRun({ id: `r-${n}` }))
  face.addRun(aRun({ id: "r-4", state: "finished" }))
  const first = await fetch(`${url}/v1/runs?state=active&limit=2`)
  expect(RunList.parse(await first.json()).items.map((run) => run.id)).toEqual(["r-3", "r-2"])
  const next = /^<(.+)>; rel="next"$/.exec(first.headers.get("link") ?? "")?.[1]
  const second = await fetch(url + next!)
  expect(RunList.parse(await second.json()).items.map((run) => run.id)).toEqual(["r-1"])
  expect(second.headers.get("link")).toBeNull()
})

test.each(["?limit=0", "?limit=1001", "?limit=x", "?state=gone", "?stat=active"])(
  "the list query %s is refused",
  async (query) => {
    const { url } = await serve()
    const answer = await fetch(`${url}/v1/runs${query}`)
    expect(answer.status).toBe(400)
    expect(Problem.parse(await answer.json()).errors?.[0]?.path).toMatch(/^query\./)
  },
)

test("cancelling hands on the reason and answers 202", async () => {
  const { url, face } = await serve()
  face.addRun(aRun())
  const answer = await fetch(`${url}/v1/runs/r-12?reason=wrong%20port`, { method: "DELETE" })
  expect(answer.status).toBe(202)
  expect(RunView.parse(await answer.json()).cancelRequested).toBe("wrong port")
})

test("warnings of a submit come as headers, whatever their letters", async () => {
  const { url, face } = await serve()
  face.warnings = ["Größe, 50 %", "line\nbreak"]
  const answer = await fetch(`${url}/v1/runs`, { method: "POST", headers: json, body: manifest })
  const header = answer.headers.get("troupe-warning") ?? ""
  expect(header.split(", ").map(decodeURIComponent)).toEqual(face.warnings)
})

test("no leader: 503 and when to ask again", async () => {
  const { url, face } = await serve()
  face.fail("getRun", new TroupeError("ERR_NO_LEADER", "no leader", { waitedMs: 2000 }))
  const answer = await fetch(`${url}/v1/runs/r-1`)
  expect(answer.status).toBe(503)
  expect(answer.headers.get("retry-after")).toBe("2")
  expect(Problem.parse(await answer.json()).details).toEqual({ waitedMs: 2000 })
})

/** Whatever is sent, the node never answers 500 and never falls over. */
import * as fc from "fast-check"
import { request } from "node:http"
import { expect, test } from "vitest"
import { Problem } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { serve } from "./served.ts"

interface Sent {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

async function send(
  port: number,
  { method, path, headers, body }: Sent,
): Promise<{ status: number; text: string }> {
  const done = Promise.withResolvers<{ status: number; text: string }>()
  const framed = body.length === 0 ? headers : { ...headers, "content-length": body.length }
  const options = { host: "127.0.0.1", port, method, path, headers: framed, agent: false }
  request(options, (response) => {
    let text = ""
    response.setEncoding("utf8")
    response.on("data", (piece: string) => {
      text += piece
    })
    response.on("end", () => done.resolve({ status: response.statusCode!, text }))
    response.on("error", done.reject)
  })
    .on("error", done.reject)
    .end(body)
  return await done.promise
}

const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
const segment = fc.oneof(
  fc.constantFrom(
    "v1",
    "runs",
    "r-12",
    "logs",
    "bundle",
    "blobs",
    "nodes",
    "cluster",
    "%",
    "..",
    "",
  ),
  fc.string().map((text) => encodeURIComponent(text.toWellFormed())),
)
const query = fc.dictionary(
  fc.constantFrom("limit", "state", "task", "offset", "attempt", "dryRun", "reason", "x"),
  fc.oneof(
    fc.string().map((text) => text.toWellFormed()),
    fc.constantFrom("1", "-1", "1e400", "true"),
  ),
)
const headers = fc.record(
  {
    "content-type": fc.constantFrom(
      "application/json",
      "application/yaml",
      "text/plain",
      "x",
      ";;",
      'a/b; c="d',
    ),
    "idempotency-key": fc.stringMatching(/^[\x20-\x7e]{1,300}$/),
    accept: fc.constantFrom("*/*", "application/x-ndjson", "nonsense"),
    "content-encoding": fc.constantFrom("gzip", "identity"),
  },
  { requiredKeys: [] },
)
const body = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.json().map((text) => Buffer.from(text)),
  fc
    .record(
      {
        document: fc.oneof(fc.string(), fc.anything()),
        files: fc.oneof(fc.dictionary(fc.string(), fc.anything()), fc.anything()),
        agents: fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer())),
        lenient: fc.oneof(fc.boolean(), fc.string()),
        timeoutMs: fc.double(),
        __proto__: fc.constant(null),
      },
      { requiredKeys: [] },
    )
    .map((value) => Buffer.from(safeJson(value))),
)

function safeJson(value: unknown): string {
  try {
    return JSON.stringify(value) ?? "null"
  } catch {
    // fc.anything() makes big integers too, which JSON cannot hold.
    return "null"
  }
}

test("random requests are answered, and every error is a problem", async () => {
  const { port, face, logged } = await serve()
  face.addRun(aRun())
  await fc.assert(
    fc.asyncProperty(
      method,
      fc.oneof(
        fc.constant("/v1/runs"),
        fc.array(segment, { maxLength: 5 }).map((all) => `/${all.join("/")}`),
      ),
      query,
      fc.record({ headers, body }),
      async (verb, path, search, message) => {
        const answer = await send(port, {
          method: verb,
          path: `${path}?${new URLSearchParams(search)}`,
          ...message,
        })
        expect(answer.status).not.toBe(500)
        if (answer.status >= 400) {
          expect(Problem.parse(JSON.parse(answer.text)).status).toBe(answer.status)
        }
      },
    ),
    { numRuns: 600 },
  )
  expect(logged).toEqual([])
  const alive = await send(port, {
    method: "GET",
    path: "/livez",
    headers: {},
    body: new Uint8Array(),
  })
  expect(alive.status).toBe(200)
})

test("random submits: taken when they have a document and nothing wrong, else 400 with paths", async () => {
  const { port, face, logged } = await serve()
  const json = { "content-type": "application/json" }
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("/v1/runs", "/v1/runs?dryRun=true"),
      body,
      async (path, bytes) => {
        const calls = face.calls.length
        const answer = await send(port, { method: "POST", path, headers: json, body: bytes })
        expect([200, 201, 400]).toContain(answer.status)
        // Refused means that the node never heard of it.
        expect(face.calls.length - calls).toBe(answer.status === 400 ? 0 : 1)
        if (answer.status === 400) {
          expect(Problem.parse(JSON.parse(answer.text)).errors?.length).toBeGreaterThan(0)
        }
      },
    ),
    { numRuns: 600 },
  )
  expect(logged).toEqual([])
})

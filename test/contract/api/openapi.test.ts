/** The OpenAPI document says of every route what it takes and what it answers. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { serve } from "./served.ts"

interface Parameter {
  readonly name: string
  readonly in: string
  readonly description?: string
}
interface Answer {
  readonly description: string
  readonly content?: Readonly<Record<string, { readonly schema: object }>>
}
interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, object>> }
  readonly responses: Readonly<Record<string, Answer>>
}
interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

async function load(): Promise<{ document: Document; text: string }> {
  const { url } = await serve()
  const text = await (await fetch(`${url}/openapi.json`)).text()
  return { document: JSON.parse(text) as Document, text }
}

function operations(document: Document): { name: string; operation: Operation }[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  )
}

/** Route: parameters | request types | answers. Written down from the design, not from the document. */
const expected: Readonly<Record<string, string>> = {
  "POST /v1/runs": "dryRun idempotency-key | application/json application/yaml | 200 201 default",
  "GET /v1/runs": "cursor limit state | | 200 default",
  "POST /v1/jobs": "dryRun idempotency-key | application/json | 200 201 default",
  "POST /v1/runs/{id}/retry": "id idempotency-key | application/json | 200 201 default",
  "GET /v1/runs/{id}/explain": "id | | 200 default",
  "GET /v1/runs/{id}/tasks/{task}/explain": "id task | | 200 default",
  "GET /v1/runs/{id}": "id tasks | | 200 default",
  "DELETE /v1/runs/{id}": "id reason | | 202 204 default",
  "PUT /v1/runs/{id}/pin": "id | | 200 default",
  "DELETE /v1/runs/{id}/pin": "id | | 200 default",
  "GET /v1/runs/{id}/events": "accept after id last-event-id | | 200 204 default",
  "GET /v1/runs/{id}/logs": "attempt follow id offset stream task | | 200 default",
  "GET /v1/runs/{id}/output": "follow id since sinceMs stream tail task | | 200 default",
  "POST /v1/runs/{id}/output":
    "follow id since sinceMs stream tail task | application/json | 200 default",
  "GET /v1/runs/{id}/bundle": "id | | 200 default",
  "PUT /v1/blobs/{sha256}": "sha256 | application/octet-stream | 200 201 default",
  "GET /v1/nodes": " | | 200 default",
  "GET /v1/cluster/status": " | | 200 default",
  "GET /cluster/status": " | | 200 default",
  "GET /v1/cluster/health": " | | 200 default",
  "GET /v1/cluster/replica": " | | 200 default",
  "POST /v1/cluster/transfer": " | application/json | 200 default",
  "POST /v1/cluster/remove": " | application/json | 200 default",
  "POST /v1/nodes/{node}/cordon": "node | application/json | 200 default",
  "POST /v1/nodes/{node}/declare-dead": "node | application/json | 200 default",
  "GET /health": " | | 200 503 default",
  "GET /livez": " | | 200 default",
  "GET /readyz": "verbose | | 200 503 default",
  "GET /metrics": " | | 200 default",
}

test("every route with its parameters, bodies and answers", async () => {
  const { document } = await load()
  expect(document.openapi).toBe("3.1.0")
  const found = Object.fromEntries(
    operations(document).map(({ name, operation }) => [
      name,
      [
        (operation.parameters ?? []).map((parameter) => parameter.name).toSorted(),
        Object.keys(operation.requestBody?.content ?? {}).toSorted(),
        Object.keys(operation.responses),
      ]
        .map((words) => words.join(" "))
        .join(" | ")
        .replace("|  |", "| |"),
    ]),
  )
  expect(found).toEqual(expected)
})

test("each has words for people, and a problem as its last answer", async () => {
  const { document } = await load()
  const all = operations(document)
  expect(new Set(all.map(({ operation }) => operation.operationId)).size).toBe(all.length)
  for (const { name, operation } of all) {
    expect(operation.summary, name).toMatch(/^[A-Z]/)
    expect(operation.tags, name).toHaveLength(1)
    for (const parameter of operation.parameters ?? []) {
      expect(parameter.description, `${name} ${parameter.name}`).toMatch(/^\S/)
    }
    for (const [status, answer] of Object.entries(operation.responses)) {
      expect(answer.description, `${name} ${status}`).not.toBe("Default Response")
    }
    expect(operation.responses["default"]?.content, name).toEqual({
      "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
    })
  }
})

test("every reference leads somewhere, every component is used, and none has a twin", async () => {
  const { document, text } = await load()
  const names = Object.keys(document.components.schemas)
  const used = [...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1]!)
  expect([...new Set(used)].toSorted()).toEqual(names.toSorted())
  // What has defaults is only ever taken, never given, so it stands here in one form.
  expect(names.filter((name) => name.endsWith("Input"))).toEqual([
    "CordonNodeInput",
    "DeclareDeadInput",
    "RetryRunInput",
    "SubmitJobInput",
    "SubmitRunInput",
  ])
})

test("docs/api.md shows every route", () => {
  const docs = readFileSync(join(import.meta.dirname, "../../../docs/api.md"), "utf8")
  const shown = [...docs.matchAll(/^### `([A-Z]+ \/\S*)`/gm)].map((match) => match[1]!)
  expect(shown.toSorted()).toEqual([...Object.keys(expected), "GET /openapi.json"].toSorted())
})

/** The OpenAPI 3.1 document: made from the routes' schemas, then trimmed to what they use. */
import swagger from "@fastify/swagger"
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from "fastify-type-provider-zod"
import type { App } from "./context.ts"
import { schemaNames } from "./schemas.ts"

/** Has to stand before the routes are added. */
export async function describeRoutes(app: App, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "troupe",
        version,
        description: "Runs on a mesh of symmetric nodes. Any node answers any request.",
      },
      tags: [
        { name: "runs", description: "Hand in, follow, fetch" },
        { name: "blobs", description: "Files that a manifest names" },
        { name: "cluster", description: "Nodes and their health" },
        { name: "probes", description: "For machines" },
      ],
    },
    transform: createJsonSchemaTransform({ schemaRegistry: schemaNames }),
    transformObject: createJsonSchemaTransformObject({ schemaRegistry: schemaNames }),
  })
}

/** Served as text: the document does not change while the process lives. */
export function documentRoute(app: App): void {
  let text: string | undefined
  app.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(withRawBodies(trimmed(app.swagger())))
    reply.header("content-type", "application/json; charset=utf-8")
    return text
  })
}

/** fastify-type-provider-zod writes every named schema twice, as `X` and as `XInput`: where both say the same one goes,
 *  and so does what no route reaches. */
function trimmed(document: {
  readonly paths?: object
  readonly components?: { readonly schemas?: object }
}): object {
  const all: Readonly<Record<string, unknown>> = { ...document.components?.schemas }
  const isTwin = (name: string) =>
    name.endsWith("Input") && isSame(all[name], all[name.slice(0, -"Input".length)])
  const used = new Map<string, unknown>()
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit)
    if (typeof value !== "object" || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, entry(key, inner)]))
  }
  const entry = (key: string, value: unknown): unknown => {
    if (key !== "$ref" || typeof value !== "string") return visit(value)
    const found = value.slice(componentPrefix.length)
    const name = isTwin(found) ? found.slice(0, -"Input".length) : found
    if (!used.has(name)) {
      used.set(name, undefined)
      used.set(name, visit(all[name]))
    }
    return componentPrefix + name
  }
  const paths = visit(document.paths)
  const schemas = Object.fromEntries([...used].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  return { ...document, paths, components: { ...document.components, schemas } }
}

const componentPrefix = "#/components/schemas/"

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Bodies that are not JSON and so have no zod schema: the bare manifest, and the bytes of a blob. */
function withRawBodies(document: object): object {
  const { paths }: { paths?: Record<string, Record<string, unknown>> } = document
  const submit = operationAt(paths, "/v1/runs", "post")
  const put = operationAt(paths, "/v1/blobs/{sha256}", "put")
  const { requestBody }: { requestBody?: { content: Record<string, unknown> } } = submit
  if (requestBody) {
    requestBody.content["application/yaml"] = {
      schema: {
        type: "string",
        description: "The manifest itself, e.g. by `curl --data-binary @FILE`",
      },
    }
  }
  Object.assign(put, {
    requestBody: {
      required: true,
      description: "The bytes whose SHA-256 the path names",
      content: { "application/octet-stream": { schema: {} } },
    },
  })
  return document
}

function operationAt(
  paths: Record<string, Record<string, unknown>> | undefined,
  path: string,
  method: string,
): object {
  const operation = paths?.[path]?.[method]
  if (typeof operation !== "object" || operation === null) {
    throw new Error(`${method} ${path} is missing in the OpenAPI document`)
  }
  return operation
}

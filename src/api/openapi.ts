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
  const toComponents = createJsonSchemaTransformObject({ schemaRegistry: schemaNames })
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
    transformObject: (document) => trimmed(toComponents(document)),
  })
}

/** Served as text: the document does not change while the process lives. */
export function documentRoute(app: App): void {
  let text: string | undefined
  app.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) => {
    text ??= JSON.stringify(withRawBodies(app.swagger()))
    reply.header("content-type", "application/json; charset=utf-8")
    return text
  })
}

/** fastify-type-provider-zod writes every named schema twice, as `X` and as `XInput`: drop what no route reaches. */
function trimmed<D extends object>(document: D): D {
  const { components, ...rest }: { components?: { schemas?: Record<string, unknown> } } = document
  const schemas = components?.schemas ?? {}
  const used = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    else if (typeof value === "object" && value !== null) Object.entries(value).forEach(follow)
  }
  const follow = ([key, value]: [string, unknown]): void => {
    const name = /^#\/components\/schemas\/(.+)$/.exec(key === "$ref" ? String(value) : "")?.[1]
    if (name === undefined) return visit(value)
    if (used.has(name)) return
    used.add(name)
    visit(schemas[name])
  }
  visit(rest)
  const kept = Object.entries(schemas)
    .filter(([name]) => used.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return { ...document, components: { ...components, schemas: Object.fromEntries(kept) } }
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

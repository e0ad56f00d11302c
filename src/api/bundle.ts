/** GET /v1/runs/{id}/bundle: the packed bundle, with its digest in a header. */
import { Buffer } from "node:buffer"
import { bodyOf } from "./backpressure.ts"
import type { App, RouteContext } from "./context.ts"
import { bytesBody, problemResponse, RunParams } from "./schemas.ts"

export function bundleRoutes(app: App, { face, waits, logger }: RouteContext): void {
  const schema = {
    operationId: "readBundle",
    summary: "The run's bundle, a tar of `<label>/…`",
    description: "`Repr-Digest` (RFC 9530) holds the SHA-256 of the whole tar.",
    tags: ["runs"],
    params: RunParams,
    response: {
      200: {
        description: "The tar",
        content: { "application/x-tar": { schema: bytesBody } },
      },
      default: problemResponse,
    },
  }
  app.get("/v1/runs/:id/bundle", { schema }, async (request, reply) => {
    const { run, bundle, read } = await face.openBundle(request.params.id, waits.begin(reply.raw))
    const digest = Buffer.from(bundle.digest, "hex").toString("base64")
    reply
      .header("content-type", "application/x-tar")
      .header("content-length", bundle.bytes)
      .header("content-disposition", `attachment; filename="${fileName(run.label)}.tar"`)
      .header("repr-digest", `sha-256=:${digest}:`)
      .header("etag", `"${bundle.digest}"`)
      // A bundle never changes once its hashes are written, but a label may name a newer run tomorrow.
      .header("cache-control", "no-cache")
      .header("troupe-run", run.id)
    return reply.send(bodyOf(read, logger))
  })
}

/** Labels are safe file names already; what comes from an older state is made so. */
function fileName(label: string): string {
  return label.replace(/[^A-Za-z0-9._-]/g, "_")
}

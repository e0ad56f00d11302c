/** PUT /v1/blobs/{sha256}: bytes of any size, streamed from the socket to the store and never held. */
import type { IncomingMessage } from "node:http"
import type { Clock } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"
import type { App, RouteContext } from "./context.ts"
import { HttpProblem } from "./problem.ts"
import { BlobParams, BlobStored, jsonAnswer, problemResponse } from "./schemas.ts"

/** A sender that is silent for this long has gone. */
const stallMs = 60_000
/** After an early answer: the rest of the body is read and dropped for this long, so that the answer is seen. */
const lingerMs = 10_000

export async function blobRoutes(app: App, context: RouteContext): Promise<void> {
  // In a scope of its own: here every content type, JSON too, is bytes.
  await app.register(async (scope: App) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser("*", (_request, payload, done) => done(null, payload))
    putRoute(scope, context)
  })
}

function putRoute(app: App, { face, clock, waits, blobBytesMax }: RouteContext): void {
  const schema = {
    operationId: "putBlob",
    summary: "Store bytes under their SHA-256",
    description: "Kept here and on one more node (if there is one) before it answers.",
    tags: ["blobs"],
    params: BlobParams,
    response: {
      200: jsonAnswer(BlobStored, "It was here before"),
      201: jsonAnswer(BlobStored, "Stored"),
      default: problemResponse,
    },
  }
  app.put("/v1/blobs/:sha256", { schema }, async (request, reply) => {
    const options = waits.begin(reply.raw)
    const encoding = request.headers["content-encoding"] ?? "identity"
    if (encoding !== "identity") {
      throw new HttpProblem("ERR_MEDIA_TYPE", `content-encoding ${encoding} is not taken`)
    }
    const { raw } = request
    if (Number(raw.headers["content-length"] ?? 0) > blobBytesMax) {
      linger(raw, clock)
      throw tooLarge(blobBytesMax)
    }
    const { sha256 } = request.params
    const source = received(raw, { clock, max: blobBytesMax, signal: options.signal })
    try {
      const { bytes, created } = await face.putBlob(sha256, source, options)
      reply.code(created ? 201 : 200)
      return { digest: sha256, bytes, created }
    } finally {
      linger(raw, clock)
    }
  })
}

/** The body as it comes; the socket is read only as fast as this is. */
async function* received(
  raw: IncomingMessage,
  limits: { readonly clock: Clock; readonly max: number; readonly signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  let bytes = 0
  // The watch is on while we wait for the sender only: a slow store is not the sender's fault.
  const watch = () =>
    limits.clock.after(stallMs, () => {
      raw.destroy(
        new TroupeError("ERR_TIMEOUT", "the sender fell silent", {
          what: "the upload",
          afterMs: stallMs,
        }),
      )
    })
  let timer = watch()
  try {
    // Not destroyed on return: an error must still be answered over this connection.
    for await (const chunk of raw.iterator({ destroyOnReturn: false })) {
      timer.cancel()
      limits.signal.throwIfAborted()
      bytes += (chunk as Uint8Array).length
      if (bytes > limits.max) throw tooLarge(limits.max)
      yield chunk as Uint8Array
      timer = watch()
    }
  } finally {
    timer.cancel()
  }
}

/** Lets the rest of an unread body pass for a while; cut at once, the client would see a reset and no answer. */
function linger(raw: IncomingMessage, clock: Clock): void {
  if (raw.complete || raw.destroyed) return
  raw.resume()
  const timer = clock.after(lingerMs, () => raw.destroy())
  raw.once("close", () => timer.cancel())
}

function tooLarge(max: number): TroupeError<"ERR_LIMIT"> {
  return new TroupeError("ERR_LIMIT", `a blob has at most ${max} bytes`, { what: "blob", max })
}

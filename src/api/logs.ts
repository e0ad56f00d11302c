/** GET /v1/runs/{id}/logs: the bytes of one stream of one task, as they were written. */
import { Buffer } from "node:buffer"
import type { LogChunk } from "../schema/index.ts"
import { bodyOf } from "./backpressure.ts"
import type { App, RouteContext } from "./context.ts"
import { patiently } from "./patience.ts"
import { pinned } from "./pinning.ts"
import { bytesBody, LogsQuery, problemResponse, RunParams, textBody } from "./schemas.ts"

const pieceBytes = 64 * 1024
/** One question to the task's node waits this long for more. */
const pieceWaitMs = 30_000

export function logRoutes(app: App, context: RouteContext): void {
  const schema = {
    operationId: "readLog",
    summary: "What a task wrote, byte by byte",
    description:
      "`Troupe-Attempt` and `Troupe-Log-Offset` say what is sent; ask again with `offset` to go on after a break. " +
      "A stream that is followed ends when the task has ended.",
    tags: ["runs"],
    params: RunParams,
    querystring: LogsQuery,
    response: {
      200: {
        description: "The bytes; as octet-stream when Accept asks for it",
        content: {
          "text/plain": { schema: textBody },
          "application/octet-stream": { schema: bytesBody },
        },
      },
      default: problemResponse,
    },
  }
  app.get("/v1/runs/:id/logs", { schema }, async (request, reply) => {
    const { signal } = context.waits.begin(reply.raw)
    const { task, stream, attempt, offset } = request.query
    const run = await pinned(context.face, request.params.id, { signal })
    const source: Source = { context, run, task, stream, signal }
    const first = await readPiece(source, { attempt, offset, waitMs: 0 })
    const asBytes = (request.headers.accept ?? "").includes("application/octet-stream")
    reply
      .header("content-type", asBytes ? "application/octet-stream" : "text/plain; charset=utf-8")
      .header("cache-control", "no-store")
      .header("x-accel-buffering", "no")
      .header("troupe-run", run)
      .header("troupe-attempt", first.attempt)
      .header("troupe-log-offset", first.offset)
      .header("troupe-log-node", encodeURIComponent(first.node))
    const body = pieces(source, first, request.query.follow === "true")
    return reply.send(bodyOf(body, context.logger))
  })
}

interface Source {
  readonly context: RouteContext
  readonly run: string
  readonly task: string
  readonly stream: "stdout" | "stderr"
  readonly signal: AbortSignal
}

function readPiece(
  source: Source,
  at: { attempt: number | undefined; offset: number; waitMs: number },
): Promise<LogChunk> {
  const { task, stream, signal } = source
  const query = { task, stream, max: pieceBytes, ...at }
  return source.context.face.readLog(source.run, query, { signal })
}

/** Throws when it breaks off: the connection is then cut, so that no client takes a part for the whole. */
async function* pieces(
  source: Source,
  first: LogChunk,
  follow: boolean,
): AsyncGenerator<Uint8Array> {
  const patience = { clock: source.context.clock, signal: source.signal }
  // The attempt is held: a retry of the task must not continue the text of the try before it.
  const { attempt } = first
  // No bytes, but it sends the headers: a followed log may be silent for long.
  yield new Uint8Array()
  for (let piece = first; ;) {
    const data = Buffer.from(piece.data, "base64")
    if (data.length > 0) yield data
    if (piece.ended || (!follow && data.length === 0)) return
    const at = { attempt, offset: piece.next, waitMs: follow ? pieceWaitMs : 0 }
    piece = await patiently(() => readPiece(source, at), {
      ...patience,
      isEmpty: ({ offset, next, ended }) => follow && offset === next && !ended,
    })
  }
}

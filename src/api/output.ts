/** GET /v1/runs/{id}/output: what all tasks of a run write, merged by time; POST goes on where a reader was. */
import { isUtf8 } from "node:buffer"
import type { MergedQuery, MergedRecord } from "../node/index.ts"
import { isTroupeError } from "../schema/index.ts"
import { bodyOf, withHeartbeat } from "./backpressure.ts"
import type { App, RouteContext } from "./context.ts"
import { problemOf } from "./problem.ts"
import {
  outputBody,
  OutputPositions,
  OutputQuery,
  type OutputQueryValues,
  problemResponse,
  RunParams,
} from "./schemas.ts"

const heartbeatMs = 15_000
/** Positions of some hundred thousand streams. */
const positionsBytesMax = 32 << 20

export function outputRoutes(app: App, context: RouteContext): void {
  const response = {
    200: {
      description: "One JSON object a line; empty lines are signs of life; the last one is `end`",
      content: { "application/x-ndjson": { schema: outputBody } },
    },
    default: problemResponse,
  }
  const get = {
    operationId: "readOutput",
    summary: "What all tasks of a run write, merged by time",
    description:
      "Times of different nodes are made comparable by the measured difference of their clocks. Output that has come is held " +
      "back for up to 400 ms for what may be older. Nodes that are away are said, and their output follows when they are back.",
    tags: ["runs"],
    params: RunParams,
    querystring: OutputQuery,
    response,
  }
  app.get("/v1/runs/:id/output", { schema: get }, async (request, reply) => {
    const { signal } = context.waits.begin(reply.raw)
    const query = queryOf(request.query, [], context)
    return await answer(request.params.id, query, signal, reply)
  })
  const post = {
    ...get,
    operationId: "continueOutput",
    summary: "The same, without what the reader has already",
    body: OutputPositions,
  }
  const options = { schema: post, bodyLimit: positionsBytesMax }
  app.post("/v1/runs/:id/output", options, async (request, reply) => {
    const { signal } = context.waits.begin(reply.raw)
    const positions = request.body.positions.map(([task, attempt, stream, next]) => ({
      task,
      attempt,
      stream,
      next,
    }))
    const query = queryOf(request.query, positions, context)
    return await answer(request.params.id, query, signal, reply)
  })

  const answer = async (id: string, query: MergedQuery, signal: AbortSignal, reply: Reply) => {
    // Before the first byte, so that an unknown run is a 404.
    const { run, records } = await context.face.mergedLog(id, query, { signal })
    reply
      .header("content-type", "application/x-ndjson; charset=utf-8")
      .header("cache-control", "no-store")
      .header("x-accel-buffering", "no")
      .header("troupe-run", run)
    const pieces = withHeartbeat(written(records, { signal, context }), {
      clock: context.clock,
      everyMs: heartbeatMs,
      beat: "\n",
    })
    return reply.send(bodyOf(pieces, context.logger))
  }
}

interface Reply {
  header(name: string, value: string): this
  send(body: unknown): unknown
}

function queryOf(
  query: OutputQueryValues,
  positions: MergedQuery["positions"],
  { clock }: RouteContext,
): MergedQuery {
  const { task = [], stream, follow, since, sinceMs, tail } = query
  const from = sinceMs === undefined ? since : clock.now() - sinceMs
  return {
    tasks: [task].flat(),
    streams: stream === undefined ? ["stdout", "stderr"] : [stream],
    follow: follow === "true",
    ...(from !== undefined && { since: from }),
    ...(tail !== undefined && { lines: tail }),
    positions,
  }
}

async function* written(
  records: AsyncIterable<MergedRecord>,
  { signal, context }: { readonly signal: AbortSignal; readonly context: RouteContext },
): AsyncGenerator<string> {
  // No record, but it sends the headers: output may be silent for long.
  yield "\n"
  try {
    for await (const record of records) yield `${JSON.stringify(plain(record))}\n`
  } catch (error) {
    // This node stops, or nobody listens: a connection that is cut is tried again elsewhere.
    if (signal.aborted || (isTroupeError(error) && error.code === "ERR_STOPPED")) throw error
    if (!isTroupeError(error)) context.logger.error("merged output failed", { error })
    yield `${JSON.stringify({ type: "problem", problem: problemOf(error).body })}\n`
  }
}

function plain(record: MergedRecord): unknown {
  if (record.type !== "output") return record
  const { data, ...rest } = record
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length)
  return isUtf8(bytes)
    ? { ...rest, text: bytes.toString("utf8") }
    : { ...rest, base64: bytes.toString("base64") }
}

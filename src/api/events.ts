/** GET /v1/runs/{id}/events: a run's events as server-sent events or as JSON lines, through leader changes. */
import type { EventPage } from "../node/index.ts"
import { isTroupeError, RunEvent, type RunView } from "../schema/index.ts"
import { bodyOf, withHeartbeat } from "./backpressure.ts"
import type { App, RouteContext } from "./context.ts"
import { patiently } from "./patience.ts"
import { pinned } from "./pinning.ts"
import { problemOf } from "./problem.ts"
import {
  EventsHeaders,
  EventsQuery,
  ProblemEvent,
  problemResponse,
  ResetEvent,
  RunParams,
  textBody,
} from "./schemas.ts"
import * as z from "zod"

/** A comment line that often tells proxies and clients that the stream lives. */
const heartbeatMs = 15_000
const pageEvents = 500
/** One question to the leader waits this long for news. */
const pageWaitMs = 30_000
/** A browser connects again after this time. */
const reconnectMs = 1000

/** One message of the stream, before it is written in either format. */
type Message =
  | { readonly kind: "event"; readonly event: RunEvent }
  | { readonly kind: "reset"; readonly id: string | undefined; readonly run: RunView }
  | { readonly kind: "problem"; readonly error: unknown }

interface Format {
  readonly contentType: string
  readonly opening: string
  readonly heartbeat: string
  write(message: Message): string
}

export function eventRoutes(app: App, context: RouteContext): void {
  const line: z.ZodType = z.union([RunEvent, ResetEvent, ProblemEvent])
  const schema = {
    operationId: "streamEvents",
    summary: "A run's events, past and coming, until its last",
    description:
      "Event ids are `<index>-<n>`. When the events after the asked id are gone, a `reset` event carries the whole run. " +
      "A comment is sent every 15 s. 204: there is nothing after the asked id and never will be.",
    tags: ["runs"],
    params: RunParams,
    querystring: EventsQuery,
    headers: EventsHeaders,
    response: {
      200: {
        description: "The stream",
        content: {
          "text/event-stream": { schema: textBody },
          "application/x-ndjson": { schema: line },
        },
      },
      204: {
        description: "The run is finished and all its events were received",
        content: { "text/event-stream": { schema: z.undefined() } },
      },
      default: problemResponse,
    },
  }
  app.get("/v1/runs/:id/events", { schema }, async (request, reply) => {
    const after = request.headers["last-event-id"] ?? request.query.after
    const format = (request.headers.accept ?? "").includes("application/x-ndjson") ? lines : sse
    const { signal } = context.waits.begin(reply.raw)
    const run = await pinned(context.face, request.params.id, { signal })
    const source = { context, run, signal }
    // The first page decides the status: an unknown run is a 404, not an empty stream.
    const first = await readPage(source, after, 0)
    // EventSource connects again after every end; only 204 tells it to stay away (HTML, 9.2.3).
    if (after !== undefined && first.ended && !first.reset && first.events.length === 0) {
      reply.code(204)
      return undefined
    }
    reply
      .header("content-type", format.contentType)
      .header("cache-control", "no-store")
      .header("x-accel-buffering", "no")
      .header("troupe-run", run)
    const pieces = withHeartbeat(written(source, first, format), {
      clock: context.clock,
      everyMs: heartbeatMs,
      beat: format.heartbeat,
    })
    return reply.send(bodyOf(pieces, context.logger))
  })
}

interface Source {
  readonly context: RouteContext
  readonly run: string
  readonly signal: AbortSignal
}

function readPage(source: Source, after: string | undefined, waitMs: number): Promise<EventPage> {
  const query = { after, limit: pageEvents, waitMs }
  return source.context.face.readEvents(source.run, query, { signal: source.signal })
}

async function* written(source: Source, first: EventPage, format: Format): AsyncGenerator<string> {
  yield format.opening
  try {
    for await (const message of messages(source, first)) yield format.write(message)
  } catch (error) {
    // Nobody listens any more, or this node stops: the client connects again elsewhere with the last id it has.
    if (source.signal.aborted) return
    if (!isTroupeError(error)) source.context.logger.error("event stream failed", { error })
    yield format.write({ kind: "problem", error })
  }
}

async function* messages(source: Source, first: EventPage): AsyncGenerator<Message> {
  const patience = { clock: source.context.clock, signal: source.signal }
  const options = { signal: source.signal }
  for (let page = first; ;) {
    if (page.reset) {
      const run = await patiently(() => source.context.face.getRun(source.run, options), patience)
      yield { kind: "reset", id: page.last, run }
    } else {
      for (const event of page.events) yield { kind: "event", event }
    }
    if (page.ended) return
    const { last } = page
    page = await patiently(() => readPage(source, last, pageWaitMs), {
      ...patience,
      isEmpty: ({ events, ended }) => events.length === 0 && !ended,
    })
  }
}

const sse: Format = {
  contentType: "text/event-stream; charset=utf-8",
  opening: `retry: ${reconnectMs}\n\n`,
  heartbeat: ": still here\n\n",
  write(message) {
    if (message.kind === "event") {
      const { event } = message
      return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
    }
    if (message.kind === "reset") {
      const id = message.id === undefined ? "" : `id: ${message.id}\n`
      return `${id}event: reset\ndata: ${JSON.stringify(message.run)}\n\n`
    }
    return `event: problem\ndata: ${JSON.stringify(problemOf(message.error).body)}\n\n`
  },
}

const lines: Format = {
  contentType: "application/x-ndjson; charset=utf-8",
  opening: "",
  heartbeat: "\n",
  write(message) {
    if (message.kind === "event") return `${JSON.stringify(message.event)}\n`
    if (message.kind === "reset") {
      return `${JSON.stringify({ type: "reset", id: message.id, run: message.run })}\n`
    }
    return `${JSON.stringify({ type: "problem", problem: problemOf(message.error).body })}\n`
  },
}

/** Streams that survive their connection: a run's events, and a task's log. */
import { isTroupeError, RunEvent, RunView, TroupeError } from "../schema/index.ts"
import type { z } from "zod"
import { checked } from "./check.ts"
import { errorOf, reasonOf, unreachable } from "./problems.ts"
import { EventParser, piecesOf, type ServerEvent } from "./sse.ts"
import { backoffMs, type Timing } from "./timing.ts"
import type { Transport } from "./transport.ts"

/** An event of a run; or, when the events asked for are gone, the whole run instead. */
export type RunMessage = RunEvent | { readonly type: "reset"; readonly run: RunView }

export interface StreamParts {
  readonly transport: Transport
  readonly timing: Timing
  readonly baseUrls: readonly string[]
  /** Connections in a row that brought nothing. */
  readonly breaksMax: number
}

/** Time for the headers of an answer; after that a stream may be silent for as long as it likes. */
export const openLimitMs = 45_000

/** Ends after the run's last event. */
export async function* eventStream(
  run: string,
  options: { readonly after?: string | undefined; readonly signal?: AbortSignal | undefined },
  parts: StreamParts,
): AsyncGenerator<RunMessage, void, undefined> {
  let last = options.after
  let id = run
  for (const breaks = new Breaks(parts); ;) {
    try {
      const response = await open(parts, `/v1/runs/${encodeURIComponent(id)}/events`, {
        accept: "text/event-stream",
        signal: options.signal,
        headers: last === undefined ? {} : { "last-event-id": last },
      })
      if (response.status === 204) return
      // A label may mean a newer run by the next connection.
      id = response.headers.get("troupe-run") ?? id
      breaks.opened()
      let isFinished = false
      for await (const event of serverEvents(response)) {
        breaks.progress()
        last = event.id ?? last
        const message = messageOf(event, response.url)
        if (message === undefined) continue
        yield message
        if (message.type === "run-finished") return
        isFinished = message.type === "reset" && message.run.state === "finished"
      }
      if (isFinished) return
      await breaks.again(undefined, options.signal)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (isTroupeError(error)) throw error
      await breaks.again(error, options.signal)
    }
  }
}

export interface LogQuery {
  readonly task: string
  readonly stream?: "stdout" | "stderr" | undefined
  readonly attempt?: number | undefined
  readonly offset?: number | undefined
  readonly follow?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Every byte once, in order, of one attempt. */
export async function* logStream(
  run: string,
  query: LogQuery,
  parts: StreamParts,
): AsyncGenerator<Uint8Array, void, undefined> {
  let offset = query.offset ?? 0
  let { attempt } = query
  let id = run
  for (const breaks = new Breaks(parts); ;) {
    const search = new URLSearchParams({ task: query.task, offset: String(offset) })
    if (query.stream !== undefined) search.set("stream", query.stream)
    if (attempt !== undefined) search.set("attempt", String(attempt))
    if (query.follow === true) search.set("follow", "true")
    try {
      const response = await open(parts, `/v1/runs/${encodeURIComponent(id)}/logs?${search}`, {
        accept: "application/octet-stream",
        signal: query.signal,
        headers: {},
      })
      breaks.opened()
      // The rest must come from the same try of the same run, also when a newer one has begun since.
      id = response.headers.get("troupe-run") ?? id
      attempt ??= Number(response.headers.get("troupe-attempt") ?? 1)
      for await (const piece of piecesOf(response)) {
        breaks.progress()
        offset += piece.length
        yield piece
      }
      return
    } catch (error) {
      query.signal?.throwIfAborted()
      if (isTroupeError(error)) throw error
      await breaks.again(error, query.signal)
    }
  }
}

/** A connection that lasted this long was a good one, though nothing came: proxies cut silent streams. */
const goodConnectionMs = 5000

/** Counts connections that brought nothing, and waits between them. */
export class Breaks {
  readonly #parts: StreamParts
  #count = 0
  #openedAt = Infinity

  constructor(parts: StreamParts) {
    this.#parts = parts
  }

  opened(): void {
    this.#openedAt = this.#parts.timing.now()
  }

  progress(): void {
    this.#count = 0
  }

  async again(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    if (this.#parts.timing.now() - this.#openedAt > goodConnectionMs) this.#count = 0
    this.#openedAt = Infinity
    this.#count++
    if (this.#count > this.#parts.breaksMax) {
      throw unreachable(this.#parts.baseUrls, error ?? new Error("the stream keeps ending early"))
    }
    await this.#parts.timing.sleep(backoffMs(this.#count, this.#parts.timing), signal)
  }
}

async function open(
  { transport }: StreamParts,
  path: string,
  options: {
    readonly accept: string
    readonly headers: Readonly<Record<string, string>>
    readonly signal: AbortSignal | undefined
  },
): Promise<Response> {
  return await transport.ask(
    {
      method: "GET",
      path,
      headers: { ...options.headers, accept: options.accept },
      repeatable: true,
      signal: options.signal,
      limitMs: openLimitMs,
    },
    async (response) => response,
  )
}

async function* serverEvents(response: Response): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  const parser = new EventParser()
  for await (const piece of piecesOf(response)) {
    yield* parser.push(decoder.decode(piece, { stream: true }))
  }
}

/** Unknown event types are a newer node's: passed over. */
function messageOf(event: ServerEvent, url: string): RunMessage | undefined {
  if (event.type === "problem") throw errorOf(parsed(event, url), { status: 200, url })
  if (event.type === "reset") return { type: "reset", run: checkedEvent(RunView, event, url) }
  const isKnown = RunEvent.shape.type.safeParse(event.type).success
  return isKnown ? checkedEvent(RunEvent, event, url) : undefined
}

function checkedEvent<T>(schema: z.ZodType<T>, event: ServerEvent, url: string): T {
  return checked(schema, parsed(event, url), url)
}

function parsed(event: ServerEvent, url: string): unknown {
  try {
    return JSON.parse(event.data)
  } catch (error) {
    throw new TroupeError(
      "ERR_PROTOCOL",
      `${url} sent an event that is not JSON`,
      { where: url, reason: reasonOf(error) },
      { cause: error },
    )
  }
}

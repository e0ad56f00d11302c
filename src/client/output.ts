/** The merged output of a run over any number of connections: each goes on exactly where the one before it broke off. */
import { isTroupeError, type OutputPosition, OutputRecord, TroupeError } from "../schema/index.ts"
import { checked } from "./check.ts"
import { errorOf, reasonOf } from "./problems.ts"
import { piecesOf } from "./sse.ts"
import { Breaks, openLimitMs, type StreamParts } from "./streams.ts"

export interface OutputQuery {
  /** Tasks or whole groups; none: all roles. */
  readonly tasks?: readonly string[] | undefined
  readonly stream?: "stdout" | "stderr" | undefined
  readonly follow?: boolean | undefined
  /** Only what came in the last so many ms, or since a time (ms since the epoch). */
  readonly sinceMs?: number | undefined
  readonly since?: number | undefined
  /** Of each stream at most so many last lines. */
  readonly tail?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** Bytes of one stream of one attempt, with the task's name and the time; sentences between them; `end` at the end. */
export type OutputPart =
  | {
      readonly type: "output"
      readonly task: string
      readonly attempt: number
      readonly node: string
      readonly stream: "stdout" | "stderr"
      readonly at: number
      readonly offset: number
      readonly data: Uint8Array
    }
  | Exclude<OutputRecord, { type: "output" }>

/** Longest line that is put together, characters: a stretch in Base64 and its names. */
const lineCharsMax = 4 << 20

/** Every byte once, of each stream in order. */
export async function* outputStream(
  run: string,
  query: OutputQuery,
  parts: StreamParts,
): AsyncGenerator<OutputPart, void, undefined> {
  const read = new Positions()
  const search = searchOf(query)
  let id = run
  let isFirst = true
  let lastAt: number | undefined
  for (const breaks = new Breaks(parts); ;) {
    try {
      const response = await openOutput(parts, id, { search, read, isFirst, query })
      breaks.opened()
      id = response.headers.get("troupe-run") ?? id
      for await (const record of recordsOf(response)) {
        breaks.progress()
        lastAt = record.at
        // From now on only this answer's words count: what began before is told by its positions.
        isFirst = false
        if (record.type === "end") {
          yield record
          return
        }
        if (record.type === "notice") {
          yield record
          continue
        }
        const part = partOf(record)
        const fresh = read.take(part)
        if (fresh) yield fresh
      }
      await breaks.again(undefined, query.signal)
    } catch (error) {
      query.signal?.throwIfAborted()
      if (isTroupeError(error)) throw error
      await breaks.again(error, query.signal)
    }
    // What was not seen by then is wanted from about then, not from its last lines again.
    if (lastAt !== undefined && (query.tail !== undefined || query.sinceMs !== undefined)) {
      search.delete("tail")
      search.delete("sinceMs")
      search.set("since", String(Math.floor(lastAt) - overlapMs))
    }
  }
}

/** Streams that were silent before a break are looked at from so long before it. */
const overlapMs = 10_000

class Positions {
  readonly #next = new Map<string, OutputPosition>()

  /** What of it is new. */
  take(part: Extract<OutputPart, { type: "output" }>): OutputPart | undefined {
    const { task, attempt, stream, offset, data } = part
    const key = `${task}\n${attempt}\n${stream}`
    const known = this.#next.get(key)?.[3] ?? offset
    const end = offset + data.length
    if (end <= known) return undefined
    this.#next.set(key, [task, attempt, stream, end])
    return known > offset ? { ...part, offset: known, data: data.subarray(known - offset) } : part
  }

  all(): readonly OutputPosition[] {
    return [...this.#next.values()]
  }
}

function searchOf({ tasks = [], stream, follow, sinceMs, since, tail }: OutputQuery) {
  const search = new URLSearchParams(tasks.map((task) => ["task", task]))
  if (stream !== undefined) search.set("stream", stream)
  if (follow === true) search.set("follow", "true")
  if (sinceMs !== undefined) search.set("sinceMs", String(sinceMs))
  if (since !== undefined) search.set("since", String(since))
  if (tail !== undefined) search.set("tail", String(tail))
  return search
}

async function openOutput(
  { transport }: StreamParts,
  id: string,
  how: {
    readonly search: URLSearchParams
    readonly read: Positions
    readonly isFirst: boolean
    readonly query: OutputQuery
  },
): Promise<Response> {
  const { search, read, isFirst, query } = how
  const path = `/v1/runs/${encodeURIComponent(id)}/output?${search}`
  const accept = "application/x-ndjson"
  const ask = { path, repeatable: true, signal: query.signal, limitMs: openLimitMs }
  const body = JSON.stringify({ positions: read.all() })
  return await transport.ask(
    isFirst
      ? { ...ask, method: "GET", headers: { accept } }
      : { ...ask, method: "POST", headers: { accept, "content-type": "application/json" }, body },
    async (response) => response,
  )
}

async function* recordsOf(response: Response): AsyncGenerator<OutputRecord> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const piece of piecesOf(response)) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    if (rest.length > lineCharsMax) {
      throw new TroupeError("ERR_LIMIT", "a record of the output is too long", {
        what: "record of the output",
        max: lineCharsMax,
      })
    }
    for (const line of lines) if (line !== "") yield recordOf(line, response.url)
  }
}

function recordOf(line: string, url: string): OutputRecord {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    const reason = reasonOf(error)
    const message = `${url} sent a record that is not JSON`
    throw new TroupeError("ERR_PROTOCOL", message, { where: url, reason }, { cause: error })
  }
  const { type, problem } = value as { readonly type?: unknown; readonly problem?: unknown }
  if (type === "problem") throw errorOf(problem, { status: 200, url })
  return checked(OutputRecord, value, url)
}

function partOf(record: Extract<OutputRecord, { type: "output" }>) {
  const { text, base64, ...rest } = record
  const data =
    text === undefined
      ? Uint8Array.from(atob(base64 ?? ""), (char) => char.charCodeAt(0))
      : new TextEncoder().encode(text)
  return { ...rest, data }
}

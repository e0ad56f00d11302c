/** Server-sent events out of bytes (HTML standard, 9.2.6), and the pieces of a response body. */
import { TroupeError } from "../schema/index.ts"

export interface ServerEvent {
  readonly type: string
  readonly data: string
  /** The id set last, by this event or an earlier one. */
  readonly id: string | undefined
}

/** Longest event that is put together, characters. */
const eventCharsMax = 64 * 2 ** 20

/** Feed text as it comes; a multi-byte character may be split between two pieces, a line end too. */
export class EventParser {
  #rest = ""
  #data: string[] = []
  #dataChars = 0
  #type = ""
  #id: string | undefined
  #afterReturn = false

  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = []
    let input = this.#rest + text
    // `\r\n` may come in two pieces: the `\n` then ends no line of its own.
    if (this.#afterReturn && input.startsWith("\n")) input = input.slice(1)
    this.#afterReturn = input === "" ? this.#afterReturn : input.endsWith("\r")
    const lines = input.split(/\r\n|\r|\n/)
    this.#rest = lines.pop() ?? ""
    for (const line of lines) {
      const event = this.#line(line)
      if (event) events.push(event)
    }
    if (this.#rest.length + this.#dataChars > eventCharsMax) {
      throw new TroupeError("ERR_LIMIT", `an event is longer than ${eventCharsMax} characters`, {
        what: "server-sent event",
        max: eventCharsMax,
      })
    }
    return events
  }

  #line(line: string): ServerEvent | undefined {
    if (line === "") return this.#dispatch()
    const colon = line.indexOf(":")
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "")
    if (field === "data") {
      this.#data.push(value)
      this.#dataChars += value.length
    } else if (field === "event") this.#type = value
    else if (field === "id" && !value.includes("\0")) this.#id = value
    return undefined
  }

  #dispatch(): ServerEvent | undefined {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.#id }
    const isEmpty = this.#data.length === 0
    this.#data = []
    this.#dataChars = 0
    this.#type = ""
    return isEmpty ? undefined : event
  }
}

/** The body's pieces; leaving the loop early closes the connection. Not every browser can iterate a stream. */
export async function* piecesOf(response: Response): AsyncGenerator<Uint8Array, void, undefined> {
  if (!response.body) return
  const reader = response.body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    // Also after an error, when the stream is closed already and there is nothing left to cancel.
    await reader.cancel().catch(() => undefined)
  }
}

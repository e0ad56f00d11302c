/** Streams of an answer: bytes that wait for their reader, and a sign of life while there are none. */
import { Readable } from "node:stream"
import type { Clock, Logger } from "../platform/index.ts"
import { ClientLeft } from "./waits.ts"

/** As a body: the next piece is asked for only when the reader took the last one. When the source breaks, the
 *  connection is cut; the status is long sent, so the log is the only other place that can tell. */
export function bodyOf(pieces: AsyncIterable<string | Uint8Array>, logger: Logger): Readable {
  const body = Readable.from(pieces, { objectMode: true, highWaterMark: 1 })
  body.once("error", (error) => {
    if (!(error instanceof ClientLeft)) logger.warn("an answer broke off", { error })
  })
  return body
}

/** `pieces`, and `beat` whenever none came for `everyMs`. */
export async function* withHeartbeat<T>(
  pieces: AsyncIterable<T>,
  options: { readonly clock: Clock; readonly everyMs: number; readonly beat: T },
): AsyncGenerator<T, void, undefined> {
  const iterator = pieces[Symbol.asyncIterator]()
  let next = iterator.next()
  try {
    for (;;) {
      const silence = Promise.withResolvers<"silence">()
      const timer = options.clock.after(options.everyMs, () => silence.resolve("silence"))
      const result = await Promise.race([next, silence.promise]).finally(() => timer.cancel())
      if (result === "silence") {
        yield options.beat
        continue
      }
      if (result.done === true) return
      yield result.value
      next = iterator.next()
    }
  } finally {
    // The reader left in a silence: what is still asked for ends by the request's signal, and nobody hears of it.
    next.catch(() => undefined)
    iterator.return?.()?.catch(() => undefined)
  }
}

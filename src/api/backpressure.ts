/** Streams of an answer: bytes that wait for their reader, and a sign of life while there are none. */
import { Readable } from "node:stream"
import type { Clock } from "../platform/index.ts"

/** As a body: the next piece is asked for only when the reader took the last one. */
export function bodyOf(pieces: AsyncIterable<string | Uint8Array>): Readable {
  return Readable.from(pieces, { objectMode: true, highWaterMark: 1 })
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

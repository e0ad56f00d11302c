/** Reads exact numbers of bytes out of a stream of chunks. */

/** Throws what `fail` makes when the stream ends too early. */
export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>
  readonly #fail: (reason: string) => Error
  #chunk: Uint8Array = new Uint8Array(0)

  constructor(source: AsyncIterable<Uint8Array>, fail: (reason: string) => Error) {
    this.#iterator = source[Symbol.asyncIterator]()
    this.#fail = fail
  }

  /** Exactly `length` bytes, in one piece; for small pieces. */
  async take(length: number): Promise<Buffer> {
    const pieces: Uint8Array[] = []
    for (let left = length; left > 0;) {
      const piece = await this.#some(left)
      pieces.push(piece)
      left -= piece.length
    }
    return Buffer.concat(pieces)
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0;) left -= (await this.#some(left)).length
  }

  /** The next `length` bytes as they come. `finish` passes over what was not read. */
  body(length: number): { read(): AsyncIterable<Uint8Array>; finish(): Promise<void> } {
    const body = { left: length }
    const next = async (): Promise<Uint8Array> => {
      const piece = await this.#some(body.left)
      body.left -= piece.length
      return piece
    }
    return {
      read: async function* () {
        while (body.left > 0) yield await next()
      },
      finish: async () => {
        await this.skip(body.left)
        body.left = 0
      },
    }
  }

  /** Everything up to the end. */
  async drain(): Promise<void> {
    this.#chunk = new Uint8Array(0)
    while ((await this.#iterator.next()).done !== true);
  }

  async close(): Promise<void> {
    await this.#iterator.return?.()
  }

  /** At least one byte and at most `max`. */
  async #some(max: number): Promise<Uint8Array> {
    while (this.#chunk.length === 0) {
      const next = await this.#iterator.next()
      if (next.done === true) throw this.#fail("ends too early")
      this.#chunk = next.value
    }
    const piece = this.#chunk.subarray(0, max)
    this.#chunk = this.#chunk.subarray(piece.length)
    return piece
  }
}

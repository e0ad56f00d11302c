/** Blobs in memory, for tests of what moves them. */
import { createHash } from "node:crypto"
import { TroupeError } from "../../src/schema/index.ts"

const chunkBytes = 64 << 10

export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

export class MemoryBlobs {
  readonly #blobs = new Map<string, Uint8Array>()
  /** Every reading, with where it began. */
  readonly reads: { digest: string; offset: number }[] = []
  /** Called before each chunk that is read: may wait, may throw. */
  beforeChunk: (at: number) => Promise<void> = async () => undefined

  /** Under its own digest, or under a wrong one. */
  add(bytes: Uint8Array, digest = digestOf(bytes)): string {
    this.#blobs.set(digest, bytes)
    return digest
  }

  async has(digest: string): Promise<{ bytes: number } | undefined> {
    const blob = this.#blobs.get(digest)
    return blob && { bytes: blob.length }
  }

  async put(
    source: AsyncIterable<Uint8Array>,
    expect?: string,
  ): Promise<{ digest: string; bytes: number }> {
    const chunks: Uint8Array[] = []
    for await (const chunk of source) chunks.push(chunk.slice())
    const bytes = Buffer.concat(chunks)
    const actual = digestOf(bytes)
    if (expect !== undefined && actual !== expect) {
      const details = { expected: expect, actual }
      throw new TroupeError("ERR_BLOB_CORRUPT", "the blob has another digest", details)
    }
    this.#blobs.set(actual, bytes)
    return { digest: actual, bytes: bytes.length }
  }

  async *read(digest: string, range = { offset: 0 }): AsyncGenerator<Uint8Array> {
    const blob = this.#blobs.get(digest)
    if (!blob) throw new TroupeError("ERR_BLOB_NOT_FOUND", "no such blob", { digest })
    this.reads.push({ digest, offset: range.offset })
    for (let at = range.offset; at < blob.length; at += chunkBytes) {
      await this.beforeChunk(at)
      yield blob.subarray(at, at + chunkBytes)
    }
  }
}

/** The bytes of a snapshot: chunks, each self-checked; the first says what it is of, the last has the hash of the rest. */
import { createHash, type Hash } from "node:crypto"
import { crc32 } from "node:zlib"
import { CodecError, decode, encode, uint, struct, text } from "../lib/index.ts"
import { logMark, type LogMark, type Row, rowChunk } from "../wire/index.ts"

/*
 * Chunk: magic "TSNP" | kind u8, 3 zeros | number u32 | body length u32 | crc u32 of the 16 bytes before and the body | body.
 * Chunks are numbered from 0: one head, any number of rows, one end.
 */
const chunkHeadBytes = 20
const magic = 0x504e5354
const kinds = { head: 1, rows: 2, end: 3 } as const
type Kind = keyof typeof kinds
// One chunk holds about this much, which takes the main loop about 1 ms; a row larger than that has a chunk of its own.
const chunkBytes = 48 * 1024
const bodyBytesMax = 65 * 1024 * 1024

const headCodec = struct({ version: uint, mark: logMark })
const endCodec = struct({ rows: uint, sha256: text(64) })
const version = 1

/** The bytes are not those of a whole snapshot. */
export class SnapshotDamage extends Error {
  override readonly name = "SnapshotDamage"
  readonly offset: number
  /** What there is of it is right, and not all of it. */
  readonly isCutShort: boolean

  constructor(offset: number, reason: string, isCutShort = false) {
    super(reason)
    this.offset = offset
    this.isCutShort = isCutShort
  }
}

function chunk(kind: Kind, number: number, body: Uint8Array): Buffer {
  if (body.length > bodyBytesMax) throw new Error("a row of more than 64 MiB")
  const bytes = Buffer.alloc(chunkHeadBytes + body.length)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt8(kinds[kind], 4)
  bytes.writeUInt32LE(number, 8)
  bytes.writeUInt32LE(body.length, 12)
  bytes.set(body, chunkHeadBytes)
  bytes.writeUInt32LE(checksum(bytes), 16)
  return bytes
}

function checksum(bytes: Buffer): number {
  return crc32(bytes.subarray(chunkHeadBytes), crc32(bytes.subarray(0, 16)))
}

/** All chunks of a snapshot. Holds one of them at a time. */
export async function* writeChunks(
  mark: LogMark,
  rows: AsyncIterable<Row>,
): AsyncGenerator<Uint8Array> {
  const sha256 = createHash("sha256")
  let number = 0
  const sealed = (kind: Kind, body: Uint8Array) => {
    const bytes = chunk(kind, number++, body)
    sha256.update(bytes)
    return bytes
  }
  yield sealed("head", encode(headCodec, { version, mark }))
  let page: Row[] = []
  let size = 0
  let count = 0
  for await (const row of rows) {
    const rowSize = row[0].length + row[1].length
    if (size > 0 && size + rowSize > chunkBytes) {
      yield sealed("rows", encode(rowChunk, page))
      page = []
      size = 0
    }
    page.push(row)
    size += rowSize
    count++
  }
  if (page.length > 0) yield sealed("rows", encode(rowChunk, page))
  yield chunk("end", number, encode(endCodec, { rows: count, sha256: sha256.digest("hex") }))
}

/** The beginning of a snapshot, by how many chunks and what hash. */
export interface Held {
  readonly chunks: number
  readonly hash: string
}

/** Takes a snapshot's chunks in order and checks all that can be checked. */
export class ChunkChecker {
  readonly #sha256: Hash = createHash("sha256")
  #number = 0
  #offset = 0
  #rows = 0
  #ended = false
  mark: LogMark | undefined

  /** The rows in it, if it is a chunk of rows. */
  take(bytes: Uint8Array): readonly Row[] {
    const at = this.#offset
    const { kind, body } = this.#open(bytes)
    this.#number++
    this.#offset += bytes.length
    try {
      if (kind === "end") {
        this.#end(at, body)
        return []
      }
      this.#sha256.update(bytes)
      if (kind === "head") {
        const head = decode(headCodec, body)
        if (head.version !== version) throw new SnapshotDamage(at, `version ${head.version}`)
        this.mark = head.mark
        return []
      }
      const rows = decode(rowChunk, body)
      this.#rows += rows.length
      return rows
    } catch (error) {
      if (error instanceof CodecError) throw new SnapshotDamage(at, error.message)
      throw error
    }
  }

  #open(input: Uint8Array): { kind: Kind; body: Uint8Array } {
    const at = this.#offset
    const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
    if (this.#ended) throw new SnapshotDamage(at, "bytes after the end")
    if (chunkLength(bytes, at) !== bytes.length || checksum(bytes) !== bytes.readUInt32LE(16)) {
      throw new SnapshotDamage(at, "a chunk's checksum is wrong")
    }
    const number = bytes.readUInt32LE(8)
    if (number !== this.#number) {
      throw new SnapshotDamage(at, `chunk ${number} where ${this.#number} belongs`)
    }
    const kind = (Object.keys(kinds) as Kind[]).find((name) => kinds[name] === bytes.readUInt8(4))
    if (!kind || (kind === "head") !== (number === 0)) {
      throw new SnapshotDamage(at, "a chunk of a kind that does not belong here")
    }
    return { kind, body: bytes.subarray(chunkHeadBytes) }
  }

  #end(at: number, body: Uint8Array): void {
    const end = decode(endCodec, body)
    if (end.rows !== this.#rows || end.sha256 !== this.#sha256.copy().digest("hex")) {
      throw new SnapshotDamage(at, "the whole does not have the hash that it was written with")
    }
    this.#ended = true
  }

  /** How many chunks came so far, and the hash of all of them. */
  held(): Held {
    return { chunks: this.#number, hash: this.#sha256.copy().digest("hex") }
  }

  /** Throws when the last chunk has not come. */
  finish(): void {
    if (!this.#ended) throw new SnapshotDamage(this.#offset, "the snapshot ends early", true)
  }
}

/** Length of the chunk that begins here; undefined when more bytes are needed to tell. */
function chunkLength(bytes: Buffer, offset: number): number | undefined {
  if (bytes.length < chunkHeadBytes) return undefined
  const body = bytes.readUInt32LE(12)
  if (bytes.readUInt32LE(0) !== magic || body > bodyBytesMax) {
    throw new SnapshotDamage(offset, "not the beginning of a chunk")
  }
  return chunkHeadBytes + body
}

/** Whole chunks out of bytes that come in any portions. */
export async function* splitChunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = []
  let held = 0
  let offset = 0
  let wanted = chunkHeadBytes
  for await (const portion of source) {
    parts.push(portion)
    held += portion.length
    if (held < wanted) continue
    let bytes: Buffer = Buffer.concat(parts)
    for (;;) {
      const length = chunkLength(bytes, offset)
      wanted = length ?? chunkHeadBytes
      if (length === undefined || bytes.length < length) break
      yield bytes.subarray(0, length)
      bytes = bytes.subarray(length)
      offset += length
    }
    parts = [bytes]
    held = bytes.length
  }
  // What is left is no chunk: the checker says so.
  if (held > 0) throw new SnapshotDamage(offset, "the snapshot ends early", true)
}

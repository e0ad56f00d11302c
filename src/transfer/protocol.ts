/** `/troupe/blobs/1`: one request, one answer, then the bytes from the offset on. */
import { decode, encode, oneOf, struct, text, uint, CodecError } from "../lib/index.ts"

const headBytesMax = 256
const request = struct({ digest: text(64), offset: uint })
const answer = struct({ status: oneOf("found", "missing", "busy"), bytes: uint })

export interface BlobRequest {
  readonly digest: string
  readonly offset: number
}
export interface BlobAnswer {
  readonly status: "found" | "missing" | "busy"
  /** Size of the whole blob; 0 unless found. */
  readonly bytes: number
}

export function encodeRequest(value: BlobRequest): Uint8Array {
  return withLength(encode(request, value))
}

export function encodeAnswer(value: BlobAnswer): Uint8Array {
  return withLength(encode(answer, value))
}

/** The request on this stream. CodecError when it is none. */
export async function readRequest(source: AsyncIterator<Uint8Array>): Promise<BlobRequest> {
  return decode(request, (await readHead(source)).head)
}

/** The answer on this stream, and the first bytes of the blob that came with it. */
export async function readAnswer(
  source: AsyncIterator<Uint8Array>,
): Promise<{ answer: BlobAnswer; rest: Uint8Array }> {
  const { head, rest } = await readHead(source)
  return { answer: decode(answer, head), rest }
}

/** Two bytes of length, big end first, then the head. */
function withLength(head: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + 2)
  bytes[0] = head.length >> 8
  bytes[1] = head.length & 0xff
  bytes.set(head, 2)
  return bytes
}

async function readHead(
  source: AsyncIterator<Uint8Array>,
): Promise<{ head: Uint8Array; rest: Uint8Array }> {
  let bytes: Uint8Array = new Uint8Array(0)
  for (;;) {
    const length = bytes.length < 2 ? undefined : (bytes[0]! << 8) | bytes[1]!
    if (length !== undefined && length > headBytesMax) throw new CodecError("no blob request")
    if (length !== undefined && bytes.length >= length + 2) {
      return { head: bytes.subarray(2, length + 2), rest: bytes.subarray(length + 2) }
    }
    const next = await source.next()
    if (next.done) throw new CodecError("ends within its head")
    bytes = bytes.length === 0 ? next.value : Buffer.concat([bytes, next.value])
  }
}

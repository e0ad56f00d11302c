/** The bytes of a log segment: a header, then frames, each self-checked and chained to the one before. */
import { crc32 } from "node:zlib"

/*
 * Header, 256 bytes: magic 8 | version u32 | salt u32 | segment u64 | first sequence u64 | member id u64 |
 *   previous u32 | cluster id length u32 | cluster id, at most 200 bytes | zeros | crc u32 of all before.
 * Frame, 8-aligned: length u32 | head crc u32 | sequence u64 | previous u32 | body crc u32 | body, padded to 8 | end mark 8.
 *   body crc = crc32(padded body, previous); head crc = crc32(length, sequence, previous, body crc; seeded with salt).
 *   `previous` is the head crc of the frame before, or the crc of the segment's header. Length 0: nothing is here.
 * The salt is of this segment only, so that bytes that a user made a log entry of never look like a frame.
 */
export const headerBytes = 256
const frameOverheadBytes = 32
const frameHeadBytes = 24
const version = 1
const clusterIdBytesMax = 200
const sectorBytes = 512
const magic = Buffer.from("TROUPELG", "latin1")
const endMark = Buffer.from("\u00b6recend\u00b6", "latin1")

export interface SegmentHeader {
  readonly segment: number
  readonly salt: number
  readonly firstSequence: number
  readonly previous: number
  readonly clusterId: string
  readonly memberId: number
}

/** Where the chain stands: what the next frame must carry. */
export interface Chain {
  readonly sequence: number
  readonly previous: number
}

/** A log that is broken in a way that no crash explains. Crosses from the thread as plain data. */
export class WalCorruption extends Error {
  override readonly name = "WalCorruption"
  readonly file: string
  readonly offset: number

  constructor(file: string, offset: number, reason: string) {
    super(reason)
    this.file = file
    this.offset = offset
  }
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function padded(length: number): number {
  return (length + 7) & ~7
}

export function frameBytes(length: number): number {
  return padded(length) + frameOverheadBytes
}

/** The header's bytes and the chain value that its first frame carries. */
export function writeHeader(header: SegmentHeader): { bytes: Uint8Array; previous: number } {
  const bytes = Buffer.alloc(headerBytes)
  const cluster = Buffer.from(header.clusterId, "utf8")
  if (cluster.length > clusterIdBytesMax) throw new Error("a cluster id of more than 200 bytes")
  magic.copy(bytes)
  bytes.writeUInt32LE(version, 8)
  bytes.writeUInt32LE(header.salt, 12)
  bytes.writeBigUInt64LE(BigInt(header.segment), 16)
  bytes.writeBigUInt64LE(BigInt(header.firstSequence), 24)
  bytes.writeBigUInt64LE(BigInt(header.memberId), 32)
  bytes.writeUInt32LE(header.previous, 40)
  bytes.writeUInt32LE(cluster.length, 44)
  cluster.copy(bytes, 48)
  const crc = crc32(bytes.subarray(0, headerBytes - 4))
  bytes.writeUInt32LE(crc, headerBytes - 4)
  return { bytes, previous: crc }
}

/** Undefined when these are not the bytes of a header of this version. */
export function readHeader(
  input: Uint8Array,
): { header: SegmentHeader; previous: number } | undefined {
  if (input.length < headerBytes) return undefined
  const bytes = view(input).subarray(0, headerBytes)
  const crc = bytes.readUInt32LE(headerBytes - 4)
  if (crc32(bytes.subarray(0, headerBytes - 4)) !== crc) return undefined
  if (!bytes.subarray(0, 8).equals(magic) || bytes.readUInt32LE(8) !== version) return undefined
  const clusterBytes = bytes.readUInt32LE(44)
  const header: SegmentHeader = {
    salt: bytes.readUInt32LE(12),
    segment: Number(bytes.readBigUInt64LE(16)),
    firstSequence: Number(bytes.readBigUInt64LE(24)),
    memberId: Number(bytes.readBigUInt64LE(32)),
    previous: bytes.readUInt32LE(40),
    clusterId: bytes.toString("utf8", 48, 48 + clusterBytes),
  }
  return { header, previous: crc }
}

/** One frame, and the chain after it. */
export function writeFrame(
  body: Uint8Array,
  chain: Chain,
  salt: number,
): { bytes: Uint8Array; chain: Chain } {
  if (body.length === 0) throw new Error("an empty frame")
  const bytes = Buffer.alloc(frameBytes(body.length))
  bytes.set(body, frameHeadBytes)
  endMark.copy(bytes, bytes.length - endMark.length)
  const room = bytes.subarray(frameHeadBytes, bytes.length - endMark.length)
  bytes.writeUInt32LE(body.length, 0)
  bytes.writeBigUInt64LE(BigInt(chain.sequence), 8)
  bytes.writeUInt32LE(chain.previous, 16)
  bytes.writeUInt32LE(crc32(room, chain.previous), 20)
  const head = headCrc(bytes, salt)
  bytes.writeUInt32LE(head, 4)
  return { bytes, chain: { sequence: chain.sequence + 1, previous: head } }
}

function headCrc(bytes: Buffer, salt: number): number {
  return crc32(bytes.subarray(8, frameHeadBytes), crc32(bytes.subarray(0, 4), salt))
}

interface FrameHead {
  readonly length: number
  readonly sequence: number
  readonly previous: number
  readonly bodyCrc: number
  readonly crc: number
}

/** The head of a frame, whatever became of its body. */
function readHead(bytes: Buffer, offset: number, salt: number): FrameHead | undefined {
  if (offset + frameHeadBytes > bytes.length) return undefined
  const length = bytes.readUInt32LE(offset)
  if (length === 0) return undefined
  const crc = bytes.readUInt32LE(offset + 4)
  if (headCrc(bytes.subarray(offset, offset + frameHeadBytes), salt) !== crc) return undefined
  return {
    length,
    sequence: Number(bytes.readBigUInt64LE(offset + 8)),
    previous: bytes.readUInt32LE(offset + 16),
    bodyCrc: bytes.readUInt32LE(offset + 20),
    crc,
  }
}

/** The frame at offset, if it is whole and the next of the chain. */
export function readFrame(
  input: Uint8Array,
  offset: number,
  place: { salt: number; chain: Chain },
): { body: Uint8Array; end: number; chain: Chain } | undefined {
  const bytes = view(input)
  const head = readHead(bytes, offset, place.salt)
  if (!head || head.sequence !== place.chain.sequence || head.previous !== place.chain.previous) {
    return undefined
  }
  const end = offset + frameBytes(head.length)
  if (end > bytes.length) return undefined
  const room = bytes.subarray(offset + frameHeadBytes, end - endMark.length)
  if (crc32(room, head.previous) !== head.bodyCrc) return undefined
  if (!bytes.subarray(end - endMark.length, end).equals(endMark)) return undefined
  return {
    body: room.subarray(0, head.length),
    end,
    chain: { sequence: head.sequence + 1, previous: head.crc },
  }
}

/** What stands at an offset where no frame of the chain is: nothing, a write that a crash cut short, or damage. */
export type Remains =
  | { readonly kind: "nothing" }
  | { readonly kind: "torn"; readonly end: number }
  | { readonly kind: "damage"; readonly reason: string }

/**
 * Only one write is under way at any time, a sector arrives whole or not at all, and before the write all of it was zeros.
 * So a torn frame is the last, and lacks a sector; a broken frame that lacks none was whole once: damage.
 */
export function judgeRemains(
  input: Uint8Array,
  offset: number,
  place: { salt: number; chain: Chain },
): Remains {
  const bytes = view(input)
  const end = lastNonZero(bytes, offset)
  if (end === offset) return { kind: "nothing" }
  const head = readHead(bytes, offset, place.salt)
  if (head && (head.sequence !== place.chain.sequence || head.previous !== place.chain.previous)) {
    return { kind: "damage", reason: "a record does not follow the one before" }
  }
  for (let at = padded(offset + 1); at + frameHeadBytes <= end; at += 8) {
    const later = readHead(bytes, at, place.salt)
    if (later && later.sequence > place.chain.sequence) {
      return { kind: "damage", reason: `a broken record; a later one begins at ${at}` }
    }
  }
  // Of a head that is broken itself the length is unknown: then a sector of the head is what must be missing.
  const lacking = head
    ? lacksPart(bytes, offset, offset + frameBytes(head.length))
    : end <= offset + frameHeadBytes || lacksSector(bytes, offset, offset + frameHeadBytes)
  if (!lacking)
    return { kind: "damage", reason: "the last record is whole but its checksum is wrong" }
  if (head && end > offset + frameBytes(head.length)) {
    return { kind: "damage", reason: "bytes after a torn record" }
  }
  return { kind: "torn", end }
}

/** One past the last byte at or after offset that is not zero; offset when there is none. */
function lastNonZero(bytes: Buffer, offset: number): number {
  let end = bytes.length
  const zeros = Buffer.alloc(64 * 1024)
  while (end - offset >= zeros.length && bytes.subarray(end - zeros.length, end).equals(zeros)) {
    end -= zeros.length
  }
  while (end > offset && bytes[end - 1] === 0) end--
  return Math.max(end, offset)
}

/** Whether part of a frame did not arrive. Its last byte is never zero. */
function lacksPart(bytes: Buffer, from: number, to: number): boolean {
  return lacksSector(bytes, from, to) || bytes[to - 1] === 0
}

/** Whether a sector's share of the range is past the end or all zeros. */
function lacksSector(bytes: Buffer, from: number, to: number): boolean {
  if (to > bytes.length) return true
  for (let at = from; at < to;) {
    const next = Math.min(to, at - (at % sectorBytes) + sectorBytes)
    if (isZero(bytes.subarray(at, next))) return true
    at = next
  }
  return false
}

function isZero(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 0) return false
  return true
}

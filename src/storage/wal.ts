/** The log on files, knowing nothing of Raft: items go in by groups, each group one frame, one write, one datasync. */
import {
  type Chain,
  frameBytes,
  headerBytes,
  judgeRemains,
  readFrame,
  readHeader,
  WalCorruption,
  writeFrame,
  writeHeader,
} from "./wal-format.ts"
import type { WalFile, WalFiles } from "./wal-files.ts"
import { readManifest, writeManifest } from "./wal-manifest.ts"

export interface WalOptions {
  readonly clusterId: string
  readonly memberId: number
  readonly segmentBytes: number
  /** Where it is kept, outside of the log, that there is one. */
  readonly outside: WalFiles
  /** A fresh 32-bit number for each segment. */
  readonly salt: () => number
}

export interface WalItem {
  readonly payload: Uint8Array
  /** The state before this item; it opens a segment if one begins here. */
  readonly start: Uint8Array
}

/** One frame read back. */
export interface WalGroup {
  readonly segment: number
  readonly file: string
  readonly offset: number
  readonly bytes: number
  readonly items: readonly Uint8Array[]
}

export interface WalOpened {
  readonly tornBytes: number
  readonly created: boolean
}

interface Segment {
  readonly number: number
  readonly file: WalFile
  readonly salt: number
  readonly bytes: number
}

const spareName = "spare"
const temporaryName = "new.tmp"
const zeros = new Uint8Array(256 * 1024)

function segmentName(number: number): string {
  return `${String(number).padStart(10, "0")}.wal`
}

export class Wal {
  readonly #files: WalFiles
  readonly #options: WalOptions
  #segments: number[] = []
  #segment: Segment | undefined
  #offset = 0
  #chain: Chain = { sequence: 1, previous: 0 }
  #spare: { file: WalFile; bytes: number; ready: boolean } | undefined
  #broken = false

  constructor(files: WalFiles, options: WalOptions) {
    this.#files = files
    this.#options = options
  }

  /** Reads all frames in order, or begins a log whose first item is `start`. */
  open(start: Uint8Array, onGroup: (group: WalGroup) => void): WalOpened {
    const names = this.#files.list()
    for (const name of names) {
      // A spare may hold the beginning of a segment that was never named; what a crash left half made is made anew.
      if (name === temporaryName || name === spareName) this.#files.remove(name)
    }
    this.#segments = names
      .filter((name) => /^\d{10,}\.wal$/.test(name))
      .map((name) => Number.parseInt(name, 10))
      .toSorted((a, b) => a - b)
    const newest = this.#newestKnown()
    if (this.#segments.length === 0) {
      if (newest > 0) throw new WalCorruption("", 0, "the log of this member is gone")
      this.#begin(1, start)
      return { tornBytes: 0, created: true }
    }
    if (this.#segments.at(-1)! < newest) {
      throw new WalCorruption(segmentName(newest), 0, "the newest segment is missing")
    }
    let tornBytes = 0
    for (const [position, number] of this.#segments.entries()) {
      if (position > 0 && number !== this.#segments[position - 1]! + 1) {
        throw new WalCorruption(segmentName(number), 0, `segment ${number - 1} is missing`)
      }
      tornBytes = this.#scan(number, onGroup)
    }
    if (this.#segments.at(-1) !== newest) this.#noteNewest()
    return { tornBytes, created: false }
  }

  /** The newest segment that this member's log is known to have had; 0 when it is not known to have had any. */
  #newestKnown(): number {
    const { outside, clusterId, memberId } = this.#options
    const known = readManifest(outside)
    // Of another member: this one's log was not begun yet.
    return known?.clusterId === clusterId && known.memberId === memberId ? known.segment : 0
  }

  #noteNewest(): void {
    const { outside, clusterId, memberId } = this.#options
    writeManifest(outside, { clusterId, memberId, segment: this.#segments.at(-1)! })
  }

  #scan(number: number, onGroup: (group: WalGroup) => void): number {
    const file = segmentName(number)
    const bytes = this.#files.read(file)
    const isFirst = number === this.#segments[0]
    const isLast = number === this.#segments.at(-1)
    const read = readHeader(bytes)
    if (!read) throw new WalCorruption(file, 0, "not the header of a segment")
    const { header } = read
    if (header.segment !== number) throw new WalCorruption(file, 0, "a segment of another name")
    this.#checkIdentity(header)
    const follows =
      header.previous === this.#chain.previous && header.firstSequence === this.#chain.sequence
    if (!isFirst && !follows) {
      throw new WalCorruption(file, 0, "does not follow the segment before: records are missing")
    }
    const { salt } = header
    let chain: Chain = { sequence: header.firstSequence, previous: read.previous }
    let offset = headerBytes
    let last = { offset, end: offset }
    for (;;) {
      const frame = readFrame(bytes, offset, { salt, chain })
      if (!frame) break
      const items = splitItems(frame.body)
      onGroup({ segment: number, file, offset, bytes: frame.end - offset, items })
      last = { offset, end: frame.end }
      chain = frame.chain
      offset = frame.end
    }
    const remains = judgeRemains(bytes, offset, { salt, chain })
    if (remains.kind === "damage") throw new WalCorruption(file, offset, remains.reason)
    if (remains.kind === "torn" && !isLast) {
      throw new WalCorruption(file, offset, "a broken record, and a segment after it")
    }
    // The header and the first frame were durable before the segment had its name.
    if (last.end === headerBytes) throw new WalCorruption(file, headerBytes, "no first record")
    this.#chain = chain
    if (!isLast) return 0
    const handle = this.#files.open(file)
    this.#segment = { number, file: handle, salt, bytes: bytes.length }
    this.#offset = offset
    const torn = remains.kind === "torn" ? remains.end - offset : 0
    if (torn > 0) this.#fillZeros(handle, offset, offset + torn)
    // What was read may be only in the page cache: written before a kill, or before a sync that failed and marked
    // the pages clean. Writing the last frame again and syncing makes true what we are about to report.
    handle.write(bytes.subarray(last.offset, last.end), last.offset)
    handle.datasync()
    this.#files.syncDirectory()
    return torn
  }

  #checkIdentity(header: { clusterId: string; memberId: number }): void {
    const { clusterId, memberId } = this.#options
    if (header.clusterId === clusterId && header.memberId === memberId) return
    throw new Error(
      `the log is of member ${header.memberId} of cluster ${header.clusterId}, not of member ${memberId} of cluster ${clusterId}`,
    )
  }

  /** Durable when it returns. After an error nothing more is written, ever. */
  append(items: readonly WalItem[]): { segment: number; bytes: number } {
    if (this.#broken) throw new Error("an earlier write failed")
    this.#broken = true
    const body = joinItems(items.map((item) => item.payload))
    const bytes = frameBytes(body.length)
    let segment = this.#current()
    if (this.#offset + bytes > segment.bytes) {
      segment = this.#begin(segment.number + 1, items[0]!.start, bytes)
    }
    const frame = writeFrame(body, this.#chain, segment.salt)
    segment.file.write(frame.bytes, this.#offset)
    segment.file.datasync()
    this.#chain = frame.chain
    this.#offset += bytes
    this.#broken = false
    return { segment: segment.number, bytes }
  }

  /** Removes the segments below `first`, oldest first, so that what is left is always the end of the log. */
  drop(first: number): void {
    if (this.#broken) throw new Error("an earlier write failed")
    this.#broken = true
    while (this.#segments.length > 1 && this.#segments[0]! < first) {
      this.#files.remove(segmentName(this.#segments[0]!))
      this.#files.syncDirectory()
      this.#segments.shift()
    }
    this.#broken = false
  }

  /** One slice of work on the spare segment, so that beginning a segment does not wait. False: nothing left to do. */
  prepare(): boolean {
    if (this.#broken || this.#spare?.ready || !this.#segment) return false
    this.#spare ??= { file: this.#files.create(spareName), bytes: 0, ready: false }
    const spare = this.#spare
    const slice = Math.min(zeros.length, this.#options.segmentBytes - spare.bytes)
    spare.file.write(zeros.subarray(0, slice), spare.bytes)
    spare.file.datasync()
    spare.bytes += slice
    spare.ready = spare.bytes === this.#options.segmentBytes
    return !spare.ready
  }

  close(): void {
    this.#segment?.file.close()
    this.#spare?.file.close()
    this.#segment = undefined
    this.#spare = undefined
    this.#broken = true
  }

  #current(): Segment {
    if (!this.#segment) throw new Error("the log is not open")
    return this.#segment
  }

  /** A segment gets its name when its header, its first record and its room are durable. */
  #begin(number: number, start: Uint8Array, room = 0): Segment {
    const salt = this.#options.salt()
    const { clusterId, memberId } = this.#options
    const header = writeHeader({
      segment: number,
      salt,
      firstSequence: this.#chain.sequence,
      previous: this.#chain.previous,
      clusterId,
      memberId,
    })
    const chain: Chain = { sequence: this.#chain.sequence, previous: header.previous }
    const frame = writeFrame(joinItems([start]), chain, salt)
    const used = headerBytes + frame.bytes.length
    const bytes = Math.max(this.#options.segmentBytes, used + room)
    const { name, file } = this.#takeRoom(bytes)
    file.write(Buffer.concat([header.bytes, frame.bytes]), 0)
    file.datasync()
    this.#files.rename(name, segmentName(number))
    this.#files.syncDirectory()
    this.#segment?.file.close()
    this.#segment = { number, file, salt, bytes }
    this.#segments.push(number)
    // Before anything in it is acknowledged: from here on the segment is missed when it is gone.
    this.#noteNewest()
    this.#offset = used
    this.#chain = frame.chain
    return this.#segment
  }

  #takeRoom(bytes: number): { name: string; file: WalFile } {
    const spare = this.#spare
    if (spare && bytes <= this.#options.segmentBytes) {
      this.#spare = undefined
      if (!spare.ready) this.#fillZeros(spare.file, spare.bytes, bytes)
      return { name: spareName, file: spare.file }
    }
    const file = this.#files.create(temporaryName)
    this.#fillZeros(file, 0, bytes)
    return { name: temporaryName, file }
  }

  #fillZeros(file: WalFile, from: number, to: number): void {
    for (let at = from; at < to; at += zeros.length) {
      file.write(zeros.subarray(0, Math.min(zeros.length, to - at)), at)
    }
    file.datasync()
  }
}

/** Items of a group, each behind its length. */
function joinItems(payloads: readonly Uint8Array[]): Uint8Array {
  const total = payloads.reduce((sum, payload) => sum + 4 + payload.length, 0)
  const body = Buffer.alloc(total)
  let at = 0
  for (const payload of payloads) {
    body.writeUInt32LE(payload.length, at)
    body.set(payload, at + 4)
    at += 4 + payload.length
  }
  return body
}

/** Copies, so that a small item does not keep a whole segment in memory. */
function splitItems(body: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const items: Uint8Array[] = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32LE(at)
    items.push(new Uint8Array(bytes.subarray(at + 4, at + 4 + length)))
    at += 4 + length
  }
  return items
}

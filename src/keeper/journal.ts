/** The keeper's journal: CRC'd records in a file written ahead with zeros, one fdatasync for all that wait. */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, copyFileSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { dirname } from "node:path"
import { crc32 } from "node:zlib"
import {
  type Codec,
  CodecError,
  decode,
  encode,
  list,
  struct,
  text,
  trailing,
  uint,
  union,
} from "../lib/index.ts"
import type { LaunchSpec } from "../wire/index.ts"
import { endingCodec, limitsCodec, specCodec, targetFields } from "./protocol.ts"

const acceptedFields = struct({
  spec: specCodec,
  nonce: text(64),
  bootId: text(64),
  at: uint,
  limits: trailing(limitsCodec),
})
/** The limits stand behind everything else, as they came later than that. */
const accepted: Codec<{ spec: LaunchSpec; nonce: string; bootId: string; at: number }> = {
  write: (writer, value) => acceptedFields.write(writer, { ...value, limits: value.spec.limits }),
  read(reader) {
    const { limits, ...value } = acceptedFields.read(reader)
    return limits ? { ...value, spec: { ...value.spec, limits } } : value
  },
}

/** Append cases and trailing fields, never reorder: an older journal must stay readable. */
const record = union("type", {
  /** Which cluster this keeper obeys, and the highest term it has seen. */
  bound: struct({ clusterId: text(1024), term: uint }),
  accepted,
  started: struct({
    ...targetFields,
    pid: uint,
    ticks: text(64),
    at: uint,
    /** Name of the cgroup that it was born in. */
    cgroup: trailing(text(64)),
  }),
  ready: struct({ ...targetFields, at: uint }),
  stopping: struct({ ...targetFields, at: uint, graceMs: uint, reason: text(16 << 10) }),
  ended: struct({ ...targetFields, ending: endingCodec }),
  /** The attempt is gone; its fence stays known so that a late duplicate of its Start is refused. */
  forgotten: struct(targetFields),
  /** Absolute paths of the cgroups that hold it to its limits; written before it is started. */
  limited: struct({ ...targetFields, paths: list(text(4096), 8) }),
})
export type JournalRecord = Parameters<typeof record.write>[1]
const recordCodec: Codec<JournalRecord> = record

const magic = Buffer.from("troupe keeper 1\n")
const headBytes = 8
const growBytes = 1 << 20

export interface JournalContent {
  readonly records: readonly JournalRecord[]
  /** Bytes that are no record stood behind the last good one: `torn` as a crash leaves them, `damaged` otherwise. */
  /** `newer`: a record is whole, but of a kind that only a later version of this program knows. */
  readonly end: "clean" | "torn" | "damaged" | "newer"
}

/** Everything up to the first record that does not check. A file that is not there is empty. */
export function readJournal(path: string): JournalContent {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { records: [], end: "clean" }
    throw error
  }
  if (!bytes.subarray(0, magic.length).equals(magic)) return { records: [], end: "damaged" }
  const records: JournalRecord[] = []
  let at = magic.length
  while (bytes.length - at >= headBytes) {
    const length = bytes.readUInt32LE(at)
    if (length === 0) break
    const found = recordAt(bytes, at, length)
    if (found === "newer") return { records, end: "newer" }
    if (!found) return { records, end: checksBehind(bytes, at) ? "damaged" : "torn" }
    records.push(found)
    at += headBytes + length
  }
  return { records, end: "clean" }
}

function recordAt(bytes: Buffer, at: number, length: number): JournalRecord | "newer" | undefined {
  const payload = bytes.subarray(at + headBytes, at + headBytes + length)
  if (payload.length < length || crc32(payload) !== bytes.readUInt32LE(at + 4)) return undefined
  try {
    return decode(recordCodec, payload)
  } catch (error) {
    // Its sum is right: it was written so.
    if (error instanceof CodecError) return "newer"
    throw error
  }
}

// A crash can tear only the last batch. More good bytes than a batch can hold behind the bad record mean that the
// disk lied about something old.
const batchBytesMax = 4 << 20
function checksBehind(bytes: Buffer, at: number): boolean {
  return bytes.subarray(at + batchBytesMax).some((byte) => byte !== 0)
}

function framed(value: JournalRecord): Buffer {
  const payload = encode(recordCodec, value)
  const head = Buffer.alloc(headBytes)
  head.writeUInt32LE(payload.length, 0)
  head.writeUInt32LE(crc32(payload), 4)
  return Buffer.concat([head, payload])
}

interface Waiting {
  readonly bytes: Buffer
  readonly done: (error?: Error) => void
}

/** Open for appending. After a failed write it refuses everything until `rewrite` has succeeded. */
export class Journal {
  readonly #path: string
  #file: FileHandle | undefined
  #at = 0
  #allocated = 0
  #waiting: Waiting[] = []
  #busy: Promise<void> | undefined
  #failed: Error | undefined
  #rewritten = 0

  constructor(path: string) {
    this.#path = path
  }

  get failed(): Error | undefined {
    return this.#failed
  }

  /** Bytes written since the last rewrite have outgrown what it left. */
  get isLarge(): boolean {
    return this.#at > Math.max(4 << 20, this.#rewritten * 3)
  }

  /** Resolves when the record is on the disk. */
  append(value: JournalRecord): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed)
    const bytes = framed(value)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, done: (error) => (error ? reject(error) : resolve()) })
      this.#busy ??= this.#flushAll()
    })
  }

  async #flushAll(): Promise<void> {
    // One turn of the loop gathers what the same burst brings.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#takeBatch()
      try {
        await this.#write(Buffer.concat(batch.map((one) => one.bytes)))
        for (const one of batch) one.done()
      } catch (error) {
        this.#failed = error as Error
        for (const one of [...batch, ...this.#waiting.splice(0)]) one.done(this.#failed)
      }
    }
    this.#busy = undefined
  }

  #takeBatch(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const one of this.#waiting) {
      bytes += one.bytes.length
      if (count > 0 && bytes > batchBytesMax) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #write(bytes: Buffer): Promise<void> {
    const file = this.#file
    if (!file) throw new Error("the journal is not open")
    if (this.#at + bytes.length + headBytes > this.#allocated) {
      const zeros = Buffer.alloc(bytes.length + growBytes)
      await writeFully(file, zeros, this.#at)
      this.#allocated = this.#at + zeros.length
    }
    await writeFully(file, bytes, this.#at)
    await file.datasync()
    this.#at += bytes.length
  }

  /** Replaces the file by one that holds exactly these records, written beside and renamed. Also mends a failed one. */
  async rewrite(records: () => readonly JournalRecord[]): Promise<void> {
    while (this.#busy) await this.#busy
    const work = this.#replace(records())
    // Appends that arrive meanwhile queue behind the new file; replay takes a record twice without harm.
    this.#busy = work.then(
      () => this.#flushAll(),
      () => this.#flushAll(),
    )
    await work
  }

  async #replace(records: readonly JournalRecord[]): Promise<void> {
    const fresh = `${this.#path}.new`
    const content = Buffer.concat([magic, ...records.map(framed)])
    const file = await open(fresh, "w", 0o600)
    try {
      await writeFully(file, Buffer.concat([content, Buffer.alloc(growBytes)]), 0)
      await file.sync()
    } catch (error) {
      // The old file still stands and goes on.
      await file.close()
      throw error
    }
    try {
      renameSync(fresh, this.#path)
      syncDirectory(dirname(this.#path))
    } catch (error) {
      this.#failed = error as Error
      await file.close()
      throw error
    }
    await this.#file?.close()
    this.#file = file
    this.#at = content.length
    this.#rewritten = content.length
    this.#allocated = content.length + growBytes
    this.#failed = undefined
  }

  async close(): Promise<void> {
    while (this.#busy) await this.#busy
    await this.#file?.close()
    this.#file = undefined
  }
}

/** Keeps a damaged journal for whoever wants to look into it. */
export function keepDamaged(path: string, now: number): string {
  const kept = `${path}.damaged-${now}`
  copyFileSync(path, kept)
  return kept
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let at = 0
  while (at < bytes.length) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, "r")
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

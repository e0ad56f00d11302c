/** Deterministic tar archives (POSIX ustar, with pax records for long names and sizes): writing and strict reading. */
import { bundleBytesMax, filesMax, invalidBundle, pathProblem } from "./paths.ts"
import { ByteReader } from "./byte-reader.ts"

/** One file of an archive or a bundle. */
export interface BundleFile {
  readonly path: string
  readonly bytes: number
  /** Out of an archive: once, and before the next file is asked for. */
  readonly read: () => AsyncIterable<Uint8Array>
}

/** The earliest time that tar and zip can both say; times of day would make equal bundles differ. */
export const archiveTime = new Date("1980-01-01T00:00:00Z")

const blockBytes = 512
/** What is handed on at once: hashing or copying it takes well under a millisecond. */
const chunkBytes = 256 * 1024
/** Eleven octal digits. */
const plainSizeMax = 8 * 1024 ** 3 - 1
const nameBytesMax = 100
const prefixBytesMax = 155
/** A pax or GNU long-name block holds a path or two. */
const extraBytesMax = 64 * 1024

/** The files in the order given, owned by root, of mode 644, without times of their own. */
export async function* packTar(files: Iterable<BundleFile>): AsyncGenerator<Uint8Array> {
  for (const { path, bytes, read } of files) {
    yield* headersOf(path, bytes)
    let written = 0
    for await (const chunk of read()) {
      written += chunk.length
      for (let at = 0; at < chunk.length; at += chunkBytes) {
        yield chunk.subarray(at, at + chunkBytes)
      }
    }
    if (written !== bytes) {
      throw invalidBundle(path, `has ${written} bytes now, not the ${bytes} that were listed`)
    }
    yield padding(bytes)
  }
  yield new Uint8Array(2 * blockBytes)
}

function padding(bytes: number): Uint8Array {
  return new Uint8Array((blockBytes - (bytes % blockBytes)) % blockBytes)
}

function headersOf(path: string, bytes: number): Uint8Array[] {
  const place = splitName(path)
  const records: string[] = []
  if (!place) records.push(paxRecord("path", path))
  if (bytes > plainSizeMax) records.push(paxRecord("size", String(bytes)))
  const plain = place ?? { name: "long-name", prefix: "" }
  const own = header(plain, { bytes: bytes > plainSizeMax ? 0 : bytes, type: "0" })
  if (records.length === 0) return [own]
  const body = Buffer.from(records.join(""))
  const pax = header({ name: "pax", prefix: "" }, { bytes: body.length, type: "x" })
  return [pax, body, padding(body.length), own]
}

/** ustar's two fields, when the path is plain ASCII and can be cut at a slash to fit them. */
function splitName(path: string): { name: string; prefix: string } | undefined {
  if (!/^[\x20-\x7e]*$/.test(path)) return undefined
  if (path.length <= nameBytesMax) return { name: path, prefix: "" }
  const cut = path.indexOf("/", path.length - nameBytesMax - 1)
  if (cut <= 0 || cut > prefixBytesMax) return undefined
  return { name: path.slice(cut + 1), prefix: path.slice(0, cut) }
}

/** `<length> key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = Buffer.byteLength(rest)
  while (Buffer.byteLength(`${length}${rest}`) !== length) {
    length = Buffer.byteLength(`${length}${rest}`)
  }
  return `${length}${rest}`
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, "0")
}

function header(
  place: { readonly name: string; readonly prefix: string },
  entry: { readonly bytes: number; readonly type: string },
): Buffer {
  const block = Buffer.alloc(blockBytes)
  block.write(place.name, 0, "latin1")
  block.write(octal(0o644, 7), 100)
  block.write(octal(0, 7), 108)
  block.write(octal(0, 7), 116)
  block.write(octal(entry.bytes, 11), 124)
  block.write(octal(archiveTime.getTime() / 1000, 11), 136)
  block.write(entry.type, 156)
  block.write("ustar\u000000", 257, "latin1")
  block.write(octal(0, 7), 329)
  block.write(octal(0, 7), 337)
  block.write(place.prefix, 345, "latin1")
  block.write(`${octal(checksum(block), 6)}\0 `, 148, "latin1")
  return block
}

/** Sum of all bytes, the checksum's own eight counted as spaces. */
function checksum(block: Uint8Array): number {
  let sum = 0
  for (const [at, byte] of block.entries()) sum += at >= 148 && at < 156 ? 32 : byte
  return sum
}

interface Extra {
  path?: string
  size?: number
}

/** Plain files of a tar, in order. Whatever is not read of one is passed over. Refuses links, devices, paths that lead
 *  elsewhere, too many files or bytes, and a tar without its end: ERR_BUNDLE_INVALID, `name` says of what. */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<BundleFile> {
  const reader = new ByteReader(source, (reason) => invalidBundle(name, reason))
  let count = 0
  let total = 0
  let extra: Extra = {}
  try {
    for (;;) {
      const block = await reader.take(blockBytes)
      if (block.every((byte) => byte === 0)) {
        // To its end: whoever checks the stream as a whole does so there.
        await reader.drain()
        return
      }
      const entry = decodeHeader(block)
      if ("problem" in entry) throw invalidBundle(name, entry.problem)
      if (entry.type === "x" || entry.type === "L") {
        extra = { ...extra, ...(await readExtra(reader, { ...entry, name })) }
        continue
      }
      if (entry.type === "g" || entry.type === "K") {
        // Global records and GNU long link names say nothing about a plain file.
        await reader.skip(entry.bytes + padding(entry.bytes).length)
        continue
      }
      const path = (extra.path ?? entry.path).replace(/\/+$/, "")
      const bytes = extra.size ?? entry.bytes
      extra = {}
      const problem = pathProblem(path)
      if (problem !== undefined) {
        throw invalidBundle(name, `the path ${JSON.stringify(path)} ${problem}`)
      }
      if (entry.type === "5") {
        await reader.skip(bytes + padding(bytes).length)
        continue
      }
      if (entry.type !== "0") {
        throw invalidBundle(name, `${path} is ${kindOf(entry.type)}; only plain files are taken`)
      }
      count += 1
      total += bytes
      if (count > filesMax) throw invalidBundle(name, `holds more than ${filesMax} files`)
      if (total > bundleBytesMax) throw invalidBundle(name, `holds over ${bundleBytesMax} bytes`)
      const body = reader.body(bytes)
      yield { path, bytes, read: () => body.read() }
      await body.finish()
      await reader.skip(padding(bytes).length)
    }
  } finally {
    await reader.close()
  }
}

function kindOf(type: string): string {
  const kinds: Readonly<Record<string, string>> = {
    "1": "a hard link",
    "2": "a symbolic link",
    "3": "a device",
    "4": "a device",
    "6": "a pipe",
  }
  return kinds[type] ?? `of the unknown kind ${JSON.stringify(type)}`
}

function decodeHeader(
  block: Buffer,
): { readonly path: string; readonly bytes: number; readonly type: string } | { problem: string } {
  const field = (at: number, length: number): string => {
    const end = block.indexOf(0, at)
    return block.toString("utf8", at, end === -1 ? at + length : Math.min(end, at + length))
  }
  if (Number.parseInt(field(148, 8).trim(), 8) !== checksum(block)) {
    return { problem: "is no tar (a header's checksum is wrong)" }
  }
  const bytes = decodeSize(block.subarray(124, 136))
  if (bytes === undefined) return { problem: "a header names no size" }
  const prefix = block.toString("latin1", 257, 263) === "ustar\0" ? field(345, 155) : ""
  const path = prefix === "" ? field(0, 100) : `${prefix}/${field(0, 100)}`
  const type = block.toString("latin1", 156, 157)
  return { path, bytes, type: type === "\0" || type === "7" ? "0" : type }
}

/** Octal text, or GNU's big-endian binary with the top bit set. */
function decodeSize(field: Buffer): number | undefined {
  if ((field[0]! & 0x80) !== 0) {
    const size = Number(field.readBigUInt64BE(4))
    return field.subarray(1, 4).every((byte) => byte === 0) && Number.isSafeInteger(size)
      ? size
      : undefined
  }
  const text = field
    .toString("latin1")
    .replace(/[\0 ]+$/, "")
    .trim()
  return /^[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined
}

async function readExtra(
  reader: ByteReader,
  entry: { readonly type: string; readonly bytes: number; readonly name: string },
): Promise<Extra> {
  if (entry.bytes > extraBytesMax) throw invalidBundle(entry.name, "a long header is too long")
  const body = await reader.take(entry.bytes)
  await reader.skip(padding(entry.bytes).length)
  if (entry.type === "L") return { path: body.toString("utf8").replace(/\0.*$/s, "") }
  const extra: Extra = {}
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at)
    const length = space === -1 ? 0 : Number(body.toString("latin1", at, space))
    if (!Number.isInteger(length) || length < 5 || at + length > body.length) {
      throw invalidBundle(entry.name, "a pax header is broken")
    }
    const [key, ...value] = body.toString("utf8", space + 1, at + length - 1).split("=")
    if (key === "path") extra.path = value.join("=")
    if (key === "size") {
      extra.size = Number(value.join("="))
      if (!Number.isSafeInteger(extra.size) || extra.size < 0) {
        throw invalidBundle(entry.name, "a pax header names no size")
      }
    }
    at += length
  }
  return extra
}

/** Raft messages between nodes: an envelope that says for whom they are, then only the fields that are set. */
import {
  bytes,
  type Codec,
  CodecError,
  list,
  oneOf,
  Reader,
  struct,
  text,
  uint,
  bool,
  Writer,
} from "../lib/index.ts"
import type { ConfState, Entry, Message, MessageType, SnapshotMeta } from "../consensus/index.ts"

export interface Frame {
  readonly version: number
  readonly clusterId: string
  /** Counts recoveries of the cluster by hand; 0 until the first. */
  readonly incarnation: number
  readonly to: number
  readonly from: number
  /** Which start of the sender this is, as in its session's boot; absent or 0 is not said. Builds that know only version
   *  1 of entries refuse it. */
  readonly boot?: number | undefined
  readonly message: Message
}

export const frameVersion = 1
/** Larger than any message of the core: maxSizePerMsg bounds the entries of one, and a single entry is at most 1 MiB. */
export const frameBytesMax = 4 * 1024 * 1024

/** What may travel. The others are a node's own inputs or, like MsgProp, go another way (ctl): a frame with one of
 *  them is refused. The position is the number on the wire: append only. */
const travelling = [
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
] as const satisfies readonly MessageType[]

const entry: Codec<Entry> = struct({
  term: uint,
  index: uint,
  type: oneOf("EntryNormal", "EntryConfChange", "EntryConfChangeV2"),
  data: bytes(frameBytesMax),
})

const ids = list(uint, 1024)
const confState: Codec<ConfState> = struct({
  voters: ids,
  learners: ids,
  votersOutgoing: ids,
  learnersNext: ids,
  autoLeave: bool,
})
const snapshotMeta: Codec<SnapshotMeta> = struct({ index: uint, term: uint, confState })
const entries = list(entry, 65_536)
const context = bytes(64 * 1024)
const clusterId = text(64)

/** Numeric fields, each with a bit of the mask; 0 is left out. */
const numbers = ["term", "logTerm", "index", "commit", "vote", "rejectHint", "epoch"] as const
const bit = {
  reject: 1 << 7,
  entries: 1 << 8,
  snapshot: 1 << 9,
  context: 1 << 10,
  // A forwarded message keeps its first sender.
  from: 1 << 11,
  boot: 1 << 12,
}
const maskMax = (1 << 13) - 1

function maskOf({ message, from, boot }: Frame): number {
  let mask = boot ? bit.boot : 0
  for (const [place, name] of numbers.entries()) if (message[name]) mask |= 1 << place
  if (message.reject) mask |= bit.reject
  if (message.entries?.length) mask |= bit.entries
  if (message.snapshot) mask |= bit.snapshot
  if (message.context?.length) mask |= bit.context
  if (message.from !== from) mask |= bit.from
  return mask
}

/** CodecError for a message that must not travel. The snapshot's data is left out: it has a stream of its own. */
export function encodeFrame(frame: Frame): Uint8Array {
  const { message } = frame
  const type = (travelling as readonly string[]).indexOf(message.type)
  if (type < 0) throw new CodecError(`${message.type} does not travel`)
  if (message.to !== frame.to) throw new CodecError(`to ${frame.to}, its message ${message.to}`)
  const writer = new Writer()
  writer.varint(frame.version)
  clusterId.write(writer, frame.clusterId)
  writer.varint(frame.incarnation)
  writer.varint(frame.to)
  writer.varint(frame.from)
  writer.varint(type)
  const mask = maskOf(frame)
  writer.varint(mask)
  for (const name of numbers) {
    const value = message[name]
    if (value) writer.varint(value)
  }
  if (message.entries?.length) entries.write(writer, message.entries)
  if (message.snapshot) snapshotMeta.write(writer, message.snapshot.meta)
  if (message.context?.length) context.write(writer, message.context)
  if (mask & bit.from) writer.varint(message.from)
  if (frame.boot) writer.varint(frame.boot)
  const encoded = writer.finish()
  if (encoded.length > frameBytesMax) throw new CodecError(`a frame of ${encoded.length} bytes`)
  return encoded
}

/** CodecError for anything but a whole frame of this version. Byte fields share memory with `data`. */
export function decodeFrame(data: Uint8Array): Frame {
  if (data.length > frameBytesMax) throw new CodecError(`a frame of ${data.length} bytes`)
  const reader = new Reader(data)
  const version = reader.varint()
  if (version !== frameVersion) throw new CodecError(`a frame of version ${version}`)
  const cluster = clusterId.read(reader)
  const incarnation = reader.varint()
  const to = reader.varint()
  const from = reader.varint()
  const type = travelling[reader.varint()]
  if (type === undefined) throw new CodecError("unknown message type")
  const mask = reader.varint()
  if (mask > maskMax) throw new CodecError("unknown message field")
  const message: { -readonly [K in keyof Message]: Message[K] } = { type, to, from }
  for (const [place, name] of numbers.entries()) {
    if (mask & (1 << place)) message[name] = reader.varint()
  }
  if (mask & bit.reject) message.reject = true
  if (mask & bit.entries) message.entries = entries.read(reader)
  if (mask & bit.snapshot) {
    message.snapshot = { meta: snapshotMeta.read(reader), data: new Uint8Array(0) }
  }
  if (mask & bit.context) message.context = context.read(reader)
  if (mask & bit.from) message.from = reader.varint()
  const boot = mask & bit.boot ? { boot: reader.varint() } : {}
  if (reader.left > 0) throw new CodecError(`${reader.left} bytes too many in a frame`)
  return { version, clusterId: cluster, incarnation, to, from, ...boot, message }
}

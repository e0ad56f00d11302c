/** Codecs of the nouns that several messages carry, with the bounds of everything that can grow. */
import {
  array,
  type Codec,
  CodecError,
  list,
  oneOf,
  optional,
  record,
  struct,
  text,
  uint,
  bool,
} from "../lib/index.ts"
import {
  declarationFrom,
  type Ending,
  type Member,
  type MemberDeclaration,
  type Output,
  type PeerRef,
} from "../schema/index.ts"
import type { TaskRef } from "../state/index.ts"

/** Outputs that one report may name; a task with more fails on its node, before it is reported. */
export const outputsMax = 10_000

export const short: Codec<string> = text(256)
export const address: Codec<string> = text(512)

/** A sentence for people. One that is too long is cut, since no report may fail for its prose. */
export const sentence: Codec<string> = {
  write(writer, value) {
    // A UTF-16 unit takes at most three bytes, so this always fits.
    text(4096).write(writer, value.length > 1300 ? `${value.slice(0, 1299)}…` : value)
  },
  read: (reader) => text(4096).read(reader),
}

/** Milliseconds since the epoch; a fraction is rounded, a time before 1970 is 0. */
export const time: Codec<number> = {
  write(writer, value) {
    if (!Number.isFinite(value)) throw new CodecError(`not a time: ${value}`)
    uint.write(writer, Math.max(0, Math.round(value)))
  },
  read: (reader) => uint.read(reader),
}

const hexPattern = /^[0-9a-f]{64}$/

/** SHA-256 as 32 bytes; lower-case hex in memory. */
export const digest: Codec<string> = {
  write(writer, value) {
    if (!hexPattern.test(value)) throw new CodecError("not a SHA-256 digest")
    for (let at = 0; at < 64; at += 2) writer.byte(Number.parseInt(value.slice(at, at + 2), 16))
  },
  read(reader) {
    let hex = ""
    for (const byte of reader.raw(32)) hex += byte.toString(16).padStart(2, "0")
    return hex
  },
}

export const taskFields = { run: short, group: short, index: uint }
export const taskRef: Codec<TaskRef> = struct(taskFields)

export const peerRef: Codec<PeerRef> = struct({ peerId: short, addresses: list(address, 64) })
/** As PeerRef, for rows whose arrays are not readonly. */
export const peerRefRow: Codec<{ peerId: string; addresses: string[] }> = struct({
  peerId: short,
  addresses: array(address, 64),
})

const declarationFields = {
  peerId: short,
  name: short,
  addresses: array(address, 64),
  voter: oneOf("auto", "never"),
  os: short,
  arch: short,
  cores: uint,
  memoryBytes: uint,
  labels: record(text(1024), 256),
  tools: array(short, 1024),
  capacity: uint,
}
export const role = oneOf("voter", "standby", "worker")
export const declaration: Codec<MemberDeclaration> = struct(declarationFields)
const memberRow = struct({ id: uint, role, ...declarationFields })
/** As it declared itself, so that members of any version read it. */
export const member: Codec<Member> = {
  write(writer, value) {
    memberRow.write(writer, { ...declarationFrom(value), id: value.id, role: value.role })
  },
  read: (reader) => memberRow.read(reader),
}

/** Exit codes may be negative (ssh reports -1), so the sign goes into the lowest bit. */
const exitCode: Codec<number> = {
  write: (writer, value) => writer.varint(value < 0 ? -value * 2 - 1 : value * 2),
  read(reader) {
    const folded = reader.varint()
    return folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2
  },
}

export const ending: Codec<Ending> = struct({
  outcome: oneOf("exited", "signalled", "not_started", "unknown", "lost", "done"),
  exitCode: optional(exitCode),
  signal: optional(short),
  reason: optional(sentence),
  stopped: bool,
  startedAt: optional(time),
  endedAt: optional(time),
})

export const output: Codec<Output> = struct({ path: text(1024), digest, bytes: uint })

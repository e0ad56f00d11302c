/** The frames of a request stream: a number, a kind, a body; and errors as they travel. */
import { Uint8ArrayList } from "uint8arraylist"
import { CodecError, Reader, Writer } from "../lib/index.ts"
import { type ErrorCode, isTroupeError, TroupeError } from "../schema/index.ts"
import { reasonOf } from "./failures.ts"
import { meshLimits } from "./limits.ts"
import { plainBytes } from "./plain-bytes.ts"

/** Of the side that opened the stream: request, cancel, ping. Of the other: answer, failure, pong. */
const kinds = ["request", "cancel", "ping", "answer", "failure", "pong"] as const
export type EnvelopeKind = (typeof kinds)[number]

export interface Envelope {
  /** Numbers a request; the answer carries it back. */
  readonly id: number
  readonly kind: EnvelopeKind
  readonly body: Uint8Array
}

const none: Uint8Array = new Uint8Array(0)
/** A varint of at most 8 bytes and the kind. */
const headerBytesMax = 9
export const envelopeBytesMax = meshLimits.requestBytesMax + headerBytesMax

/** The body is not copied. */
export function encodeEnvelope(id: number, kind: EnvelopeKind, body = none): Uint8ArrayList {
  const header = new Writer()
  header.varint(id)
  header.byte(kinds.indexOf(kind))
  return new Uint8ArrayList(header.finish(), body)
}

export function decodeEnvelope(frame: Uint8ArrayList): Envelope {
  const bytes = plainBytes(frame.subarray())
  const reader = new Reader(bytes)
  const id = reader.varint()
  const kind = kinds[reader.byte()]
  if (kind === undefined) throw new CodecError("unknown kind of envelope")
  return { id, kind, body: reader.raw(reader.left) }
}

const failureBytesMax = 1 << 20
const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Errors of the world travel whole; anything else only as a sentence. */
export function encodeFailure(error: unknown, where: string): Uint8Array {
  const { code, message, details } = isTroupeError(error) ? error : foreign(where, error)
  const bytes = encoder.encode(JSON.stringify({ code, message, details }))
  if (bytes.length <= failureBytesMax) return bytes
  const reason = `${code} with more than ${failureBytesMax} bytes of details`
  return encodeFailure(foreign(where, new Error(reason)), where)
}

function foreign(where: string, error: unknown): TroupeError<"ERR_PROTOCOL"> {
  const reason = reasonOf(error)
  return new TroupeError("ERR_PROTOCOL", `${where} failed at the other side: ${reason}`, {
    where,
    reason,
  })
}

export function decodeFailure(body: Uint8Array, where: string): TroupeError {
  const bad = (reason: string) => foreign(where, new Error(reason))
  if (body.length > failureBytesMax) return bad("an oversize error")
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(body))
  } catch {
    return bad("an unreadable error")
  }
  if (typeof value !== "object" || value === null) return bad("an unreadable error")
  const { code, message, details } = value as Record<string, unknown>
  if (typeof code !== "string" || !/^ERR_[A-Z_]{1,60}$/.test(code)) return bad("an unknown error")
  if (typeof message !== "string" || typeof details !== "object" || details === null) {
    return bad(`${code} without its details`)
  }
  // A code of a newer node is passed on as it came: codes are only added.
  return new TroupeError(code as ErrorCode, message, details as never)
}

/** The keeper's socket: length-prefixed frames, and the codecs of what stands in them and in the journal. */
import {
  bool,
  type Codec,
  decode,
  encode,
  float,
  json,
  list,
  oneOf,
  optional,
  struct,
  text,
  trailing,
  uint,
  union,
} from "../lib/index.ts"
import type { Ending, ErrorCode, Limits } from "../schema/index.ts"
import type { KeeperAttempt, LaunchSpec } from "../wire/index.ts"

/** 1: the first. 2: limits in a launch, the build in a hello. 3: `renew`, and `selfStopMs` in a launch. A node speaks
 *  with keepers of all versions up to its own, but sends a launch only to one of its own build: all other messages stay
 *  as they are. */
export const protocolVersion = 3
export const frameBytesMax = 4 << 20
/** Attempts in one page of `list`. */
export const pageMax = 256

const name = text(1024)
const path = text(4096)
const reason = text(16 << 10)

const readiness = union("method", {
  structured_stdout: struct({ timeoutMs: uint }),
  stdout_match: struct({ pattern: text(4096), timeoutMs: uint }),
  tcp_connect: struct({ host: text(1024), port: text(64), timeoutMs: uint }),
  delay: struct({ delayMs: uint, timeoutMs: uint }),
})

export const limitsCodec: Codec<Limits> = struct({
  memoryBytes: optional(uint),
  cpus: optional(float),
  pids: optional(uint),
  openFiles: optional(uint),
})

const specFields = {
  clusterId: name,
  term: uint,
  fence: uint,
  lease: uint,
  run: name,
  task: name,
  attempt: uint,
  argv: list(text(128 << 10), 4096),
  env: json<Readonly<Record<string, string>>>(1 << 20),
  cwd: optional(path),
  directory: bool,
  files: list(struct({ source: path, path }), 4096),
  readiness: optional(readiness),
  deadlineMs: optional(uint),
  graceMs: uint,
  onKeeperDeath: oneOf("survive", "die"),
  outputBytesMax: uint,
}
/** Without its limits: it may stand before other fields. */
export const specCodec: Codec<LaunchSpec> = struct(specFields)
const laterFields = struct({ limits: optional(limitsCodec), selfStopMs: trailing(uint) })
/** Only as the end of a message: what came later takes no byte where it is absent. */
const lastSpecCodec: Codec<LaunchSpec> = {
  write(writer, value) {
    const { limits, selfStopMs } = value
    specCodec.write(writer, value)
    if (limits || selfStopMs !== undefined) laterFields.write(writer, { limits, selfStopMs })
  },
  read(reader) {
    const spec = specCodec.read(reader)
    if (reader.left === 0) return spec
    const { limits, selfStopMs } = laterFields.read(reader)
    return { ...spec, ...(limits && { limits }), ...(selfStopMs !== undefined && { selfStopMs }) }
  },
}

export const endingCodec: Codec<Ending> = struct({
  outcome: oneOf("exited", "signalled", "not_started", "unknown", "lost", "done"),
  exitCode: optional(uint),
  signal: optional(text(64)),
  reason: optional(reason),
  stopped: bool,
  startedAt: optional(uint),
  endedAt: optional(uint),
})

const attempt: Codec<KeeperAttempt> = struct({
  run: name,
  task: name,
  attempt: uint,
  fence: uint,
  state: oneOf("accepted", "started", "ready", "ended"),
  pid: optional(uint),
  startedAt: optional(uint),
  readyAt: optional(uint),
  ending: optional(endingCodec),
  stdout: path,
  stderr: path,
  directory: optional(path),
  outputBytesMax: uint,
  diesWithKeeper: optional(bool),
})

/** One attempt of one task: the fence tells attempts apart. */
export interface Target {
  readonly run: string
  readonly task: string
  readonly fence: number
}
export const targetFields = { run: name, task: name, fence: uint }

const request = union("op", {
  hello: struct({ version: uint }),
  launch: struct({ spec: lastSpecCodec }),
  end: struct({ ...targetFields, graceMs: uint, reason }),
  /** `after` = the `next` of the page before; 0 begins. */
  list: struct({ after: uint }),
  forget: struct({ ...targetFields, files: bool }),
  status: struct({}),
  /** Leaves when nothing is live; answers whether it does. */
  shutdown: struct({}),
  /** The node had a lease of this cluster at `at`, ms since the host's boot. */
  renew: struct({ clusterId: name, at: uint }),
})
const requestFrame = struct({ id: uint, request })
export type Request = Parameters<typeof request.write>[1]

/** How the keeper describes itself. */
export interface KeeperStatus {
  readonly version: number
  readonly pid: number
  /** Attempts whose processes run, and all that are not yet forgotten. */
  readonly live: number
  readonly known: number
  readonly rssBytes: number
  /** How a tree is held together: a cgroup's kind, or session and process group. */
  readonly trees: "cgroup2" | "freezer" | "pids" | "session"
  /** Whether `die` jobs get a parent-death signal. */
  readonly parentDeathSignal: boolean
}
const status: Codec<KeeperStatus> = struct({
  version: uint,
  pid: uint,
  live: uint,
  known: uint,
  rssBytes: uint,
  trees: oneOf("cgroup2", "freezer", "pids", "session"),
  parentDeathSignal: bool,
})

const reply = union("kind", {
  done: struct({}),
  hello: struct({ version: uint, pid: uint, build: trailing(name) }),
  attempt: struct({ attempt }),
  page: struct({ attempts: list(attempt, pageMax), next: uint }),
  status: struct({ status }),
  leaving: struct({ leaving: bool }),
  refusal: struct({ code: name, message: reason, details: json(16 << 10) }),
  /** Not an answer (id 0): an attempt changed. */
  change: struct({ attempt }),
})
const replyFrame = struct({ id: uint, reply })
export type Reply = Parameters<typeof reply.write>[1]

/** What the keeper refuses; becomes a TroupeError on the client's side (schema's class would bring zod in here). */
export class Refusal extends Error {
  override readonly name = "Refusal"
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, unknown>>) {
    super(message)
    this.code = code
    this.details = details
  }
}

export function encodeRequest(id: number, value: Request): Uint8Array {
  return framed(encode(requestFrame, { id, request: value }))
}

export function decodeRequest(frame: Uint8Array): { id: number; request: Request } {
  return decode(requestFrame, frame)
}

export function encodeReply(id: number, value: Reply): Uint8Array {
  return framed(encode(replyFrame, { id, reply: value }))
}

export function decodeReply(frame: Uint8Array): { id: number; reply: Reply } {
  return decode(replyFrame, frame)
}

function framed(payload: Uint8Array): Uint8Array {
  if (payload.length > frameBytesMax) {
    throw new Refusal("ERR_LIMIT", `a message to the keeper has ${payload.length} bytes`, {
      what: "keeper message bytes",
      max: frameBytesMax,
    })
  }
  const frame = new Uint8Array(4 + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, 4)
  return frame
}

/** Cuts a byte stream into frames. Throws on a length past the limit. */
export class FrameReader {
  #kept: Uint8Array = new Uint8Array(0)

  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const frames: Uint8Array[] = []
    let at = 0
    while (bytes.length - at >= 4) {
      const length = view.getUint32(at)
      if (length > frameBytesMax) throw new Error(`a frame of ${length} bytes`)
      if (bytes.length - at - 4 < length) break
      frames.push(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    this.#kept = bytes.subarray(at)
    return frames
  }
}

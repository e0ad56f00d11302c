/** What nodes ask each other by request and answer: ctl (forwarded calls), join (before membership), job (leader and
 *  worker). Every message begins with the version of its protocol. */
import {
  array,
  bool,
  bytes,
  type Codec,
  CodecError,
  decode,
  encode,
  json,
  list,
  oneOf,
  optional,
  struct,
  trailing,
  uint,
  union,
} from "../lib/index.ts"
import type { Ending, Member, MemberDeclaration, PeerRef, Redirect } from "../schema/index.ts"
import type { ReportItem } from "../state/index.ts"
import { reportItem } from "./entry.ts"
import * as fields from "./fields.ts"
import type { OutputPiece } from "./keeper.ts"

export const messageVersion = 1
/** JSON of one ctl request or answer; with its envelope it fits the mesh's largest request of 4 MiB. */
export const ctlBodyBytesMax = 4 * 1024 * 1024 - 4096
/** Bytes of a log that one ReadLog answers. */
export const logBytesMax = 1024 * 1024
/** Streams of one Tail, and times that it answers of each. */
export const tailStreamsMax = 1024
const tailPointsMax = 8192
/** Reports of one message; a worker with more sends several. */
export const reportItemsMax = 512
/** Starts of one message. */
export const startItemsMax = 64
/** Attempts that a lease answer may name. */
const attemptsMax = 65_536
const membersMax = 1024
/** Peers that a hello names as seeking. */
export const seekersMax = 256

function versioned<T>(inner: Codec<T>): Codec<T> {
  return {
    write(writer, value) {
      writer.varint(messageVersion)
      inner.write(writer, value)
    },
    read(reader) {
      const version = reader.varint()
      if (version !== messageVersion) throw new CodecError(`a message of version ${version}`)
      return inner.read(reader)
    },
  }
}

/** One kind of message as a pair of functions; `decode` throws CodecError for anything else. */
export interface MessageCodec<T> {
  encode(value: T): Uint8Array
  decode(data: Uint8Array): T
}

function messages<T>(inner: Codec<T>): MessageCodec<T> {
  const codec = versioned(inner)
  return {
    encode: (value) => encode(codec, value),
    decode: (data) => decode(codec, data),
  }
}

// ---------------------------------------------------------------- ctl

/** A call of the node's face, forwarded. `body` is the call's arguments; another check decides its shape. */
export interface CtlRequest {
  /** The face's verb, e.g. `submitRun`. */
  readonly op: string
  /** Times forwarded before; a request of 2 hops is not forwarded again. */
  readonly hops: number
  readonly principal: string
  /** Idempotency key. */
  readonly key?: string | undefined
  readonly body: unknown
}

export const ctlRequest: MessageCodec<CtlRequest> = messages<CtlRequest>(
  struct({
    op: fields.short,
    hops: uint,
    principal: fields.short,
    key: optional(fields.short),
    body: json(ctlBodyBytesMax),
  }),
)
/** The answer of a call that did not fail; failures travel as the mesh's own errors. `undefined` is answered as null. */
export const ctlAnswer: MessageCodec<unknown> = messages<unknown>({
  write: (writer, value) => json(ctlBodyBytesMax).write(writer, value ?? null),
  read: (reader) => json(ctlBodyBytesMax).read(reader),
})

// ---------------------------------------------------------------- join

/** What two nodes tell each other before they know whether they belong together. */
export interface Hello {
  /** The name that scopes discovery. */
  readonly cluster: string
  /** Absent: this node has no cluster yet. */
  readonly clusterId?: string | undefined
  /** Nothing was accepted yet: this cluster may dissolve into another. */
  readonly pristine: boolean
  readonly memberId?: number | undefined
  /** How many members its cluster counts. */
  readonly members: number
  readonly declaration: MemberDeclaration
  /** The leader that this node knows; its own when it leads. */
  readonly leaderPeer?: PeerRef | undefined
  /** Clusters that dissolved or were recovered, and into what. */
  readonly redirects: readonly Redirect[]
  /** When its cluster was founded, ms. */
  readonly startedAt?: number | undefined
  /** It founds nothing before so many nodes without a cluster have agreed (`--expect`). */
  readonly expect?: number | undefined
  /** Peers without a cluster that it hears, itself among them, by peer id. */
  readonly seekers: readonly PeerRef[]
}

export type JoinRequest =
  | { readonly type: "hello"; readonly hello: Hello }
  | { readonly type: "join"; readonly declaration: MemberDeclaration }
  /** What this peer had as member `instead` is lost: it asks for another id. */
  | { readonly type: "rejoin"; readonly declaration: MemberDeclaration; readonly instead: number }

export type JoinAnswer =
  | { readonly type: "hello"; readonly hello: Hello }
  | {
      readonly type: "admitted"
      readonly clusterId: string
      readonly cluster: string
      readonly memberId: number
      readonly members: readonly Member[]
      /** Member id; 0 when not known. */
      readonly leader: number
    }
  /** Ask one of these instead. */
  | { readonly type: "redirect"; readonly peers: readonly PeerRef[] }
  /** Somebody removed this peer: it is not admitted again. */
  | { readonly type: "removed"; readonly reason: string }
  | { readonly type: "refused"; readonly reason: string }

const redirectShape = struct({ from: fields.short, into: fields.short, index: optional(uint) })
const redirect: Codec<Redirect> = {
  write: (writer, value) => redirectShape.write(writer, value),
  read(reader) {
    const { from, into, index } = redirectShape.read(reader)
    return { from, into, ...(index !== undefined && { index }) }
  },
}
const hello: Codec<Hello> = struct({
  cluster: fields.short,
  clusterId: optional(fields.short),
  pristine: bool,
  memberId: optional(uint),
  members: uint,
  declaration: fields.declaration,
  leaderPeer: optional(fields.peerRef),
  redirects: list(redirect, 256),
  startedAt: optional(fields.time),
  expect: optional(uint),
  seekers: list(fields.peerRef, seekersMax),
})

export const joinRequest: MessageCodec<JoinRequest> = messages<JoinRequest>(
  union("type", {
    hello: struct({ hello }),
    join: struct({ declaration: fields.declaration }),
    rejoin: struct({ declaration: fields.declaration, instead: uint }),
  }),
)
export const joinAnswer: MessageCodec<JoinAnswer> = messages<JoinAnswer>(
  union("type", {
    hello: struct({ hello }),
    admitted: struct({
      clusterId: fields.short,
      cluster: fields.short,
      memberId: uint,
      members: list(fields.member, membersMax),
      leader: uint,
    }),
    redirect: struct({ peers: list(fields.peerRef, 256) }),
    refused: struct({ reason: fields.sentence }),
    removed: struct({ reason: fields.sentence }),
  }),
)

// ---------------------------------------------------------------- job

/** An attempt as its node knows it. */
export interface AttemptSummary {
  readonly run: string
  /** Task name as people write it: `server`, `shard[3]`. */
  readonly task: string
  readonly attempt: number
  readonly fence: number
  readonly state: "accepted" | "started" | "ready" | "ended"
  /** Node wall clock, ms. */
  readonly startedAt?: number | undefined
  readonly readyAt?: number | undefined
  readonly ending?: Ending | undefined
}

/** One attempt of one task, by its order. */
export interface AttemptRef {
  readonly run: string
  readonly task: string
  readonly fence: number
}

/** A moment of a worker: its start, and ms of that process's boot-time clock. */
export interface HeardAt {
  readonly boot: string
  readonly at: number
}

export type JobRequest =
  /** Leader → worker, every heartbeat: the right to hold attempts for `ttlMs` from its arrival. */
  | {
      readonly type: "lease"
      readonly clusterId: string
      readonly term: number
      /** Member id. */
      readonly leader: number
      readonly leaderPeer: PeerRef
      /** Id of the worker's session; 0 when it has none yet: it answers with its boot, and gets one. */
      readonly lease: number
      readonly ttlMs: number
      /** Changes with every change of the roster; `members` comes with it when the worker's is older. */
      readonly rosterIndex: number
      readonly members?: readonly Member[] | undefined
      /** How patient the leader asks its followers to be, and which start of it this is. */
      readonly pace?:
        | { readonly electionMs: number; readonly reason: string; readonly boot: string }
        | undefined
      /** The last answer that this leader has heard: the right counts from when that was given, so that a lease that
       *  waited on its way gives none. Only to members that know of it; an empty boot: none was heard. */
      readonly heard?: HeardAt | undefined
    }
  /** Leader → worker. The same fence twice answers that attempt's state. */
  | {
      readonly type: "start"
      readonly clusterId: string
      readonly term: number
      readonly lease: number
      readonly fence: number
      readonly run: string
      readonly task: string
      readonly attempt: number
      /** What to launch: the node's own shape. */
      readonly launch: unknown
    }
  /** Several starts under one lease: only to members that understand version 3. */
  | {
      readonly type: "starts"
      readonly clusterId: string
      readonly term: number
      readonly lease: number
      readonly starts: readonly OneStart[]
    }
  | {
      readonly type: "stop"
      readonly clusterId: string
      readonly term: number
      readonly run: string
      readonly task: string
      readonly fence: number
      readonly graceMs: number
      readonly reason: string
    }
  /** Leader → worker: these results are accepted for good; journal rows (and files) may go. */
  | {
      readonly type: "forget"
      readonly clusterId: string
      readonly term: number
      readonly attempts: readonly AttemptRef[]
      readonly files: boolean
    }
  /** Worker → leader. */
  | {
      readonly type: "report"
      readonly clusterId: string
      readonly memberId: number
      readonly boot: string
      readonly items: readonly ReportItem[]
    }
  /** Any node → the node that ran the attempt. Waits up to waitMs when there is nothing new. */
  | {
      readonly type: "readLog"
      readonly run: string
      readonly task: string
      readonly fence: number
      readonly stream: "stdout" | "stderr"
      readonly offset: number
      readonly max: number
      readonly waitMs: number
    }
  /** Any node → a node of the run: several streams at once, with the times of what came. Waits up to waitMs when none
   *  that may grow has anything new. */
  | {
      readonly type: "tail"
      readonly run: string
      readonly streams: readonly TailStream[]
      /** Bytes of each. */
      readonly max: number
      readonly waitMs: number
    }

/** As the fields of `start`. */
export interface OneStart {
  readonly run: string
  readonly task: string
  readonly fence: number
  readonly attempt: number
  readonly launch: unknown
}

/** One stream of one attempt, and from where. */
export interface TailStream {
  readonly task: string
  readonly attempt: number
  readonly fence: number
  readonly stream: "stdout" | "stderr"
  /** Else from the first line since `since` (wall clock of that node, ms) that is among the last `lines`. */
  readonly offset?: number | undefined
  readonly since?: number | undefined
  readonly lines?: number | undefined
}

/** `place`: of the stream in the request. */
export interface TailPiece extends OutputPiece {
  readonly place: number
}

/** `refused`: not obeyed, with the reason (an older term, another cluster, no live lease, a lower fence). */
export type JobAnswer =
  | { readonly type: "refused"; readonly reason: string; readonly term: number }
  | {
      readonly type: "lease"
      readonly boot: string
      readonly memberId: number
      readonly rosterIndex: number
      readonly attempts: readonly AttemptSummary[]
      /** Facts as gossip carries them. */
      readonly facts?: Readonly<Record<string, unknown>> | undefined
      /** When the request came, by the worker's boot-time clock; where it said what was heard. */
      readonly at?: number | undefined
    }
  | { readonly type: "start"; readonly attempt: AttemptSummary }
  /** Of several starts those that were not obeyed, by their place. */
  | {
      readonly type: "starts"
      readonly refused: readonly { readonly place: number; readonly reason: string }[]
    }
  /** `known` false: no such attempt here. */
  | { readonly type: "stop"; readonly known: boolean }
  | { readonly type: "forget" }
  /** Fences that are settled (taken, or superseded): never report them again. */
  | { readonly type: "report"; readonly accepted: readonly number[] }
  | {
      readonly type: "readLog"
      readonly data: Uint8Array
      /** Bytes that the stream has now. */
      readonly size: number
      readonly ended: boolean
    }
  /** `at`: wall clock of the node before it looked. Streams that are missing were not looked at: ask again. */
  | { readonly type: "tail"; readonly at: number; readonly pieces: readonly TailPiece[] }

const summary: Codec<AttemptSummary> = struct({
  run: fields.short,
  task: fields.short,
  attempt: uint,
  fence: uint,
  state: oneOf("accepted", "started", "ready", "ended"),
  startedAt: optional(fields.time),
  readyAt: optional(fields.time),
  ending: optional(fields.ending),
})
const order = { clusterId: fields.short, term: uint }
const attemptFields = { run: fields.short, task: fields.short, fence: uint }
const stream = oneOf("stdout", "stderr")
const tailStream: Codec<TailStream> = struct({
  task: fields.short,
  attempt: uint,
  fence: uint,
  stream,
  offset: optional(uint),
  since: optional(fields.time),
  lines: optional(uint),
})
const tailPiece: Codec<TailPiece> = struct({
  place: uint,
  state: oneOf("live", "ended", "absent", "removed"),
  offset: uint,
  data: bytes(logBytesMax),
  size: uint,
  points: list(struct({ bytes: uint, at: fields.time }), tailPointsMax),
  removedAt: optional(fields.time),
})

export const jobRequest: MessageCodec<JobRequest> = messages<JobRequest>(
  union("type", {
    lease: struct({
      ...order,
      leader: uint,
      leaderPeer: fields.peerRef,
      lease: uint,
      ttlMs: uint,
      rosterIndex: uint,
      members: optional(list(fields.member, membersMax)),
      pace: optional(struct({ electionMs: uint, reason: fields.sentence, boot: fields.short })),
      heard: trailing(struct({ boot: fields.short, at: fields.time })),
    }),
    start: struct({
      ...order,
      ...attemptFields,
      lease: uint,
      attempt: uint,
      launch: json(1024 * 1024),
    }),
    stop: struct({ ...order, ...attemptFields, graceMs: uint, reason: fields.sentence }),
    forget: struct({
      ...order,
      attempts: list(struct(attemptFields), attemptsMax),
      files: bool,
    }),
    report: struct({
      clusterId: fields.short,
      memberId: uint,
      boot: fields.short,
      items: list(reportItem, reportItemsMax),
    }),
    readLog: struct({ ...attemptFields, stream, offset: uint, max: uint, waitMs: uint }),
    tail: struct({
      run: fields.short,
      streams: list(tailStream, tailStreamsMax),
      max: uint,
      waitMs: uint,
    }),
    starts: struct({
      ...order,
      lease: uint,
      starts: list(
        struct({ ...attemptFields, attempt: uint, launch: json(1024 * 1024) }),
        startItemsMax,
      ),
    }),
  }),
)

export const jobAnswer: MessageCodec<JobAnswer> = messages<JobAnswer>(
  union("type", {
    refused: struct({ reason: fields.sentence, term: uint }),
    lease: struct({
      boot: fields.short,
      memberId: uint,
      rosterIndex: uint,
      attempts: list(summary, attemptsMax),
      facts: optional(json<Readonly<Record<string, unknown>>>(64 * 1024)),
      at: trailing(fields.time),
    }),
    start: struct({ attempt: summary }),
    stop: struct({ known: bool }),
    forget: struct({}),
    report: struct({ accepted: array(uint, reportItemsMax) }),
    readLog: struct({ data: bytes(logBytesMax), size: uint, ended: bool }),
    tail: struct({ at: fields.time, pieces: list(tailPiece, tailStreamsMax) }),
    starts: struct({
      refused: list(struct({ place: uint, reason: fields.sentence }), startItemsMax),
    }),
  }),
)

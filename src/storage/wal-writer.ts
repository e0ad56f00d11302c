/** What the log's thread is told and what it answers; and what it does, wherever it runs. */
import type { WalFiles } from "./wal-files.ts"
import { WalCorruption } from "./wal-format.ts"
import { type WalGroup, type WalItem, Wal } from "./wal.ts"

interface WalOpenRequest {
  readonly kind: "open"
  readonly directory: string
  /** Another directory, where it is kept that there is a log. */
  readonly outside: string
  readonly clusterId: string
  readonly memberId: number
  readonly segmentBytes: number
  readonly start: Uint8Array
}

export type WalRequest =
  | WalOpenRequest
  /** Ids grow by one; each is answered by a `written` whose `through` reaches it. */
  | ({ readonly kind: "append"; readonly id: number } & WalItem)
  | { readonly kind: "drop"; readonly first: number }
  | { readonly kind: "close" }

export type WalReply =
  | { readonly kind: "groups"; readonly groups: readonly WalGroup[] }
  | { readonly kind: "opened"; readonly tornBytes: number; readonly created: boolean }
  | {
      readonly kind: "written"
      readonly through: number
      readonly segment: number
      readonly bytes: number
      readonly writeMs: number
    }
  | { readonly kind: "dropped" }
  | { readonly kind: "closed" }
  /** The log is poisoned: nothing is done any more. */
  | {
      readonly kind: "failed"
      readonly reason: string
      readonly corrupt?: { readonly file: string; readonly offset: number }
    }

/** Where the writing happens: a worker in production. */
export interface WalThread {
  post(request: WalRequest): void
  /** Called for each reply, in order. */
  listen(onReply: (reply: WalReply) => void): void
  stop(): Promise<void>
}

export interface WriterParts {
  readonly files: (directory: string) => WalFiles
  readonly salt: () => number
  /** ms, for durations only. */
  readonly now: () => number
  readonly reply: (reply: WalReply) => void
}

export interface Writer {
  /** All that waits, in order: appends that stand together become one write and one datasync. */
  run(requests: readonly WalRequest[]): void
  /** One slice of idle work; false when there is none. */
  idle(): boolean
}

// A group is bounded so that its one write stays short; what is left waits for the next.
const groupBytesMax = 8 * 1024 * 1024
// What is read back comes in portions that the main loop decodes within a few ms.
const replyBytesMax = 256 * 1024

export function createWriter(parts: WriterParts): Writer {
  let wal: Wal | undefined
  let failed = false

  function attempt(work: () => void): void {
    if (failed) return
    try {
      work()
    } catch (error) {
      // Said once, to the one who must stop: after a failed write or sync nothing is known of the file's end.
      failed = true
      const reason = error instanceof Error ? error.message : String(error)
      parts.reply(
        error instanceof WalCorruption
          ? { kind: "failed", reason, corrupt: { file: error.file, offset: error.offset } }
          : { kind: "failed", reason },
      )
    }
  }

  function open(request: WalOpenRequest): void {
    const outside = parts.files(request.outside)
    const opened = new Wal(parts.files(request.directory), {
      ...request,
      outside,
      salt: parts.salt,
    })
    let groups: WalGroup[] = []
    let bytes = 0
    const flush = () => {
      if (groups.length > 0) parts.reply({ kind: "groups", groups })
      groups = []
      bytes = 0
    }
    const result = opened.open(request.start, (group) => {
      groups.push(group)
      bytes += group.bytes
      if (bytes > replyBytesMax) flush()
    })
    flush()
    wal = opened
    parts.reply({ kind: "opened", ...result })
  }

  function write(items: readonly (WalItem & { id: number })[]): void {
    const from = parts.now()
    const { segment, bytes } = wal!.append(items)
    const through = items.at(-1)!.id
    parts.reply({ kind: "written", through, segment, bytes, writeMs: parts.now() - from })
  }

  function single(request: Exclude<WalRequest, { kind: "append" }>): void {
    switch (request.kind) {
      case "open":
        open(request)
        return
      case "drop":
        wal!.drop(request.first)
        parts.reply({ kind: "dropped" })
        return
      case "close":
        wal?.close()
        parts.reply({ kind: "closed" })
    }
  }

  return {
    run(requests) {
      let group: (WalItem & { id: number })[] = []
      let bytes = 0
      const flush = () => {
        const items = group
        group = []
        bytes = 0
        if (items.length > 0) attempt(() => write(items))
      }
      for (const request of requests) {
        if (request.kind === "append") {
          if (bytes + request.payload.length > groupBytesMax) flush()
          group.push(request)
          bytes += request.payload.length
        } else {
          flush()
          attempt(() => single(request))
        }
      }
      flush()
    },
    idle() {
      let more = false
      attempt(() => {
        more = wal?.prepare() ?? false
      })
      return more
    },
  }
}

/** The consensus log for its user: records in order, a promise for each that resolves when it is durable. */
import { basename, join } from "node:path"
import { Worker } from "node:worker_threads"
import { encode, decode } from "../lib/index.ts"
import { TroupeError } from "../schema/index.ts"
import {
  type Entry,
  type HardState,
  type LogBatch,
  type LogMark,
  type LogRecord,
  logRecord,
} from "../wire/index.ts"
import { LogTail, Replay, type SegmentTable } from "./log-tail.ts"
import type { WalGroup } from "./wal.ts"
import { manifestName } from "./wal-manifest.ts"
import type { WalReply, WalThread } from "./wal-writer.ts"

export interface LogStoreOptions {
  /** The node's data directory; the log is `raft/wal` in it. */
  readonly directory: string
  /** Room of one segment, preallocated. */
  readonly segmentBytes?: number
}

interface OpenedLog {
  readonly hardState: HardState
  /** Where the log starts: entries follow `mark.index`. */
  readonly mark: LogMark
  readonly entries: readonly Entry[]
  /** Length of a last record that a crash had cut short; it was never acknowledged. */
  readonly tornBytes: number
  /** There was no log, and none is known to have been: one that was lost is ERR_LOG_CORRUPT. */
  readonly created: boolean
}

export interface LogStore {
  open(identity: { clusterId: string; memberId: number }): Promise<OpenedLog>
  append(batch: LogBatch): Promise<void>
  compact(mark: LogMark): Promise<void>
  stats(): { bytes: number; fsyncP99Ms: number }
  close(): Promise<void>
}

const segmentBytesDefault = 16 * 1024 * 1024
const waitingBytesMax = 256 * 1024 * 1024
const syncSamplesMax = 512

interface Waiting {
  readonly id: number
  readonly record: LogRecord
  readonly payloadBytes: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** The write-ahead log on disk, written by its own thread. */
export function createLogStore(options: LogStoreOptions): LogStore {
  return createLogStoreOver(options, startThread)
}

/** The same over any thread; simulations run it in place. */
export function createLogStoreOver(options: LogStoreOptions, start: () => WalThread): LogStore {
  return new WalLogStore(options, start)
}

function startThread(): WalThread {
  // Unbuilt the thread is a .ts file beside this one; in the bundle it is wal-thread.js beside the bundle.
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js"
  const bell = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL(`./wal-thread.${extension}`, import.meta.url), {
    name: "wal",
    workerData: bell,
  })
  let exited = false
  const exit = new Promise<void>((resolve) => {
    worker.once("exit", () => {
      exited = true
      resolve()
    })
  })
  return {
    post(request) {
      worker.postMessage(request, [])
      Atomics.add(bell, 0, 1)
      Atomics.notify(bell, 0)
    },
    listen(onReply) {
      worker.on("message", onReply)
      worker.on("error", (error) => onReply({ kind: "failed", reason: error.message }))
      worker.on("exit", () => onReply({ kind: "failed", reason: "the log's thread has ended" }))
    },
    async stop() {
      if (!exited) await worker.terminate()
      await exit
    },
  }
}

class WalLogStore implements LogStore {
  readonly #directory: string
  readonly #outside: string
  readonly #segmentBytes: number
  readonly #start: () => WalThread
  #thread: WalThread | undefined
  #segments: SegmentTable | undefined
  #tail = new LogTail()
  #startPayload: Uint8Array = new Uint8Array()
  #nextId = 1
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #dropping: { resolve: () => void; reject: (error: Error) => void }[] = []
  #closing: (() => void) | undefined
  #failure: Error | undefined
  #bytes = 0
  readonly #syncMs: number[] = []

  constructor(options: LogStoreOptions, start: () => WalThread) {
    this.#directory = join(options.directory, "raft", "wal")
    this.#outside = join(options.directory, "identity")
    this.#segmentBytes = options.segmentBytes ?? segmentBytesDefault
    this.#start = start
  }

  async open(identity: { clusterId: string; memberId: number }): Promise<OpenedLog> {
    if (this.#thread) throw new Error("the log is open already")
    const thread = this.#start()
    this.#thread = thread
    const replay = new Replay()
    const opened = Promise.withResolvers<OpenedLog>()
    // Only until the log is open: afterwards `#failure` speaks.
    let reading = true
    thread.listen((reply) => {
      if (!reading) {
        this.#hear(reply)
        return
      }
      if (this.#failure) return
      try {
        if (reply.kind === "groups") {
          for (const group of reply.groups) this.#read(replay, group)
        }
        if (reply.kind === "failed") throw this.#error(reply)
        if (reply.kind === "opened") {
          reading = false
          opened.resolve(this.#begin(replay, reply))
        }
      } catch (error) {
        this.#failure = error as Error
        opened.reject(error)
      }
    })
    this.#startPayload = encode(logRecord, new LogTail().start())
    thread.post({
      kind: "open",
      directory: this.#directory,
      outside: this.#outside,
      segmentBytes: this.#segmentBytes,
      start: this.#startPayload,
      ...identity,
    })
    try {
      return await opened.promise
    } catch (error) {
      await thread.stop()
      throw error
    }
  }

  #read(replay: Replay, group: WalGroup): void {
    for (const item of group.items) {
      const record = this.#decode(item, group)
      const refusal = replay.apply(group.segment, record)
      if (refusal !== undefined) throw this.#corrupt(group.file, group.offset, refusal)
      const isMark = record.kind === "mark" || (record.kind === "batch" && record.snapshot)
      if (isMark) this.#bytes = 0
    }
    this.#bytes += group.bytes
  }

  #decode(item: Uint8Array, group: WalGroup): LogRecord {
    try {
      return decode(logRecord, item)
    } catch (error) {
      throw this.#corrupt(group.file, group.offset, (error as Error).message)
    }
  }

  #begin(replay: Replay, reply: { tornBytes: number; created: boolean }): OpenedLog {
    if (reply.created) replay.apply(1, new LogTail().start())
    const entries = replay.finish()
    if (typeof entries === "string") throw this.#corrupt("", 0, entries)
    this.#tail = replay.tail
    this.#segments = replay.segments
    this.#startPayload = encode(logRecord, this.#tail.start())
    const { hardState, mark } = this.#tail
    return {
      // What a mark covers was committed, even if the hard state written last does not say so yet.
      hardState: { ...hardState, commit: Math.max(hardState.commit, mark.index) },
      mark,
      entries,
      tornBytes: reply.tornBytes,
      created: reply.created,
    }
  }

  async append(batch: LogBatch): Promise<void> {
    await this.#write({ kind: "batch", ...batch })
  }

  async compact(mark: LogMark): Promise<void> {
    if (mark.index <= this.#tail.mark.index) return
    await this.#write({ kind: "mark", mark })
    const first = this.#segments!.dropThrough(mark.index)
    await new Promise<void>((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure)
        return
      }
      this.#dropping.push({ resolve, reject })
      this.#thread!.post({ kind: "drop", first })
    })
  }

  #write(record: LogRecord): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure)
    if (!this.#thread || !this.#segments || this.#closing) {
      return Promise.reject(new Error("the log is not open"))
    }
    const refusal = this.#tail.refusal(record)
    if (refusal !== undefined) return Promise.reject(new Error(`refused by the log: ${refusal}`))
    const payload = encode(logRecord, record)
    const payloadBytes = payload.length
    if (this.#waitingBytes + payloadBytes > waitingBytesMax) {
      this.#poison(this.#error({ reason: `the disk is stalled: ${this.#waitingBytes} bytes wait` }))
      return Promise.reject(this.#failure!)
    }
    const id = this.#nextId++
    const done = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ id, record, payloadBytes, resolve, reject })
    })
    this.#waitingBytes += payloadBytes
    this.#thread.post({ kind: "append", id, payload, start: this.#startPayload })
    this.#tail.advance(record)
    this.#startPayload = encode(logRecord, this.#tail.start())
    return done
  }

  #hear(reply: WalReply): void {
    switch (reply.kind) {
      case "written":
        this.#written(reply)
        return
      case "dropped":
        this.#dropping.shift()?.resolve()
        return
      case "closed":
        this.#failure ??= new TroupeError("ERR_STOPPED", "The log is closed", { what: "log" })
        this.#closing?.()
        return
      case "failed":
        this.#poison(this.#error(reply))
        return
      case "groups":
      case "opened":
        throw new Error(`the log's thread said ${reply.kind} of an open log`)
    }
  }

  #written(reply: WalReply & { kind: "written" }): void {
    this.#syncMs.push(reply.writeMs)
    if (this.#syncMs.length > syncSamplesMax) this.#syncMs.shift()
    this.#bytes += reply.bytes
    while (this.#waiting.length > 0 && this.#waiting[0]!.id <= reply.through) {
      const waiting = this.#waiting.shift()!
      this.#waitingBytes -= waiting.payloadBytes
      this.#segments!.record(reply.segment, waiting.record)
      if (waiting.record.kind === "mark") this.#bytes = 0
      waiting.resolve()
    }
  }

  #poison(error: Error): void {
    if (this.#failure) return
    this.#failure = error
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error)
    for (const waiting of this.#dropping.splice(0)) waiting.reject(error)
    this.#closing?.()
  }

  #error(reply: { reason: string; corrupt?: { file: string; offset: number } }): Error {
    if (reply.corrupt) {
      return this.#corrupt(reply.corrupt.file, reply.corrupt.offset, reply.reason)
    }
    const path = this.#directory
    return new TroupeError("ERR_STORAGE", `The log cannot be used: ${reply.reason}`, {
      path,
      reason: reply.reason,
    })
  }

  #corrupt(name: string, offset: number, reason: string): Error {
    const file = join(name === manifestName ? this.#outside : this.#directory, basename(name))
    return new TroupeError(
      "ERR_LOG_CORRUPT",
      `The log is damaged at ${file}:${offset}: ${reason}`,
      {
        file,
        offset,
        reason,
      },
    )
  }

  stats(): { bytes: number; fsyncP99Ms: number } {
    const syncMs = this.#syncMs
    return {
      bytes: this.#bytes,
      // Sorted only for those who look: the bytes are asked for after every entry.
      get fsyncP99Ms() {
        const sorted = syncMs.toSorted((a, b) => a - b)
        return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? 0
      },
    }
  }

  async close(): Promise<void> {
    const thread = this.#thread
    if (!thread || this.#closing) return
    if (!this.#failure) {
      await new Promise<void>((resolve) => {
        this.#closing = resolve
        thread.post({ kind: "close" })
      })
    }
    await thread.stop()
  }
}

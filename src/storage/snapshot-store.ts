/** Snapshots on disk: one file each, written beside, checked, renamed. */
import { randomUUID } from "node:crypto"
import { type FileHandle, open, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import { isTroupeError, TroupeError } from "../schema/index.ts"
import type { LogMark, Row } from "../wire/index.ts"
import {
  isMissing,
  makeDirectory,
  namesIn,
  onDisk,
  removeTree,
  renameDurably,
  storageError,
} from "./durable.ts"
import {
  ChunkChecker,
  type Held,
  SnapshotDamage,
  splitChunks,
  writeChunks,
} from "./snapshot-format.ts"

export interface SnapshotStore {
  latest(): Promise<LogMark | undefined>
  create(mark: LogMark, rows: AsyncIterable<Row>): Promise<{ bytes: number }>
  bytes(): Promise<number>
  chunks(index: number, from?: number): AsyncIterable<Uint8Array>
  agrees(index: number, held: Held): Promise<number>
  held(mark: LogMark): Promise<Held>
  receive(mark: LogMark, chunks: AsyncIterable<Uint8Array>, from?: number): Promise<void>
  setAside(index: number): Promise<string>
  rows(index: number): AsyncIterable<Row>
  prune(): Promise<void>
}

const readBytes = 128 * 1024
const namePattern = /^(\d+)\.snap$/
/** A snapshot whose stream broke: what came of it stays for the next try. */
const partName = (mark: LogMark): string => `${mark.index}-${mark.term}.part`

/** Snapshots in `raft/snap/` of the data directory. */
export function createSnapshotStore(options: { directory: string }): SnapshotStore {
  return new FileSnapshotStore(
    join(options.directory, "raft", "snap"),
    join(options.directory, "quarantine"),
  )
}

class FileSnapshotStore implements SnapshotStore {
  readonly #directory: string
  readonly #quarantine: string
  /** Files being written now; others of the kind are remains of a crash. */
  readonly #writing = new Set<string>()

  constructor(directory: string, quarantine: string) {
    this.#directory = directory
    this.#quarantine = quarantine
  }

  #path(index: number): string {
    return join(this.#directory, `${index}.snap`)
  }

  async #indexes(): Promise<readonly number[]> {
    const names = await namesIn(this.#directory)
    return names.flatMap((name) => (namePattern.test(name) ? [Number.parseInt(name, 10)] : []))
  }

  /** One whose beginning is damaged is put aside: an older one, or none, is better than no start. */
  async latest(): Promise<LogMark | undefined> {
    const indexes = await this.#indexes()
    for (const index of indexes.toSorted((left, right) => right - left)) {
      const mark = await this.#markOf(index)
      if (mark?.index === index) return mark
      await this.setAside(index)
    }
    return undefined
  }

  /** Undefined when it is damaged. */
  async #markOf(index: number): Promise<LogMark | undefined> {
    const checker = new ChunkChecker()
    try {
      for await (const _ of this.#checked(index, checker)) {
        if (checker.mark) break
      }
    } catch (error) {
      if (!isTroupeError(error) || error.code !== "ERR_LOG_CORRUPT") throw error
    }
    return checker.mark
  }

  async create(mark: LogMark, rows: AsyncIterable<Row>): Promise<{ bytes: number }> {
    return await this.#write(mark.index, writeChunks(mark, rows))
  }

  /** Bytes of the newest one; 0 without one. */
  async bytes(): Promise<number> {
    const indexes = await this.#indexes()
    if (indexes.length === 0) return 0
    const path = this.#path(Math.max(...indexes))
    return (await onDisk(path, stat(path))).size
  }

  async held(mark: LogMark): Promise<Held> {
    const checker = new ChunkChecker()
    const part = join(this.#directory, partName(mark))
    try {
      for await (const chunk of this.#file(part)) checker.take(chunk)
    } catch (error) {
      // None, or its last chunk did not come whole: what is whole before it counts.
      if (!(error instanceof SnapshotDamage || isMissing((error as Error).cause ?? {}))) throw error
    }
    return checker.held()
  }

  /** How many of the first chunks somebody holds who holds this; 0 when they are others. */
  async agrees(index: number, held: Held): Promise<number> {
    const checker = new ChunkChecker()
    for await (const _ of this.#checked(index, checker)) {
      const own = checker.held()
      if (own.chunks === held.chunks) return own.hash === held.hash ? own.chunks : 0
    }
    return 0
  }

  async receive(mark: LogMark, chunks: AsyncIterable<Uint8Array>, from = 0): Promise<void> {
    const name = partName(mark)
    const path = join(this.#directory, name)
    if (this.#writing.has(name)) throw busy()
    this.#writing.add(name)
    try {
      await onDisk(this.#directory, makeDirectory(this.#directory))
      const checker = new ChunkChecker()
      const handle = await onDisk(path, open(path, from > 0 ? "r+" : "w", 0o600))
      try {
        const kept = await this.#keep(path, checker, from)
        await onDisk(path, handle.truncate(kept))
        await this.#append({ handle, path, at: kept }, checker, chunks)
      } finally {
        await handle.close()
      }
      checker.finish()
      const sent = checker.mark!
      if (sent.index !== mark.index || sent.term !== mark.term) {
        throw new SnapshotDamage(0, `a snapshot of ${sent.index}, not of ${mark.index}`)
      }
      await onDisk(path, renameDurably(path, this.#path(mark.index)))
    } catch (error) {
      // Damaged bytes are of no use to the next try; those of a stream that only broke are.
      if (error instanceof SnapshotDamage && !error.isCutShort) await removeTree(path)
      throw this.#damage(this.#path(mark.index), error)
    } finally {
      this.#writing.delete(name)
    }
  }

  /** Checks the first chunks of what is there; their bytes. */
  async #keep(path: string, checker: ChunkChecker, chunks: number): Promise<number> {
    let bytes = 0
    if (chunks === 0) return bytes
    for await (const chunk of this.#file(path)) {
      checker.take(chunk)
      bytes += chunk.length
      if (checker.held().chunks === chunks) return bytes
    }
    throw new SnapshotDamage(bytes, `${chunks} chunks were said to be here`)
  }

  /** Whatever ends it, what came whole is on disk then. */
  async #append(
    file: { readonly handle: FileHandle; readonly path: string; readonly at: number },
    checker: ChunkChecker,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { handle, path } = file
    let { at } = file
    try {
      for await (const chunk of splitChunks(chunks)) {
        checker.take(chunk)
        await onDisk(path, handle.write(chunk, 0, chunk.length, at))
        at += chunk.length
      }
    } finally {
      await onDisk(path, handle.sync())
    }
  }

  /** One that cannot be read is kept for people to look at; answers where. */
  async setAside(index: number): Promise<string> {
    const to = join(this.#quarantine, `${index}-${randomUUID()}.snap`)
    await onDisk(this.#quarantine, makeDirectory(dirname(to)))
    try {
      await renameDurably(this.#path(index), to)
    } catch (error) {
      // There is none: all the same to who wants it gone.
      if (!isMissing(error)) throw storageError(to, error)
    }
    return to
  }

  async #write(index: number, chunks: AsyncIterable<Uint8Array>): Promise<{ bytes: number }> {
    const name = `${index}-${randomUUID()}.tmp`
    const temporary = join(this.#directory, name)
    this.#writing.add(name)
    try {
      await onDisk(this.#directory, makeDirectory(this.#directory))
      const handle = await onDisk(temporary, open(temporary, "wx", 0o600))
      let bytes = 0
      try {
        for await (const chunk of chunks) {
          await onDisk(temporary, handle.writeFile(chunk))
          bytes += chunk.length
        }
        await onDisk(temporary, handle.sync())
      } finally {
        await handle.close()
      }
      await onDisk(temporary, renameDurably(temporary, this.#path(index)))
      return { bytes }
    } catch (error) {
      await removeTree(temporary)
      throw this.#damage(this.#path(index), error)
    } finally {
      this.#writing.delete(name)
    }
  }

  async *chunks(index: number, from = 0): AsyncIterable<Uint8Array> {
    const checker = new ChunkChecker()
    let number = 0
    for await (const { chunk } of this.#checked(index, checker)) {
      if (number++ >= from) yield chunk
    }
  }

  async *rows(index: number): AsyncIterable<Row> {
    const checker = new ChunkChecker()
    for await (const { rows } of this.#checked(index, checker)) yield* rows
  }

  async *#checked(
    index: number,
    checker: ChunkChecker,
  ): AsyncGenerator<{ chunk: Uint8Array; rows: readonly Row[] }> {
    const path = this.#path(index)
    try {
      for await (const chunk of this.#file(path)) yield { chunk, rows: checker.take(chunk) }
      checker.finish()
    } catch (error) {
      throw this.#damage(path, error)
    }
  }

  async *#file(path: string): AsyncGenerator<Uint8Array> {
    const handle = await onDisk(path, open(path, "r"))
    try {
      yield* splitChunks(portions(path, handle))
    } finally {
      await handle.close()
    }
  }

  async prune(): Promise<void> {
    const newest = Math.max(0, ...(await this.#indexes()))
    for (const name of await namesIn(this.#directory)) {
      const index = namePattern.exec(name)?.[1]
      const isOld = index !== undefined && Number(index) < newest
      const isPart = name.endsWith(".part") && Number.parseInt(name, 10) <= newest
      const isRemains = (name.endsWith(".tmp") || isPart) && !this.#writing.has(name)
      if (isOld || isRemains) await removeTree(join(this.#directory, name))
    }
  }

  /** Damage in our words. Errors of who gives the rows or the chunks pass as they are. */
  #damage(path: string, error: unknown): unknown {
    if (!(error instanceof SnapshotDamage)) return error
    return this.#corrupt(path, error.offset, error.message)
  }

  #corrupt(file: string, offset: number, reason: string): TroupeError {
    const message = `The snapshot is damaged at ${file}:${offset}: ${reason}`
    return new TroupeError("ERR_LOG_CORRUPT", message, { file, offset, reason })
  }
}

function busy(): TroupeError {
  return new TroupeError("ERR_BUSY", "this snapshot is on its way here already", {
    what: "a snapshot",
    retryAfterMs: 1000,
  })
}

async function* portions(path: string, handle: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const read = handle.read({ buffer: Buffer.alloc(readBytes) })
    const { bytesRead, buffer } = await onDisk(path, read)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

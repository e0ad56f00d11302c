/** Snapshots on disk: one file each, written beside, checked, renamed. */
import { randomUUID } from "node:crypto"
import { type FileHandle, open } from "node:fs/promises"
import { join } from "node:path"
import { TroupeError } from "../schema/index.ts"
import type { LogMark, Row } from "../wire/index.ts"
import { makeDirectory, namesIn, onDisk, removeTree, renameDurably } from "./durable.ts"
import { ChunkChecker, SnapshotDamage, splitChunks, writeChunks } from "./snapshot-format.ts"

export interface SnapshotStore {
  latest(): Promise<LogMark | undefined>
  create(mark: LogMark, rows: AsyncIterable<Row>): Promise<{ bytes: number }>
  chunks(index: number): AsyncIterable<Uint8Array>
  receive(mark: LogMark, chunks: AsyncIterable<Uint8Array>): Promise<void>
  rows(index: number): AsyncIterable<Row>
  prune(): Promise<void>
}

const readBytes = 128 * 1024
const namePattern = /^(\d+)\.snap$/

/** Snapshots in `raft/snap/` of the data directory. */
export function createSnapshotStore(options: { directory: string }): SnapshotStore {
  return new FileSnapshotStore(join(options.directory, "raft", "snap"))
}

class FileSnapshotStore implements SnapshotStore {
  readonly #directory: string
  /** Files being written now; others of the kind are remains of a crash. */
  readonly #writing = new Set<string>()

  constructor(directory: string) {
    this.#directory = directory
  }

  #path(index: number): string {
    return join(this.#directory, `${index}.snap`)
  }

  async #indexes(): Promise<readonly number[]> {
    const names = await namesIn(this.#directory)
    return names.flatMap((name) => (namePattern.test(name) ? [Number.parseInt(name, 10)] : []))
  }

  async latest(): Promise<LogMark | undefined> {
    const indexes = await this.#indexes()
    if (indexes.length === 0) return undefined
    const index = Math.max(...indexes)
    const checker = new ChunkChecker()
    for await (const _ of this.#checked(index, checker)) {
      if (checker.mark) break
    }
    const mark = checker.mark
    if (mark?.index !== index)
      throw this.#corrupt(this.#path(index), 0, "a snapshot of another index")
    return mark
  }

  async create(mark: LogMark, rows: AsyncIterable<Row>): Promise<{ bytes: number }> {
    return await this.#write(mark.index, writeChunks(mark, rows))
  }

  async receive(mark: LogMark, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const checker = new ChunkChecker()
    const check = async function* () {
      for await (const chunk of splitChunks(chunks)) {
        checker.take(chunk)
        yield chunk
      }
      checker.finish()
      const sent = checker.mark!
      if (sent.index !== mark.index || sent.term !== mark.term) {
        throw new SnapshotDamage(0, `a snapshot of ${sent.index}, not of ${mark.index}`)
      }
    }
    await this.#write(mark.index, check())
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

  async *chunks(index: number): AsyncIterable<Uint8Array> {
    const checker = new ChunkChecker()
    for await (const { chunk } of this.#checked(index, checker)) yield chunk
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
    let handle: FileHandle | undefined
    try {
      handle = await onDisk(path, open(path, "r"))
      for await (const chunk of splitChunks(portions(path, handle))) {
        yield { chunk, rows: checker.take(chunk) }
      }
      checker.finish()
    } catch (error) {
      throw this.#damage(path, error)
    } finally {
      await handle?.close()
    }
  }

  async prune(): Promise<void> {
    const newest = Math.max(0, ...(await this.#indexes()))
    for (const name of await namesIn(this.#directory)) {
      const index = namePattern.exec(name)?.[1]
      const isOld = index !== undefined && Number(index) < newest
      const isRemains = name.endsWith(".tmp") && !this.#writing.has(name)
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

async function* portions(path: string, handle: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const read = handle.read({ buffer: Buffer.alloc(readBytes) })
    const { bytesRead, buffer } = await onDisk(path, read)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

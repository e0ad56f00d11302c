/** Blobs by their SHA-256, as read-only files: what has the name is whole. */
import { createHash, randomUUID } from "node:crypto"
import { chmod, type FileHandle, open, stat } from "node:fs/promises"
import { join } from "node:path"
import { TroupeError } from "../schema/index.ts"
import {
  isMissing,
  makeDirectory,
  namesIn,
  onDisk,
  removeTree,
  renameDurably,
  storageError,
} from "./durable.ts"

export interface BlobStore {
  has(digest: string): Promise<{ bytes: number } | undefined>
  put(
    source: AsyncIterable<Uint8Array>,
    expect?: string,
  ): Promise<{ digest: string; bytes: number }>
  read(digest: string, range?: { offset: number; length?: number }): AsyncIterable<Uint8Array>
  remove(digest: string): Promise<void>
  list(): AsyncIterable<{ readonly digest: string; readonly bytes: number; readonly at: number }>
}

// One portion is hashed or read without giving way: about 0.3 ms.
const portionBytes = 256 * 1024
const digestPattern = /^[0-9a-f]{64}$/

/** Absolute path of a blob in a data directory. */
export function blobFile(directory: string, digest: string): string {
  if (!digestPattern.test(digest)) throw new Error(`not a SHA-256 in hex: ${digest}`)
  return join(directory, "blobs", digest.slice(0, 2), digest)
}

/** Blobs in `blobs/` of the data directory. */
export function createBlobStore(options: { directory: string }): BlobStore {
  return new FileBlobStore(options.directory)
}

class FileBlobStore implements BlobStore {
  readonly #directory: string
  readonly #incoming: string
  #cleaned: Promise<void> | undefined

  constructor(directory: string) {
    this.#directory = directory
    this.#incoming = join(directory, "blobs", "incoming")
  }

  async has(digest: string): Promise<{ bytes: number } | undefined> {
    if (!digestPattern.test(digest)) return undefined
    const path = blobFile(this.#directory, digest)
    try {
      return { bytes: (await stat(path)).size }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw storageError(path, error)
    }
  }

  async put(
    source: AsyncIterable<Uint8Array>,
    expect?: string,
  ): Promise<{ digest: string; bytes: number }> {
    this.#cleaned ??= onDisk(this.#incoming, this.#clean())
    await this.#cleaned
    const temporary = join(this.#incoming, `${process.pid}-${randomUUID()}`)
    try {
      const written = await writeHashed(temporary, source)
      const { digest } = written
      if (expect !== undefined && digest !== expect) {
        throw new TroupeError("ERR_BLOB_CORRUPT", `Bytes with another hash than ${expect} came`, {
          expected: expect,
          actual: digest,
        })
      }
      if (await this.has(digest)) await removeTree(temporary)
      else await onDisk(temporary, this.#keep(temporary, digest))
      return written
    } catch (error) {
      await removeTree(temporary)
      throw error
    }
  }

  async #keep(temporary: string, digest: string): Promise<void> {
    const path = blobFile(this.#directory, digest)
    await makeDirectory(join(path, ".."))
    await renameDurably(temporary, path)
  }

  /** One process uses a data directory: what others left half written stays so. */
  async #clean(): Promise<void> {
    await makeDirectory(this.#incoming)
    for (const name of await namesIn(this.#incoming)) {
      if (!name.startsWith(`${process.pid}-`)) await removeTree(join(this.#incoming, name))
    }
  }

  async *read(
    digest: string,
    range: { offset: number; length?: number } = { offset: 0 },
  ): AsyncIterable<Uint8Array> {
    if (!digestPattern.test(digest)) throw notFound(digest)
    const path = blobFile(this.#directory, digest)
    let handle: FileHandle
    try {
      handle = await open(path, "r")
    } catch (error) {
      throw isMissing(error) ? notFound(digest) : storageError(path, error)
    }
    try {
      yield* portions(handle, range)
    } finally {
      await handle.close()
    }
  }

  async remove(digest: string): Promise<void> {
    if (!digestPattern.test(digest)) return
    const path = blobFile(this.#directory, digest)
    await onDisk(path, removeTree(path))
  }

  async *list(): AsyncIterable<{ digest: string; bytes: number; at: number }> {
    const root = join(this.#directory, "blobs")
    for (const part of await namesIn(root)) {
      if (!/^[0-9a-f]{2}$/.test(part)) continue
      for (const digest of await namesIn(join(root, part))) {
        if (!digestPattern.test(digest)) continue
        const path = blobFile(this.#directory, digest)
        try {
          const { size, mtimeMs } = await stat(path)
          yield { digest, bytes: size, at: mtimeMs }
        } catch (error) {
          // Removed meanwhile.
          if (!isMissing(error)) throw storageError(path, error)
        }
      }
    }
  }
}

function notFound(digest: string): TroupeError {
  return new TroupeError("ERR_BLOB_NOT_FOUND", `There is no blob ${digest} here`, { digest })
}

async function writeHashed(
  path: string,
  source: AsyncIterable<Uint8Array>,
): Promise<{ digest: string; bytes: number }> {
  const sha256 = createHash("sha256")
  let bytes = 0
  const handle = await onDisk(path, open(path, "wx", 0o600))
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; at += portionBytes) {
        const portion = chunk.subarray(at, at + portionBytes)
        sha256.update(portion)
        await onDisk(path, handle.writeFile(portion))
      }
      bytes += chunk.length
    }
    await onDisk(path, handle.sync())
  } finally {
    await handle.close()
  }
  // Tasks are staged from this file: nobody is to write to it.
  await onDisk(path, chmod(path, 0o444))
  return { digest: sha256.digest("hex"), bytes }
}

async function* portions(
  handle: FileHandle,
  range: { offset: number; length?: number },
): AsyncGenerator<Uint8Array> {
  let { offset } = range
  const end = offset + (range.length ?? Number.POSITIVE_INFINITY)
  while (offset < end) {
    const buffer = Buffer.alloc(Math.min(portionBytes, end - offset))
    const { bytesRead } = await handle.read({ buffer, position: offset })
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    offset += bytesRead
  }
}

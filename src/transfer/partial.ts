/** The half of a blob that came, in a file, so that the next try continues there. */
import { createReadStream } from "node:fs"
import { type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { Digest, TroupeError } from "../schema/index.ts"
import { transferLimits } from "./types.ts"

export class Partial {
  readonly #file: string
  #handle: FileHandle | undefined
  #size = 0

  constructor(directory: string, digest: string) {
    this.#file = join(directory, `${digest}.part`)
  }

  /** Bytes that are there. Not trusted: the whole blob is hashed in the end. */
  get size(): number {
    return this.#size
  }

  async look(): Promise<void> {
    try {
      this.#size = (await stat(this.#file)).size
    } catch (error) {
      if (!isMissing(error)) throw storageError(this.#file, error)
      this.#size = 0
    }
  }

  read(): AsyncIterable<Uint8Array> {
    return createReadStream(this.#file, { end: this.#size - 1, highWaterMark: 256 << 10 })
  }

  async append(chunk: Uint8Array): Promise<void> {
    try {
      this.#handle ??= await open(this.#file, "a")
      let written = 0
      while (written < chunk.length) {
        written += (await this.#handle.write(chunk, written)).bytesWritten
      }
      this.#size += chunk.length
    } catch (error) {
      throw storageError(this.#file, error)
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async drop(): Promise<void> {
    await this.close()
    await rm(this.#file, { force: true })
    this.#size = 0
  }
}

/** Makes the directory, and drops the halves that nobody continued. `now` is wall-clock time, as files have it. */
export async function tidyPartials(directory: string, now: number): Promise<void> {
  await mkdir(directory, { recursive: true })
  for (const name of await readdir(directory)) {
    if (!name.endsWith(".part") || !Digest.safeParse(name.slice(0, -5)).success) continue
    const file = join(directory, name)
    const { mtimeMs } = await stat(file)
    if (now - mtimeMs > transferLimits.keptMs) await rm(file, { force: true })
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT"
}

function storageError(path: string, cause: unknown): TroupeError<"ERR_STORAGE"> {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const details = { path, reason }
  return new TroupeError("ERR_STORAGE", `cannot keep part of a blob: ${reason}`, details, { cause })
}

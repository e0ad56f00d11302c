/** This node's own small facts, each row with a checksum and each write synced. */
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { TroupeError } from "../schema/index.ts"
import { type Level, levelError, openLevel } from "./level.ts"

export interface LocalStore {
  open(): Promise<void>
  get(key: string): Promise<unknown>
  put(key: string, value: unknown): Promise<void>
  delete(key: string): Promise<void>
  range(prefix: string): AsyncIterable<readonly [string, unknown]>
  close(): Promise<void>
}

/** LevelDB in `node/` of the data directory. Values are JSON. */
export function createLocalStore(options: { directory: string }): LocalStore {
  return new LevelLocalStore(join(options.directory, "node"))
}

class LevelLocalStore implements LocalStore {
  readonly #directory: string
  #level: Level | undefined
  #failure: Error | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  async open(): Promise<void> {
    if (this.#level) throw new Error("the node's store is open already")
    this.#failure = undefined
    this.#level = await openLevel(this.#directory)
  }

  #current(): Level {
    if (this.#failure) throw this.#failure
    if (!this.#level) throw new Error("the node's store is not open")
    return this.#level
  }

  async get(key: string): Promise<unknown> {
    const level = this.#current()
    let stored: string | undefined
    try {
      stored = await level.get(key)
    } catch (error) {
      throw levelError(this.#directory, error)
    }
    return stored === undefined ? undefined : this.#parse(key, stored)
  }

  async put(key: string, value: unknown): Promise<void> {
    const json = JSON.stringify(value)
    if (json === undefined) throw new Error(`not a value that JSON can hold: ${key}`)
    await this.#write((level) => level.put(key, checksum(key, json) + json, { sync: true }))
  }

  async delete(key: string): Promise<void> {
    await this.#write((level) => level.del(key, { sync: true }))
  }

  async #write(work: (level: Level) => Promise<void>): Promise<void> {
    const level = this.#current()
    try {
      await work(level)
    } catch (error) {
      this.#failure ??= levelError(this.#directory, error)
      throw this.#failure
    }
  }

  async *range(prefix: string): AsyncIterable<readonly [string, unknown]> {
    const level = this.#current()
    try {
      for await (const [key, stored] of level.iterator({ gte: prefix })) {
        if (!key.startsWith(prefix)) return
        yield [key, this.#parse(key, stored)]
      }
    } catch (error) {
      throw levelError(this.#directory, error)
    }
  }

  #parse(key: string, stored: string): unknown {
    const json = stored.slice(8)
    if (checksum(key, json) !== stored.slice(0, 8)) {
      const reason = `the row ${key} is damaged`
      const path = this.#directory
      throw new TroupeError("ERR_STORAGE", `${path}: ${reason}`, { path, reason })
    }
    return JSON.parse(json) as unknown
  }

  async close(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    this.#failure ??= new TroupeError("ERR_STOPPED", "The node's store is closed", {
      what: "node store",
    })
    await level?.close()
  }
}

function checksum(key: string, json: string): string {
  return crc32(json, crc32(`${key}\0`))
    .toString(16)
    .padStart(8, "0")
}

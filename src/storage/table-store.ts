/** The replicated tables on disk: rows and the mark of what was applied, always in one batch. */
import { join } from "node:path"
import { TroupeError } from "../schema/index.ts"
import type { AppliedMark, Row } from "../wire/index.ts"
import { makeDirectory, namesIn, removeTree, renameDurably } from "./durable.ts"
import { type Level, levelError, type LevelSnapshot, openLevel } from "./level.ts"
import { RowSum } from "./row-hash.ts"

export interface TableWrite {
  readonly key: string
  /** Undefined deletes. */
  readonly value: string | undefined
}

export interface TableStore {
  open(): Promise<AppliedMark | undefined>
  rows(prefix?: string): AsyncIterable<Row>
  get(key: string): Promise<string | undefined>
  write(
    writes: readonly TableWrite[],
    mark: Omit<AppliedMark, "hash">,
    options: { sync: boolean },
  ): Promise<void>
  replace(rows: AsyncIterable<Row>, mark: Omit<AppliedMark, "hash">): Promise<void>
  hash(): Promise<string>
  setAside(): Promise<void>
  view(): Promise<{ mark: AppliedMark; rows: AsyncIterable<Row> }>
  close(): Promise<void>
}

// Keys of rows begin with "r"; the mark has a key of its own before them all.
const markKey = "mark"
const rowPrefix = "r"
// One page is hashed without giving way: about 0.5 ms.
const pageRows = 200
const pageBytes = 128 * 1024
const replaceBatchBytes = 1024 * 1024
const temporaryName = "new.tmp"

interface PendingWrite {
  readonly writes: readonly TableWrite[]
  readonly mark: Omit<AppliedMark, "hash">
  readonly sync: boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Tables in `fsm/` of the data directory: one LevelDB for each time that they were replaced as a whole. */
export function createTableStore(options: { directory: string }): TableStore {
  return new LevelTableStore(join(options.directory, "fsm"))
}

class LevelTableStore implements TableStore {
  readonly #directory: string
  #generation = 0
  #level: Level | undefined
  #sum = new RowSum()
  #failure: Error | undefined
  #queue: PendingWrite[] = []
  #writing: Promise<void> | undefined
  #replacing: Promise<void> | undefined

  constructor(directory: string) {
    this.#directory = directory
  }

  #path(generation: number): string {
    return join(this.#directory, `db-${generation}`)
  }

  async open(): Promise<AppliedMark | undefined> {
    if (this.#level) throw new Error("the tables are open already")
    this.#failure = undefined
    try {
      await this.#clean()
      this.#level = await openLevel(this.#path(this.#generation))
      return await this.#check(this.#level)
    } catch (error) {
      // Not to be read or written until it is replaced.
      this.#failure = levelError(this.#directory, error)
      throw this.#failure
    }
  }

  /** The newest generation is the store; older ones and half-made ones are remains of a crash in replace(). */
  async #clean(): Promise<void> {
    const names = await namesIn(this.#directory)
    const generations = names.map((name) => Number(/^db-(\d+)$/.exec(name)?.[1] ?? "-1"))
    this.#generation = Math.max(1, ...generations)
    for (const name of names) {
      const isOld = /^db-\d+$/.test(name) && name !== `db-${this.#generation}`
      if (isOld || name === temporaryName) await removeTree(join(this.#directory, name))
    }
  }

  async #check(level: Level): Promise<AppliedMark | undefined> {
    const stored = await level.get(markKey)
    const sum = new RowSum()
    let count = 0
    for await (const [key, value] of pages(level, {})) {
      sum.add(key, value)
      count++
    }
    if (stored === undefined && count === 0) {
      this.#sum = sum
      return undefined
    }
    const mark = stored === undefined ? undefined : parseMark(stored)
    if (!mark || mark.hash !== sum.toString()) {
      const reason = "rows were lost or changed: they do not add up to the hash of the last write"
      const path = this.#directory
      throw new TroupeError("ERR_STORAGE", `${path}: ${reason}`, { path, reason })
    }
    this.#sum = sum
    return mark
  }

  #current(): Level {
    if (this.#failure) throw this.#failure
    if (!this.#level) throw new Error("the tables are not open")
    return this.#level
  }

  async *rows(prefix = ""): AsyncIterable<Row> {
    const level = this.#current()
    try {
      yield* pages(level, { prefix })
    } catch (error) {
      throw levelError(this.#directory, error)
    }
  }

  async get(key: string): Promise<string | undefined> {
    const level = this.#current()
    try {
      return await level.get(rowPrefix + key)
    } catch (error) {
      throw levelError(this.#directory, error)
    }
  }

  write(
    writes: readonly TableWrite[],
    mark: Omit<AppliedMark, "hash">,
    options: { sync: boolean },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ writes, mark, sync: options.sync, resolve, reject })
      this.#writing ??= this.#drain()
    })
  }

  /** Writes that came while one was under way go together; the last mark stands for all. */
  async #drain(): Promise<void> {
    await this.#replacing
    while (this.#queue.length > 0) {
      const group = this.#queue
      this.#queue = []
      try {
        await this.#writeGroup(this.#current(), group)
        for (const pending of group) pending.resolve()
      } catch (error) {
        const failure = levelError(this.#directory, error)
        this.#failure ??= failure
        for (const pending of group) pending.reject(failure)
      }
    }
    this.#writing = undefined
  }

  async #writeGroup(level: Level, group: readonly PendingWrite[]): Promise<void> {
    const values = new Map<string, string | undefined>()
    for (const { writes } of group) for (const { key, value } of writes) values.set(key, value)
    const keys = [...values.keys()]
    const old = await level.getMany(keys.map((key) => rowPrefix + key))
    const sum = RowSum.parse(this.#sum.toString())
    const batch = level.batch()
    for (const [position, key] of keys.entries()) {
      const before = old[position]
      const value = values.get(key)
      if (before !== undefined) sum.remove(key, before)
      if (value !== undefined) sum.add(key, value)
      if (value === undefined) batch.del(rowPrefix + key)
      else batch.put(rowPrefix + key, value)
    }
    const mark: AppliedMark = { ...group.at(-1)!.mark, hash: sum.toString() }
    batch.put(markKey, JSON.stringify(mark))
    await batch.write({ sync: group.some((pending) => pending.sync) })
    this.#sum = sum
  }

  async replace(rows: AsyncIterable<Row>, mark: Omit<AppliedMark, "hash">): Promise<void> {
    while (this.#writing || this.#replacing) await (this.#writing ?? this.#replacing)
    const replaced = Promise.withResolvers<void>()
    this.#replacing = replaced.promise
    try {
      await this.#swap(rows, mark)
    } catch (error) {
      throw levelError(this.#directory, error)
    } finally {
      this.#replacing = undefined
      replaced.resolve()
    }
  }

  /** The old store serves reads until the new one is whole. */
  async #swap(rows: AsyncIterable<Row>, mark: Omit<AppliedMark, "hash">): Promise<void> {
    const temporary = join(this.#directory, temporaryName)
    await makeDirectory(this.#directory)
    await removeTree(temporary)
    const sum = await fill(temporary, rows, mark)
    const old = this.#level
    this.#level = undefined
    await old?.close()
    const before = this.#generation
    this.#generation = before + 1
    await renameDurably(temporary, this.#path(this.#generation))
    await removeTree(this.#path(before))
    this.#level = await openLevel(this.#path(this.#generation))
    this.#sum = sum
    this.#failure = undefined
  }

  /** After the writes that wait: they were asked for before. */
  async hash(): Promise<string> {
    while (this.#writing || this.#replacing) await (this.#writing ?? this.#replacing)
    this.#current()
    return this.#sum.toString()
  }

  /** Only the newest of what was ever put aside is kept. */
  async setAside(): Promise<void> {
    await this.close()
    const aside = `${this.#directory}-aside`
    await removeTree(aside)
    await renameDurably(this.#directory, aside)
  }

  async view(): Promise<{ mark: AppliedMark; rows: AsyncIterable<Row> }> {
    const level = this.#current()
    const snapshot = level.snapshot()
    const mark = await this.#markOf(level, snapshot)
    if (!mark) {
      await snapshot.close()
      throw new Error("a view of tables to which nothing was applied")
    }
    return { mark, rows: this.#snapshotRows(level, snapshot) }
  }

  async #markOf(level: Level, snapshot: LevelSnapshot): Promise<AppliedMark | undefined> {
    try {
      const stored = await level.get(markKey, { snapshot })
      return stored === undefined ? undefined : parseMark(stored)
    } catch (error) {
      throw levelError(this.#directory, error)
    }
  }

  async *#snapshotRows(level: Level, snapshot: LevelSnapshot): AsyncGenerator<Row> {
    try {
      yield* pages(level, { snapshot })
    } catch (error) {
      throw levelError(this.#directory, error)
    } finally {
      await snapshot.close()
    }
  }

  async close(): Promise<void> {
    while (this.#writing || this.#replacing) await (this.#writing ?? this.#replacing)
    const level = this.#level
    this.#level = undefined
    this.#failure ??= new TroupeError("ERR_STOPPED", "The tables are closed", { what: "tables" })
    await level?.close()
  }
}

/** A new store with these rows, closed again, all of it durable. */
async function fill(
  directory: string,
  rows: AsyncIterable<Row>,
  mark: Omit<AppliedMark, "hash">,
): Promise<RowSum> {
  const level = await openLevel(directory)
  try {
    const sum = new RowSum()
    let batch = level.batch()
    let bytes = 0
    for await (const [key, value] of rows) {
      sum.add(key, value)
      batch.put(rowPrefix + key, value)
      bytes += key.length + value.length
      if (bytes < replaceBatchBytes) continue
      // Synced each time: LevelDB leaves a log that it has filled to the system, and a later sync does not reach it.
      await batch.write({ sync: true })
      batch = level.batch()
      bytes = 0
    }
    batch.put(markKey, JSON.stringify({ ...mark, hash: sum.toString() }))
    await batch.write({ sync: true })
    return sum
  } finally {
    await level.close()
  }
}

/** Rows in order of their keys, a page at a time. */
async function* pages(
  level: Level,
  options: { prefix?: string; snapshot?: LevelSnapshot },
): AsyncGenerator<Row> {
  const from = rowPrefix + (options.prefix ?? "")
  const { snapshot } = options
  const iterator = level.iterator({
    gte: from,
    highWaterMarkBytes: pageBytes,
    ...(snapshot ? { snapshot } : {}),
  })
  try {
    for (;;) {
      const page = await iterator.nextv(pageRows)
      if (page.length === 0) return
      for (const [key, value] of page) {
        if (!key.startsWith(from)) return
        yield [key.slice(rowPrefix.length), value]
      }
    }
  } finally {
    await iterator.close()
  }
}

function parseMark(text: string): AppliedMark | undefined {
  try {
    return JSON.parse(text) as AppliedMark
  } catch {
    // Not JSON: the row is damaged, which the caller reports as such.
    return undefined
  }
}

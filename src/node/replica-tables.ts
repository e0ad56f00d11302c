/** The replicated tables of one replica: entries applied in memory at once, rows on disk behind, snapshots of them. */
import {
  type ConfChange,
  type ConfState,
  decodeConfChange,
  type Entry,
  type MemoryStorage,
} from "../consensus/index.ts"
import { type Applied, apply, createTables, type Tables, type Write } from "../state/index.ts"
import { decodeEntry, type LogMark } from "../wire/index.ts"
import type { LogLimits } from "./options.ts"
import type { ReplicaStores } from "./parts.ts"

const logLimitsDefault: LogLimits = { snapshotBytes: 64 << 20, entriesKept: 10_000 }

export interface ReplicaTablesInput {
  readonly stores: ReplicaStores
  readonly memory: MemoryStorage
  /** What the rows on disk have applied. */
  readonly start: LogMark
  readonly limits: LogLimits | undefined
  /** A membership change takes effect; answers what is then in force. */
  change(change: ConfChange): ConfState
  /** After each entry, in order. */
  applied(entry: Entry, applied: Applied): void
  failed(error: Error): void
}

const nothing: Applied = { writes: [], events: [], results: [] }

export class ReplicaTables {
  readonly view: Tables = createTables()
  readonly #stores: ReplicaStores
  readonly #memory: MemoryStorage
  readonly #limits: LogLimits
  readonly #input: ReplicaTablesInput
  #applied: LogMark
  #writing: Promise<void> = Promise.resolve()
  #snapshotting = false
  #closed = false

  constructor(input: ReplicaTablesInput) {
    this.#stores = input.stores
    this.#memory = input.memory
    this.#limits = input.limits ?? logLimitsDefault
    this.#input = input
    this.#applied = input.start
  }

  get applied(): LogMark {
    return this.#applied
  }

  /** Rows as they stand on disk, read once when the replica opens. */
  async load(): Promise<void> {
    for await (const [key, value] of this.#stores.tables.rows()) {
      this.view.commit([{ key, value: JSON.parse(value) as unknown }])
    }
  }

  /** Committed entries: readers see their effect at once. */
  apply(entries: readonly Entry[]): void {
    const batch: Write[] = []
    const before = this.#applied.index
    for (const entry of entries) {
      // A snapshot that was installed meanwhile holds it already.
      if (entry.index > this.#applied.index) batch.push(...this.#applyEntry(entry))
    }
    if (this.#applied.index > before) this.#persist(batch)
  }

  #applyEntry(entry: Entry): readonly Write[] {
    let confState = this.#applied.confState
    let applied = nothing
    if (entry.type === "EntryNormal") {
      if (entry.data.length > 0) applied = this.#run(entry, entry.data)
    } else {
      const change = decodeConfChange(entry.data)
      confState = this.#input.change(change)
      if (change.context.length > 0) applied = this.#run(entry, change.context)
    }
    this.view.commit(applied.writes)
    this.#applied = { index: entry.index, term: entry.term, confState }
    this.#input.applied(entry, applied)
    return applied.writes
  }

  #run(entry: Entry, data: Uint8Array): Applied {
    const { version, at, command } = decodeEntry(data)
    return apply(this.view, { index: entry.index, term: entry.term, version, at, command })
  }

  /** The rows follow the log to disk at leisure: after a crash the log is applied again from the stored mark. */
  #persist(writes: readonly Write[]): void {
    const mark = this.#applied
    const rows = writes.map(({ key, value }) => ({
      key,
      value: value === undefined ? undefined : JSON.stringify(value),
    }))
    void this.#write(() => this.#stores.tables.write(rows, mark, { sync: false }))
    if (this.#stores.log.stats().bytes > this.#limits.snapshotBytes) void this.#snapshot()
  }

  /** Everything is replaced by a received snapshot. */
  async install(meta: LogMark): Promise<void> {
    await this.#writing
    await this.#stores.tables.replace(this.#stores.snapshots.rows(meta.index), meta)
    const rows: Write[] = []
    for await (const [key, value] of this.#stores.snapshots.rows(meta.index)) {
      rows.push({ key, value: JSON.parse(value) as unknown })
    }
    this.view.clear()
    this.view.commit(rows)
    this.#applied = meta
  }

  /** No snapshot begins any more. */
  close(): void {
    this.#closed = true
  }

  async settled(): Promise<void> {
    await this.#writing.catch(() => undefined) // Already told by failed.
  }

  /** One table write after the other, in the order of the log. */
  #write(work: () => Promise<void>): Promise<void> {
    const written = this.#writing.then(work)
    this.#writing = written
    written.catch((error: Error) => this.#input.failed(error))
    return written
  }

  async #snapshot(): Promise<void> {
    if (this.#snapshotting || this.#closed) return
    this.#snapshotting = true
    try {
      // In line with the others: a mark that overtook its rows would lose them in a crash.
      const applied = this.#applied
      await this.#write(() => this.#stores.tables.write([], applied, { sync: true }))
      const { mark, rows } = await this.#stores.tables.view()
      await this.#stores.snapshots.create(mark, rows)
      const keep = Math.max(this.#memory.firstIndex(), mark.index - this.#limits.entriesKept)
      const term = this.#memory.term(keep)
      if (typeof term === "number") await this.#stores.log.compact({ ...mark, index: keep, term })
      this.#memory.createSnapshot(mark)
      this.#memory.compact({ index: keep })
      await this.#stores.snapshots.prune()
    } catch (error) {
      this.#input.failed(error as Error)
    } finally {
      this.#snapshotting = false
    }
  }
}

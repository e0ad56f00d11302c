/** The replicated tables of one replica: entries applied in memory at once, rows on disk behind, snapshots of them. */
import {
  type ConfChange,
  type ConfState,
  decodeConfChange,
  type Entry,
  type MemoryStorage,
} from "../consensus/index.ts"
import type { Clock } from "../platform/index.ts"
import type { VersionRange } from "../schema/index.ts"
import {
  type Applied,
  apply,
  createTables,
  type Tables,
  type View,
  type Write,
} from "../state/index.ts"
import { decodeEntry, type LogMark } from "../wire/index.ts"
import { Evictions, finishedBy, loadRows, RunViews } from "./memory-rows.ts"
import type { LogLimits } from "./options.ts"
import type { ReplicaStores } from "./parts.ts"

const logLimitsDefault: LogLimits = { snapshotBytes: 64 << 20, entriesKept: 5_000 }
const snapshotEntriesDefault = 10_000
const bytesKeptDefault = 32 << 20
/** A snapshot is due when the log since the last one is larger than the state by this factor, and than the limit. */
const logPerState = 2

export interface ReplicaTablesInput {
  readonly stores: ReplicaStores
  readonly memory: MemoryStorage
  /** What the rows on disk have applied. */
  readonly start: LogMark
  readonly limits: LogLimits | undefined
  /** Versions that this node understands; undefined: those of the build. */
  readonly versions: VersionRange | undefined
  readonly clock: Clock
  /** Runs something in a later turn of the main loop. */
  later(run: () => void): void
  /** A membership change takes effect; answers what is then in force. */
  change(change: ConfChange): ConfState
  /** After each entry, in order. */
  applied(entry: Entry, applied: Applied): void
  failed(error: Error): void
  /** Most voters have other rows. */
  diverged(error: Error): void
  /** Most voters had the same rows after this entry. */
  confirmed(index: number): void
}

/** At most one write in this time: LevelDB costs about as much for a row as for a hundred. */
const saveEveryMs = 20
/** Made into text in one go. */
const unsavedRowsMax = 256

/** Measurements that are remembered until the voters have agreed. */
const measuredMax = 8

const nothing: Applied = { writes: [], events: [], results: [] }

export class ReplicaTables {
  readonly view: Tables = createTables()
  readonly #stores: ReplicaStores
  readonly #memory: MemoryStorage
  readonly #limits: LogLimits
  readonly #input: ReplicaTablesInput
  readonly #evictions: Evictions
  readonly #runViews: RunViews
  /** Own hash of all rows by the index that it was measured at. */
  readonly #measured = new Map<number, Promise<string>>()
  #applied: LogMark
  /** Newest value of each row that is on its way to disk, and the runs that finished with them. */
  #unsaved = new Map<string, unknown>()
  #unsavedFinished: string[] = []
  #saving: { cancel(): void } | undefined
  #savedAt = Number.NEGATIVE_INFINITY
  #writing: Promise<void> = Promise.resolve()
  #snapshotting = false
  /** Of the last snapshot, which holds everything up to this index. */
  #stateBytes = 0
  #snapshotAt: number
  #closed = false

  constructor(input: ReplicaTablesInput) {
    this.#stores = input.stores
    this.#memory = input.memory
    this.#limits = input.limits ?? logLimitsDefault
    this.#input = input
    this.#applied = input.start
    this.#snapshotAt = input.memory.firstIndex() - 1
    this.#evictions = new Evictions(this.view, (run) => input.later(run))
    this.#runViews = new RunViews(this.view, input.stores.tables)
  }

  get applied(): LogMark {
    return this.#applied
  }

  /** Rows as they stand on disk, read once when the replica opens. UnknownVersionError when they are newer. */
  async load(): Promise<void> {
    this.view.adopt(await loadRows(this.#stores.tables, this.#input.versions))
    this.#stateBytes = await this.#stores.snapshots.bytes()
  }

  /** A view that has all rows of this run: those of finished runs are on disk only. */
  async viewOf(run: string): Promise<View> {
    return await this.#runViews.of(run)
  }

  async *keysOnDisk(prefix: string): AsyncGenerator<string> {
    this.#save()
    await this.#writing
    for await (const [key] of this.#stores.tables.rows(prefix)) yield key
  }

  /** Own hash of all rows after the entry `index`, if it asked for one and was applied not long ago. */
  async hashAt(index: number): Promise<string | undefined> {
    return await this.#measured.get(index)
  }

  /** Committed entries: readers see their effect at once. */
  apply(entries: readonly Entry[]): void {
    let batch: Write[] = []
    let persisted = this.#applied.index
    for (const entry of entries) {
      // A snapshot that was installed meanwhile holds it already.
      if (entry.index <= this.#applied.index) continue
      const { writes, events } = this.#applyEntry(entry)
      batch.push(...writes)
      for (const event of events) {
        if (event.type === "checkpoint") void this.#compare(event)
        if (event.type !== "measure") continue
        this.#persist(batch)
        batch = []
        persisted = entry.index
        this.#save()
        this.#measure(entry.index)
      }
    }
    if (this.#applied.index > persisted) this.#persist(batch)
  }

  #measure(index: number): void {
    const measured = Promise.withResolvers<string>()
    measured.promise.catch(() => undefined) // Told by failed.
    this.#write(async () => measured.resolve(await this.#stores.tables.hash())).catch(
      measured.reject,
    )
    this.#measured.set(index, measured.promise)
    const [oldest] = this.#measured.keys()
    if (this.#measured.size > measuredMax) this.#measured.delete(oldest!)
  }

  async #compare(agreed: { readonly index: number; readonly hash: string }): Promise<void> {
    const own = await this.#measured.get(agreed.index)?.catch(() => undefined) // Already told by failed.
    if (own === undefined) return
    if (own === agreed.hash) {
      this.#input.confirmed(agreed.index)
      return
    }
    const at = `after entry ${agreed.index}`
    this.#input.diverged(
      new Error(
        `the tables here differ from those of most voters: ${own} ${at}, not ${agreed.hash}`,
      ),
    )
  }

  #applyEntry(entry: Entry): Applied {
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
    return applied
  }

  #run(entry: Entry, data: Uint8Array): Applied {
    const { version, at, command } = decodeEntry(data, this.#input.versions)
    return apply(this.view, { index: entry.index, term: entry.term, version, at, command })
  }

  /** The rows follow the log to disk at leisure: after a crash the log is applied again from the stored mark. */
  #persist(writes: readonly Write[]): void {
    for (const { key, value } of writes) this.#unsaved.set(key, value)
    this.#unsavedFinished.push(...finishedBy(writes))
    if (this.#unsaved.size >= unsavedRowsMax) this.#save()
    else this.#saving ??= this.#saveSoon()
    if (this.#isSnapshotDue()) void this.#snapshot()
  }

  /** Many small entries weigh more in memory than in the log: a snapshot that costs less lets go of them sooner. */
  #isSnapshotDue(): boolean {
    const { snapshotBytes, snapshotEntries = snapshotEntriesDefault } = this.#limits
    const { bytes } = this.#stores.log.stats()
    const perState = logPerState * this.#stateBytes
    if (bytes > Math.max(snapshotBytes, perState)) return true
    return this.#applied.index - this.#snapshotAt > snapshotEntries && bytes > perState
  }

  /** What changes meanwhile goes together, and what changes again is written once. */
  #saveSoon(): { cancel(): void } {
    const { clock } = this.#input
    const wait = Math.max(0, this.#savedAt + saveEveryMs - clock.boottime())
    return clock.after(wait, () => this.#save())
  }

  #save(): void {
    if (!this.#saving && this.#unsaved.size === 0) return
    const mark = this.#applied
    const rows = [...this.#unsaved].map(([key, value]) => ({
      key,
      value: value === undefined ? undefined : JSON.stringify(value),
    }))
    const finished = this.#unsavedFinished
    this.#forgetUnsaved()
    this.#savedAt = this.#input.clock.boottime()
    const written = this.#write(() => this.#stores.tables.write(rows, mark, { sync: false }))
    if (finished.length > 0) {
      written.then(
        () => this.#evictions.add(finished),
        () => undefined, // Already told by failed.
      )
    }
  }

  #forgetUnsaved(): void {
    this.#saving?.cancel()
    this.#saving = undefined
    this.#unsaved = new Map()
    this.#unsavedFinished = []
  }

  /** Everything is replaced by a received snapshot. */
  async install(meta: LogMark): Promise<void> {
    this.#forgetUnsaved()
    await this.#writing
    await this.#stores.tables.replace(this.#stores.snapshots.rows(meta.index), meta)
    const rows = await loadRows(this.#stores.tables, this.#input.versions)
    this.view.adopt(rows)
    this.#runViews.clear()
    this.#measured.clear()
    this.#snapshotAt = meta.index
    this.#applied = meta
  }

  /** What is applied still goes to disk; no snapshot begins any more. */
  close(): void {
    this.#save()
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

  /** One that cannot be read any more is put aside, and there is a new one. */
  async renewSnapshot(index: number): Promise<void> {
    if (this.#snapshotting || this.#closed) return
    try {
      const latest = await this.#stores.snapshots.latest().catch(() => undefined) // Broken from its first byte.
      if (latest === undefined || latest.index === index) {
        await this.#stores.snapshots.setAside(index)
      }
    } catch (error) {
      this.#input.failed(error as Error)
      return
    }
    await this.#snapshot()
  }

  /** The entry that the log then begins behind: followers that lag a little need no snapshot. */
  #keptBefore(index: number): number {
    const { entriesKept, bytesKept = bytesKeptDefault } = this.#limits
    const lowest = Math.max(this.#memory.firstIndex(), index - entriesKept)
    const entries = this.#memory.entries(lowest, index + 1, Number.POSITIVE_INFINITY)
    if (typeof entries === "string") return lowest
    let bytes = 0
    const first = entries.findLastIndex((entry) => (bytes += entry.data.length) > bytesKept)
    return first < 0 ? lowest : entries[first]!.index
  }

  async #snapshot(): Promise<void> {
    if (this.#snapshotting || this.#closed) return
    this.#snapshotting = true
    try {
      // In line with the others: a mark that overtook its rows would lose them in a crash.
      this.#save()
      const applied = this.#applied
      await this.#write(() => this.#stores.tables.write([], applied, { sync: true }))
      const { mark, rows } = await this.#stores.tables.view()
      const { bytes } = await this.#stores.snapshots.create(mark, rows)
      this.#stateBytes = bytes
      this.#snapshotAt = mark.index
      const keep = this.#keptBefore(mark.index)
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

/** The storage parts of a node over a FakeDisk: the log is the real one on simulated files, the rest is in memory. */
import { createHash } from "node:crypto"
import { type Identity, TroupeError } from "../../src/schema/index.ts"
import type {
  BlobStore,
  IdentityStore,
  LocalStore,
  LogStore,
  SnapshotStore,
  TableStore,
  TableWrite,
} from "../../src/storage/index.ts"
import { createLogStoreOver } from "../../src/storage/log-store.ts"
import { RowSum } from "../../src/storage/row-hash.ts"
import {
  ChunkChecker,
  SnapshotDamage,
  splitChunks,
  writeChunks,
} from "../../src/storage/snapshot-format.ts"
import {
  createWriter,
  type WalReply,
  type WalRequest,
  type WalThread,
} from "../../src/storage/wal-writer.ts"
import type { AppliedMark, LogMark, Row } from "../../src/wire/index.ts"
import type { FakeDisk } from "./fake-disk.ts"

export { FakeDisk } from "./fake-disk.ts"

type Mark = Omit<AppliedMark, "hash">

/** What lies on the disk beside the log's files. */
interface Shelf {
  tables: { rows: Map<string, string>; mark: AppliedMark } | undefined
  /** Table writes that a crash may lose. */
  unsynced: { writes: readonly TableWrite[]; mark: AppliedMark }[]
  readonly snapshots: Map<number, { mark: LogMark; chunks: readonly Uint8Array[] }>
  /** Chunks of snapshots whose stream broke. */
  readonly partial: Map<string, Uint8Array[]>
  readonly local: Map<string, string>
  identity: Identity | undefined
  bootCount: number
  readonly archived: string[]
  readonly blobs: Map<string, Uint8Array>
  readonly blobTimes: Map<string, number>
}

const shelves = new WeakMap<FakeDisk, Shelf>()

function shelfOf(disk: FakeDisk): Shelf {
  let shelf = shelves.get(disk)
  if (!shelf) {
    shelf = {
      tables: undefined,
      unsynced: [],
      snapshots: new Map(),
      partial: new Map(),
      local: new Map(),
      identity: undefined,
      bootCount: 0,
      archived: [],
      blobs: new Map(),
      blobTimes: new Map(),
    }
    shelves.set(disk, shelf)
    disk.onCrash(() => loseTableWrites(disk, shelfOf(disk)))
  }
  return shelf
}

/** The whole data directory as it lies on the disk; what is returned puts it back. */
export function backUp(disk: FakeDisk): () => void {
  const files = disk.image()
  const { tables, snapshots, local, identity, bootCount, blobs } = shelfOf(disk)
  const copy = {
    tables: tables && { rows: new Map(tables.rows), mark: tables.mark },
    snapshots: new Map(snapshots),
    local: new Map(local),
    identity,
    bootCount,
    blobs: new Map(blobs),
  }
  return () => {
    files()
    const shelf = shelfOf(disk)
    const { tables: old } = copy
    shelves.set(disk, {
      ...shelf,
      ...copy,
      tables: old && { rows: new Map(old.rows), mark: old.mark },
      snapshots: new Map(copy.snapshots),
      local: new Map(copy.local),
      blobs: new Map(copy.blobs),
      unsynced: [],
    })
  }
}

/** Somebody deletes directories of a data directory whose node does not run. */
export function deleteParts(disk: FakeDisk, parts: readonly ("raft" | "fsm")[]): void {
  const shelf = shelfOf(disk)
  if (parts.includes("raft")) {
    disk.removeDirectory("/raft/wal")
    shelf.snapshots.clear()
  }
  if (parts.includes("fsm")) {
    shelf.tables = undefined
    shelf.unsynced = []
  }
}

/** What the node on this disk has noted under this key of its own facts. */
export function noted(disk: FakeDisk, key: string): unknown {
  const json = shelfOf(disk).local.get(key)
  return json === undefined ? undefined : (JSON.parse(json) as unknown)
}

/** What was put aside on this disk, oldest first. */
export function putAside(disk: FakeDisk): readonly string[] {
  return shelfOf(disk).archived
}

export interface FakeStorage {
  readonly log: LogStore
  readonly tables: TableStore
  readonly snapshots: SnapshotStore
  readonly local: LocalStore
  readonly identity: IdentityStore
  readonly blobs: BlobStore
}

/** All stores of one process on this disk. After `disk.crash()` make new ones; the old never answer. */
export function createFakeStorage(
  disk: FakeDisk,
  options: { segmentBytes?: number } = {},
): FakeStorage {
  return {
    log: createFakeLogStore(disk, options),
    tables: createFakeTableStore(disk),
    snapshots: createFakeSnapshotStore(disk),
    local: createFakeLocalStore(disk),
    identity: createFakeIdentityStore(disk),
    blobs: createFakeBlobStore(disk),
  }
}

/** The real log, its thread replaced by the disk's delays. A crash catches the write under way at any operation. */
export function createFakeLogStore(
  disk: FakeDisk,
  options: { segmentBytes?: number } = {},
): LogStore {
  const { segmentBytes = 16 * 1024 } = options
  return createLogStoreOver({ directory: "/", segmentBytes }, () => fakeThread(disk))
}

function fakeThread(disk: FakeDisk): WalThread {
  const { epoch } = disk
  let queue: WalRequest[] = []
  let underWay: WalRequest[] = []
  let running = false
  let onReply: ((reply: WalReply) => void) | undefined
  let salt = Math.floor(disk.options.random.next() * 2 ** 32)
  // Within one clock tick no time passes: what a write took is what was waited for it.
  let waitedMs = 0
  let elapsed = 0
  const writer = createWriter({
    files: (directory) => disk.directory(directory),
    salt: () => (salt = (salt + 0x9e3779b9) >>> 0),
    now: () => (elapsed += waitedMs),
    reply: (reply) => {
      if (disk.epoch === epoch) onReply?.(reply)
    },
  })
  disk.onCrash(() => {
    if (underWay.length === 0) return
    disk.operationsLeft = Math.floor(disk.options.random.next() * 6)
    writer.run(underWay)
    underWay = []
  })
  async function work(): Promise<void> {
    while (queue.length > 0) {
      underWay = queue
      queue = []
      const from = disk.options.clock.boottime()
      await disk.synced(epoch)
      waitedMs = disk.options.clock.boottime() - from
      const requests = underWay
      underWay = []
      writer.run(requests)
    }
    running = false
  }
  return {
    post(request) {
      // What a dead process still wants is not written, not even by the next crash.
      if (disk.epoch !== epoch) return
      queue.push(request)
      if (running) return
      running = true
      void work()
    },
    listen(listener) {
      onReply = listener
    },
    async stop() {
      onReply = undefined
    },
  }
}

function storageFailure(disk: FakeDisk): void {
  if (disk.failure === undefined) return
  throw new TroupeError("ERR_STORAGE", disk.failure, { path: "/", reason: disk.failure })
}

// ---------------------------------------------------------------- tables

function loseTableWrites(disk: FakeDisk, shelf: Shelf): void {
  const { unsynced } = shelf
  shelf.unsynced = []
  const kept = unsynced.slice(0, Math.floor(disk.options.random.next() * (unsynced.length + 1)))
  const lost = disk.options.losesTableRows && kept.length > 1 && disk.chance() ? 0 : -1
  for (const [position, { writes, mark }] of kept.entries()) {
    shelf.tables ??= { rows: new Map(), mark }
    if (position !== lost) change(shelf.tables.rows, writes)
    shelf.tables.mark = mark
  }
}

function change(rows: Map<string, string>, writes: readonly TableWrite[]): void {
  for (const { key, value } of writes) {
    if (value === undefined) rows.delete(key)
    else rows.set(key, value)
  }
}

function hashOf(rows: ReadonlyMap<string, string>): RowSum {
  const sum = new RowSum()
  for (const [key, value] of rows) sum.add(key, value)
  return sum
}

async function* sorted(rows: ReadonlyMap<string, string>, prefix = ""): AsyncGenerator<Row> {
  const keys = [...rows.keys()].filter((key) => key.startsWith(prefix)).toSorted()
  for (const key of keys) {
    const value = rows.get(key)
    if (value !== undefined) yield [key, value]
  }
}

function createFakeTableStore(disk: FakeDisk): TableStore {
  const { epoch } = disk
  const shelf = shelfOf(disk)
  let current: { rows: Map<string, string>; sum: RowSum; mark: AppliedMark | undefined } | undefined
  let turn: Promise<unknown> = Promise.resolve()

  /** One after the other, as the real store does. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work)
    turn = done.catch(() => {})
    return done
  }
  function opened() {
    if (!current) throw new Error("the tables are not open")
    return current
  }

  return {
    async open() {
      await disk.alive(epoch)
      const rows = new Map(shelf.tables?.rows)
      const sum = hashOf(rows)
      const mark = shelf.tables?.mark
      current = { rows, sum, mark }
      if (mark && mark.hash !== sum.toString()) {
        throw new TroupeError("ERR_STORAGE", "rows were lost", { path: "/fsm", reason: "hash" })
      }
      return mark
    },
    async *rows(prefix) {
      yield* sorted(opened().rows, prefix)
    },
    async get(key) {
      await disk.alive(epoch)
      return opened().rows.get(key)
    },
    write: (writes, mark, { sync }) =>
      inTurn(async () => {
        if (sync) await disk.synced(epoch)
        await disk.alive(epoch)
        storageFailure(disk)
        const { rows, sum } = opened()
        for (const { key, value } of writes) {
          const before = rows.get(key)
          if (before !== undefined) sum.remove(key, before)
          if (value !== undefined) sum.add(key, value)
          change(rows, [{ key, value }])
        }
        const whole = { ...mark, hash: sum.toString() }
        opened().mark = whole
        shelf.unsynced.push({ writes, mark: whole })
        if (sync) {
          shelf.tables = { rows: new Map(rows), mark: whole }
          shelf.unsynced = []
        }
      }),
    replace: (source, mark: Mark) =>
      inTurn(async () => {
        const rows = new Map<string, string>()
        for await (const [key, value] of source) rows.set(key, value)
        await disk.synced(epoch)
        storageFailure(disk)
        const sum = hashOf(rows)
        const whole = { ...mark, hash: sum.toString() }
        current = { rows, sum, mark: whole }
        shelf.tables = { rows: new Map(rows), mark: whole }
        shelf.unsynced = []
      }),
    hash: () => inTurn(async () => opened().sum.toString()),
    setAside: () =>
      inTurn(async () => {
        await disk.synced(epoch)
        shelf.tables = undefined
        shelf.unsynced = []
        current = undefined
      }),
    async view() {
      await disk.alive(epoch)
      const { rows, mark } = opened()
      if (!mark) throw new Error("a view of tables to which nothing was applied")
      return { mark, rows: sorted(new Map(rows)) }
    },
    close: () =>
      inTurn(async () => {
        await disk.alive(epoch)
        if (!current) return
        const { rows, mark } = current
        if (mark) shelf.tables = { rows: new Map(rows), mark }
        shelf.unsynced = []
        current = undefined
      }),
  }
}

// ---------------------------------------------------------------- snapshots

function asCorrupt(error: unknown): unknown {
  if (!(error instanceof SnapshotDamage)) return error
  const { offset, message } = error
  return new TroupeError("ERR_LOG_CORRUPT", message, { file: "/snap", offset, reason: message })
}

const partOf = ({ index, term }: LogMark): string => `${index}-${term}`

function createFakeSnapshotStore(disk: FakeDisk): SnapshotStore {
  const { epoch } = disk
  const { snapshots, partial } = shelfOf(disk)
  async function keep(mark: LogMark, source: AsyncIterable<Uint8Array>) {
    const chunks: Uint8Array[] = []
    for await (const chunk of source) chunks.push(Uint8Array.from(chunk))
    await disk.synced(epoch)
    storageFailure(disk)
    snapshots.set(mark.index, { mark, chunks })
    return { bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0) }
  }
  function stored(index: number) {
    const snapshot = snapshots.get(index)
    if (snapshot) return snapshot
    throw new TroupeError("ERR_STORAGE", "no such snapshot", { path: "/snap", reason: "missing" })
  }
  return {
    async latest() {
      await disk.alive(epoch)
      const newest = Math.max(0, ...snapshots.keys())
      return snapshots.get(newest)?.mark
    },
    create: (mark, rows) => keep(mark, writeChunks(mark, rows)),
    async bytes() {
      const newest = snapshots.get(Math.max(0, ...snapshots.keys()))
      return newest?.chunks.reduce((sum, chunk) => sum + chunk.length, 0) ?? 0
    },
    async *chunks(index, from = 0) {
      yield* stored(index).chunks.slice(from)
    },
    async agrees(index, held) {
      const checker = new ChunkChecker()
      for (const chunk of stored(index).chunks.slice(0, held.chunks)) checker.take(chunk)
      return checker.held().hash === held.hash ? checker.held().chunks : 0
    },
    async held(mark) {
      const checker = new ChunkChecker()
      for (const chunk of partial.get(partOf(mark)) ?? []) checker.take(chunk)
      return checker.held()
    },
    async setAside(index) {
      snapshots.delete(index)
      return `/quarantine/${index}.snap`
    },
    async receive(mark, chunks, from = 0) {
      const checker = new ChunkChecker()
      const part = (partial.get(partOf(mark)) ?? []).slice(0, from)
      partial.set(partOf(mark), part)
      const check = async function* () {
        for (const chunk of part.slice()) {
          checker.take(chunk)
          yield chunk
        }
        for await (const chunk of splitChunks(chunks)) {
          checker.take(chunk)
          if (disk.epoch === epoch) part.push(Uint8Array.from(chunk))
          yield chunk
        }
        checker.finish()
        if (checker.mark?.index !== mark.index || checker.mark.term !== mark.term) {
          throw new SnapshotDamage(0, "a snapshot of another index")
        }
      }
      try {
        await keep(mark, check())
        partial.delete(partOf(mark))
      } catch (error) {
        if (error instanceof SnapshotDamage && !error.isCutShort) partial.delete(partOf(mark))
        throw asCorrupt(error)
      }
    },
    async *rows(index) {
      const checker = new ChunkChecker()
      for (const chunk of stored(index).chunks) yield* checker.take(chunk)
      checker.finish()
    },
    async prune() {
      await disk.alive(epoch)
      const newest = Math.max(0, ...snapshots.keys())
      for (const index of snapshots.keys()) if (index < newest) snapshots.delete(index)
    },
  }
}

// ---------------------------------------------------------------- local, identity, blobs

function createFakeLocalStore(disk: FakeDisk): LocalStore {
  const { epoch } = disk
  const { local } = shelfOf(disk)
  let open = false
  async function ready(): Promise<void> {
    await disk.alive(epoch)
    if (!open) throw new Error("the node's store is not open")
  }
  return {
    async open() {
      await disk.alive(epoch)
      open = true
    },
    async get(key) {
      await ready()
      const json = local.get(key)
      return json === undefined ? undefined : (JSON.parse(json) as unknown)
    },
    async put(key, value) {
      const json = JSON.stringify(value)
      await ready()
      await disk.synced(epoch)
      storageFailure(disk)
      local.set(key, json)
    },
    async delete(key) {
      await ready()
      await disk.synced(epoch)
      storageFailure(disk)
      local.delete(key)
    },
    async *range(prefix) {
      await ready()
      for await (const [key, json] of sorted(local, prefix)) {
        yield [key, JSON.parse(json) as unknown]
      }
    },
    async close() {
      open = false
    },
  }
}

function createFakeIdentityStore(disk: FakeDisk): IdentityStore {
  const { epoch } = disk
  const shelf = shelfOf(disk)
  function putAway(name: string): void {
    shelf.archived.push(name)
    shelf.tables = undefined
    shelf.unsynced = []
    shelf.snapshots.clear()
    disk.removeDirectory("/raft/wal")
    disk.removeDirectory("/identity")
  }
  return {
    async open() {
      await disk.synced(epoch)
      storageFailure(disk)
      shelf.bootCount++
      const random = Math.floor(disk.options.random.next() * 2 ** 32)
      const boot = `${shelf.bootCount}-${random.toString(16).padStart(8, "0")}`
      const { identity, bootCount } = shelf
      return { identity, boot, bootCount, foreign: false }
    },
    async write(identity) {
      await disk.synced(epoch)
      storageFailure(disk)
      shelf.identity = identity
    },
    async archive(clusterId) {
      await disk.synced(epoch)
      storageFailure(disk)
      putAway(clusterId)
    },
    async quarantine({ clusterId, memberId }) {
      await disk.synced(epoch)
      storageFailure(disk)
      putAway(`quarantine/${clusterId}-${memberId}`)
      return `/quarantine/${clusterId}-${memberId}`
    },
  }
}

function createFakeBlobStore(disk: FakeDisk): BlobStore {
  const { epoch } = disk
  const { blobs, blobTimes } = shelfOf(disk)
  return {
    async has(digest) {
      await disk.alive(epoch)
      const blob = blobs.get(digest)
      return blob && { bytes: blob.length }
    },
    async put(source, expect) {
      const parts: Uint8Array[] = []
      for await (const part of source) parts.push(Uint8Array.from(part))
      const blob = Uint8Array.from(Buffer.concat(parts))
      const digest = createHash("sha256").update(blob).digest("hex")
      if (expect !== undefined && digest !== expect) {
        throw new TroupeError("ERR_BLOB_CORRUPT", "other bytes", {
          expected: expect,
          actual: digest,
        })
      }
      await disk.synced(epoch)
      storageFailure(disk)
      blobs.set(digest, blob)
      blobTimes.set(digest, disk.options.clock.boottime())
      return { digest, bytes: blob.length }
    },
    async *read(digest, range = { offset: 0 }) {
      await disk.alive(epoch)
      const blob = blobs.get(digest)
      if (!blob) throw new TroupeError("ERR_BLOB_NOT_FOUND", "no such blob", { digest })
      const end = range.offset + (range.length ?? blob.length)
      const part = blob.subarray(range.offset, end)
      if (part.length > 0) yield part
    },
    async remove(digest) {
      await disk.alive(epoch)
      blobs.delete(digest)
    },
    async *list() {
      await disk.alive(epoch)
      for (const [digest, blob] of blobs) {
        yield { digest, bytes: blob.length, at: blobTimes.get(digest) ?? 0 }
      }
    },
  }
}

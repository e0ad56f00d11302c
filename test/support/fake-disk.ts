/** A disk in memory that forgets at a crash what was not synced, in sectors and in the order of directory operations. */
import type { WalFile, WalFiles } from "../../src/storage/wal-files.ts"

const sectorBytes = 512

export interface FakeDiskOptions {
  /** Injected clock: how long a sync takes is waited on it. */
  readonly clock: { sleep(ms: number): Promise<void>; boottime(): number }
  readonly random: { next(): number }
  /** ms of one synced write. */
  readonly syncMs?: () => number
  /** A crash keeps any of the sectors that were not synced; else it keeps none. */
  readonly torn?: boolean
  /** A crash may lose table writes out of the middle, as LevelDB was seen to do. */
  readonly losesTableRows?: boolean
}

/** Thrown by a file operation that the crash came before. Nobody is to catch it but the crash. */
export class PowerLoss extends Error {}

interface FileState {
  content: Uint8Array
  syncedLength: number
  /** Sectors written since the last sync, as they were before. */
  readonly old: Map<number, Uint8Array>
  /** The same of sectors whose sync failed: the system holds them for clean and never writes them again. */
  readonly lost: Map<number, Uint8Array>
}

type NameChange =
  | { readonly kind: "set"; readonly name: string; readonly file: FileState }
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }

/** The disk of one simulated machine. Stores made before a crash() are dead after it; new ones see what is left. */
export class FakeDisk {
  readonly options: FakeDiskOptions
  /** Counts crashes: work begun in another epoch never ends. */
  epoch = 0
  /** Set: every write from now on fails with this. */
  failure: string | undefined
  /** The next sync of a file fails, as after an I/O error: what it was for can be read, but is on no disk. */
  failsNextSync = false
  /** File operations until the power goes; a test of every crash point counts it up. */
  operationsLeft = Number.POSITIVE_INFINITY
  operations = 0
  readonly #crashing: (() => void)[] = []
  readonly #directories = new Map<string, FakeDirectory>()

  constructor(options: FakeDiskOptions) {
    this.options = options
  }

  directory(path: string): FakeDirectory {
    let directory = this.#directories.get(path)
    if (!directory) {
      directory = new FakeDirectory(this)
      this.#directories.set(path, directory)
    }
    return directory
  }

  removeDirectory(path: string): void {
    this.#directories.delete(path)
  }

  /** What is durable in the files now; calling what is returned puts it back, as a restored backup does. */
  image(): () => void {
    const files = [...this.#directories].map(([path, directory]) => {
      return [path, directory.image()] as const
    })
    return () => {
      this.#directories.clear()
      for (const [path, image] of files) this.directory(path).restore(image)
    }
  }

  /** Runs at each crash, before unsynced sectors are lost: what was under way may get some way further. */
  onCrash(run: () => void): void {
    this.#crashing.push(run)
  }

  /** kill -9 and power loss at once. */
  crash(): void {
    this.epoch++
    for (const run of this.#crashing) run()
    this.operationsLeft = Number.POSITIVE_INFINITY
    this.failure = undefined
    for (const directory of this.#directories.values()) directory.crash()
  }

  chance(): boolean {
    return this.options.random.next() < 0.5
  }

  /** Waits as a synced write does; for ever if the machine crashes meanwhile. */
  async synced(epoch: number): Promise<void> {
    await this.options.clock.sleep(this.options.syncMs?.() ?? 0)
    await this.alive(epoch)
  }

  async alive(epoch: number): Promise<void> {
    if (epoch !== this.epoch) await new Promise<never>(() => {})
  }

  /** Each file operation passes here. */
  operation(): void {
    this.operations++
    if (this.operationsLeft <= 0) throw new PowerLoss("the power is gone")
    this.operationsLeft--
    if (this.failure !== undefined) throw new Error(this.failure)
  }
}

export class FakeDirectory implements WalFiles {
  readonly #disk: FakeDisk
  #names = new Map<string, FileState>()
  #durable = new Map<string, FileState>()
  #changes: NameChange[] = []

  constructor(disk: FakeDisk) {
    this.#disk = disk
  }

  list(): readonly string[] {
    return [...this.#names.keys()]
  }

  read(name: string): Uint8Array {
    return this.#file(name).content.slice()
  }

  create(name: string): WalFile {
    this.#disk.operation()
    const file: FileState = {
      content: new Uint8Array(),
      syncedLength: 0,
      old: new Map(),
      lost: new Map(),
    }
    this.#change({ kind: "set", name, file })
    return this.#handle(file)
  }

  open(name: string): WalFile {
    return this.#handle(this.#file(name))
  }

  rename(from: string, to: string): void {
    this.#disk.operation()
    this.#file(from)
    this.#change({ kind: "rename", from, to })
  }

  remove(name: string): void {
    this.#disk.operation()
    this.#file(name)
    this.#change({ kind: "remove", name })
  }

  syncDirectory(): void {
    this.#disk.operation()
    this.#durable = new Map(this.#names)
    this.#changes = []
  }

  /** Replaces a file's bytes, as damage does. */
  damage(name: string, change: (bytes: Uint8Array) => Uint8Array): void {
    const file = this.#file(name)
    file.content = change(file.content.slice())
    file.syncedLength = file.content.length
  }

  image(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.#durable].map(([name, file]) => [name, syncedContent(file)]))
  }

  restore(image: ReadonlyMap<string, Uint8Array>): void {
    for (const [name, bytes] of image) {
      const content = bytes.slice()
      const file = { content, syncedLength: content.length, old: new Map(), lost: new Map() }
      this.#names.set(name, file)
    }
    this.#durable = new Map(this.#names)
    this.#changes = []
  }

  crash(): void {
    const { torn } = this.#disk.options
    const keep = torn
      ? Math.floor(this.#disk.options.random.next() * (this.#changes.length + 1))
      : 0
    this.#names = new Map(this.#durable)
    for (const change of this.#changes.slice(0, keep)) apply(this.#names, change)
    this.#durable = new Map(this.#names)
    this.#changes = []
    for (const file of new Set(this.#names.values())) this.#forget(file, torn ?? false)
  }

  #forget(file: FileState, torn: boolean): void {
    for (const [sector, old] of [...file.old, ...file.lost]) {
      if (torn && !file.lost.has(sector) && this.#disk.chance()) continue
      const at = sector * sectorBytes
      file.content.fill(0, at, at + sectorBytes)
      file.content.set(old.subarray(0, Math.max(0, file.content.length - at)), at)
    }
    if (!torn) file.content = file.content.slice(0, file.syncedLength)
    file.syncedLength = file.content.length
    file.old.clear()
    file.lost.clear()
  }

  #change(change: NameChange): void {
    apply(this.#names, change)
    this.#changes.push(change)
  }

  #file(name: string): FileState {
    const file = this.#names.get(name)
    if (!file) throw new Error(`no such file: ${name}`)
    return file
  }

  #handle(file: FileState): WalFile {
    const disk = this.#disk
    return {
      write(bytes, position) {
        disk.operation()
        writeSectors(file, bytes, position)
      },
      datasync() {
        disk.operation()
        if (disk.failsNextSync) {
          disk.failsNextSync = false
          for (const [sector, old] of file.old) file.lost.set(sector, old)
          file.old.clear()
          throw new Error("EIO: i/o error, fdatasync")
        }
        file.old.clear()
        file.syncedLength = file.content.length
      },
      close() {},
    }
  }
}

function syncedContent(file: FileState): Uint8Array {
  const content = file.content.slice()
  for (const [sector, old] of [...file.old, ...file.lost]) {
    const at = sector * sectorBytes
    content.fill(0, at, at + sectorBytes)
    content.set(old.subarray(0, Math.max(0, content.length - at)), at)
  }
  return content.slice(0, file.syncedLength)
}

function apply(names: Map<string, FileState>, change: NameChange): void {
  if (change.kind === "set") names.set(change.name, change.file)
  if (change.kind === "remove") names.delete(change.name)
  if (change.kind === "rename") {
    const file = names.get(change.from)
    if (!file) return
    names.delete(change.from)
    names.set(change.to, file)
  }
}

function writeSectors(file: FileState, bytes: Uint8Array, position: number): void {
  const end = position + bytes.length
  if (end > file.content.length) {
    const grown = new Uint8Array(end)
    grown.set(file.content)
    file.content = grown
  }
  const first = Math.floor(position / sectorBytes)
  for (let sector = first; sector * sectorBytes < end; sector++) {
    if (file.old.has(sector)) continue
    const at = sector * sectorBytes
    file.old.set(sector, file.lost.get(sector) ?? file.content.slice(at, at + sectorBytes))
    file.lost.delete(sector)
  }
  file.content.set(bytes, position)
}

/** Which rows are in memory: all but those of finished runs, which are read from disk when somebody asks for one. */
import { knownVersions, type Run, type VersionRange } from "../schema/index.ts"
import {
  type ClusterRow,
  clusterKey,
  createTables,
  planKey,
  readRun,
  rowPrefixesOf,
  runPrefix,
  standingPrefixes,
  type Tables,
  type View,
  type Write,
} from "../state/index.ts"
import { UnknownVersionError } from "../wire/index.ts"
import type { TableStore } from "./parts.ts"

/** Rows that leave memory in one turn: below 1 ms. */
const evictedPerTurn = 200
const rowsKeptMax = 20_000

/** The rows of the store that belong into memory. UnknownVersionError when a newer troupe wrote them. */
export async function loadRows(
  store: TableStore,
  known: VersionRange = knownVersions,
): Promise<Tables> {
  const tables = createTables()
  const cluster = await store.get(clusterKey)
  const version = cluster === undefined ? 1 : ((JSON.parse(cluster) as ClusterRow).version ?? 1)
  if (version < known.oldest || version > known.newest) {
    const range = `${known.oldest} to ${known.newest}`
    throw new UnknownVersionError(`rows of version ${version}; this troupe knows ${range}`)
  }
  for (const prefix of standingPrefixes) await copyRows(store, tables, prefix)
  const live: string[] = []
  for (const [, row] of tables.range(runPrefix)) {
    if ((row as Run).state !== "finished") live.push((row as Run).id)
  }
  for (const run of live) {
    for (const prefix of rowPrefixesOf(run)) await copyRows(store, tables, prefix)
  }
  return tables
}

async function copyRows(store: TableStore, tables: Tables, prefix: string): Promise<void> {
  for await (const [key, value] of store.rows(prefix)) {
    tables.commit([{ key, value: JSON.parse(value) as unknown }])
  }
}

/** Takes the rows of finished runs out of memory once they are on disk, a few in a turn. The run's own row stays. */
export class Evictions {
  readonly #tables: Tables
  readonly #later: (run: () => void) => void
  readonly #runs: string[] = []
  #working = false

  constructor(tables: Tables, later: (run: () => void) => void) {
    this.#tables = tables
    this.#later = later
  }

  add(runs: readonly string[]): void {
    this.#runs.push(...runs)
    if (this.#working || this.#runs.length === 0) return
    this.#working = true
    this.#later(() => this.#turn())
  }

  #turn(): void {
    const writes: Write[] = []
    while (this.#runs.length > 0 && writes.length < evictedPerTurn) {
      const left = evictedPerTurn - writes.length
      const rows = rowsInMemory(this.#tables, this.#runs[0]!, left)
      if (rows.length < left) this.#runs.shift()
      writes.push(...rows)
    }
    this.#tables.commit(writes)
    this.#working = this.#runs.length > 0
    if (this.#working) this.#later(() => this.#turn())
  }
}

/** Deletions of rows of a run that are in memory, the plan's first. */
function rowsInMemory(tables: Tables, run: string, limit: number): readonly Write[] {
  const writes: Write[] = []
  for (const prefix of rowPrefixesOf(run)) {
    const page = tables.page(prefix, { after: undefined, limit: limit - writes.length })
    writes.push(...page.map(([key]) => ({ key, value: undefined })))
    if (writes.length >= limit) break
  }
  return writes
}

/** Runs that these writes finish. */
export function finishedBy(writes: readonly Write[]): readonly string[] {
  const finished: string[] = []
  for (const { key, value } of writes) {
    if (!key.startsWith(runPrefix) || value === undefined) continue
    if ((value as Run).state === "finished") finished.push((value as Run).id)
  }
  return finished
}

/** Views of runs, from memory while they are there, else from disk; the latest read are kept. */
export class RunViews {
  readonly #tables: Tables
  readonly #store: TableStore
  /** Least recently asked for first. A finished run's rows never change. */
  readonly #kept = new Map<string, Tables>()
  #rowsKept = 0

  constructor(tables: Tables, store: TableStore) {
    this.#tables = tables
    this.#store = store
  }

  /** A view in which all rows of this run are, beside everything that is in memory. */
  async of(run: string): Promise<View> {
    if (this.#tables.get(planKey(run)) !== undefined) return this.#tables
    if (readRun(this.#tables, run)?.state !== "finished") return this.#tables
    const known = this.#kept.get(run)
    if (known !== undefined) {
      this.#kept.delete(run)
      this.#kept.set(run, known)
      return new RunView(this.#tables, known, run)
    }
    const rows = createTables()
    for (const prefix of rowPrefixesOf(run)) await copyRows(this.#store, rows, prefix)
    this.#keep(run, rows)
    return new RunView(this.#tables, rows, run)
  }

  #keep(run: string, rows: Tables): void {
    if (this.#kept.has(run)) return
    this.#kept.set(run, rows)
    this.#rowsKept += rows.size
    for (const [oldest, { size }] of this.#kept) {
      if (this.#rowsKept <= rowsKeptMax || oldest === run) return
      this.#kept.delete(oldest)
      this.#rowsKept -= size
    }
  }

  clear(): void {
    this.#kept.clear()
    this.#rowsKept = 0
  }
}

/** One finished run's rows over the rows in memory. */
class RunView implements View {
  readonly #tables: View
  readonly #rows: View
  readonly #prefixes: readonly string[]

  constructor(tables: View, rows: View, run: string) {
    this.#tables = tables
    this.#rows = rows
    this.#prefixes = rowPrefixesOf(run)
  }

  #of(key: string): View {
    return this.#prefixes.some((prefix) => key.startsWith(prefix)) ? this.#rows : this.#tables
  }

  get(key: string): unknown {
    return this.#of(key).get(key)
  }

  range(prefix: string): Iterable<readonly [key: string, value: unknown]> {
    return this.#of(prefix).range(prefix)
  }

  rangeDown(prefix: string, before?: string): Iterable<readonly [key: string, value: unknown]> {
    return this.#of(prefix).rangeDown(prefix, before)
  }
}

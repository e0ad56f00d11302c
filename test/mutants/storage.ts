/** Bugs of the log, the snapshots and the tables on disk. */
import { type Check, type Mutant, unit } from "./mutant.ts"

const logStore = unit("storage/log-store")
const tables: readonly Check[] = [{ files: ["test/unit/storage/real-faults.test.ts"] }]

export const storageMutants: readonly Mutant[] = [
  {
    id: "B-02",
    what: "term and vote are two records",
    file: "src/storage/log-store.ts",
    find: 'await this.#write({ kind: "batch", ...batch })',
    replace: `if (batch.hardState) {
      const { term } = this.#tail.hardState
      const vote = batch.hardState.vote
      await this.#write({ kind: "batch", hardState: { ...batch.hardState, term, vote } })
    }
    await this.#write({ kind: "batch", ...batch })`,
    checks: logStore,
  },
  {
    id: "B-07",
    what: "cutting a conflict and appending are two records (openraft 9540c904)",
    file: "src/storage/log-store.ts",
    find: 'await this.#write({ kind: "batch", ...batch })',
    replace: `const [first, ...rest] = batch.entries ?? []
    await this.#write({ kind: "batch", ...batch, entries: first ? [first] : [] })
    if (rest.length > 0) await this.#write({ kind: "batch", entries: rest })`,
    checks: logStore,
  },
  {
    id: "B-08c",
    what: "the log answers without a sync",
    file: "src/storage/wal.ts",
    find: "    segment.file.datasync()\n",
    replace: "",
    checks: unit("storage/wal-writer"),
  },
  {
    id: "B-09a",
    what: "a failed sync is tried again",
    file: "src/storage/wal.ts",
    find: "    segment.file.datasync()\n",
    replace: `    try {
      segment.file.datasync()
    } catch {
      segment.file.datasync()
    }\n`,
    checks: unit("storage/wal"),
  },
  {
    id: "B-09b",
    what: "after an error the log accepts appends again",
    file: "src/storage/wal.ts",
    find: "    this.#broken = true\n    const body",
    replace: "    const body",
    checks: unit("storage/wal"),
  },
  {
    id: "B-14c",
    what: "entries behind a snapshot come back when the log is read",
    file: "src/storage/log-tail.ts",
    find: "if (record.snapshot) this.#entries = []",
    replace: "if (record.snapshot) this.#drop(record.snapshot.index)",
    checks: unit("storage/log-tail"),
  },
  {
    id: "B-23a",
    what: "the applied index is written after the rows, in a batch of its own (etcd 3.5)",
    file: "src/storage/table-store.ts",
    find: "batch.put(markKey, JSON.stringify(mark))\n    await batch.write({ sync: group.some((pending) => pending.sync) })",
    replace:
      "await batch.write({ sync: false })\n    await level.put(markKey, JSON.stringify(mark))",
    checks: tables,
  },
  {
    id: "B-24",
    what: "rows that LevelDB lost from the middle are not missed",
    file: "src/storage/table-store.ts",
    find: "if (!mark || mark.hash !== sum.toString()) {",
    replace: "if (!mark) {",
    checks: tables,
  },
  {
    id: "B-29a",
    what: "a failed write resolves (dragonboat#409)",
    file: "src/storage/log-store.ts",
    find: "for (const waiting of this.#waiting.splice(0)) waiting.reject(error)",
    replace: "for (const waiting of this.#waiting.splice(0)) waiting.resolve()",
    checks: logStore,
  },
]

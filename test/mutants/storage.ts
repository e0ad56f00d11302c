/** Bugs of the log, the snapshots and the tables on disk. */
import { type Mutant, unit } from "./mutant.ts"

const logStore = unit("storage/log-store")
const oneRecord = unit("storage/one-record")

export const storageMutants: readonly Mutant[] = [
  {
    id: "B-02",
    what: "term and vote are two records (hashicorp#661)",
    file: "src/storage/log-store.ts",
    find: 'await this.#write({ kind: "batch", ...batch })',
    replace: `if (batch.hardState) {
      await this.#write({ kind: "batch", hardState: { ...batch.hardState, vote: 0 } })
    }
    await this.#write({ kind: "batch", ...batch })`,
    tests: oneRecord,
  },
  {
    id: "B-07",
    what: "cutting a conflict and appending are two records (openraft 9540c904)",
    file: "src/storage/log-store.ts",
    find: 'await this.#write({ kind: "batch", ...batch })',
    replace: `const [first, ...rest] = batch.entries ?? []
    await this.#write({ kind: "batch", ...batch, entries: first ? [first] : [] })
    if (rest.length > 0) await this.#write({ kind: "batch", entries: rest })`,
    tests: logStore,
  },
  {
    id: "B-08c",
    what: "the log answers without a sync",
    file: "src/storage/wal.ts",
    find: "    segment.file.datasync()\n",
    replace: "",
    tests: unit("storage/wal-writer"),
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
    tests: unit("storage/wal"),
  },
  {
    id: "B-09b",
    what: "after an error the log accepts appends again",
    file: "src/storage/wal.ts",
    find: "    this.#broken = true\n    const body",
    replace: "    const body",
    tests: unit("storage/wal"),
  },
  {
    id: "B-14c",
    what: "entries behind a snapshot come back when the log is read",
    file: "src/storage/log-tail.ts",
    find: "if (record.snapshot) this.#entries = []",
    replace: "if (record.snapshot) this.#drop(record.snapshot.index)",
    tests: oneRecord,
  },
  {
    id: "B-23a",
    what: "the applied index is written after the rows, in a batch of its own (etcd 3.5)",
    file: "src/storage/table-store.ts",
    find: "batch.put(markKey, JSON.stringify(mark))\n    await batch.write({ sync: group.some((pending) => pending.sync) })",
    replace:
      "await batch.write({ sync: false })\n    await level.put(markKey, JSON.stringify(mark))",
    tests: oneRecord,
  },
  {
    id: "B-24a",
    what: "rows that LevelDB lost from the middle are not missed",
    file: "src/storage/table-store.ts",
    find: "if (!mark || mark.hash !== sum.toString()) {",
    replace: "if (!mark) {",
    tests: unit("storage/real-faults"),
  },
  {
    id: "B-24b",
    what: "a record broken in the middle of the log is taken for its torn end",
    file: "src/storage/wal.ts",
    find: 'if (remains.kind === "damage") throw',
    replace: 'if (remains.kind === "damage" && !isLast) throw',
    tests: unit("storage/wal"),
  },
  {
    id: "B-25b",
    what: "the log of another member is taken for the own one (rethinkdb#5289)",
    file: "src/storage/wal.ts",
    find: "if (header.clusterId === clusterId && header.memberId === memberId) return",
    replace: "if (header.clusterId === clusterId) return",
    tests: unit("storage/wal"),
  },
  {
    id: "B-25c",
    what: "a copied data directory starts as the member that it was copied from",
    file: "src/storage/identity-store.ts",
    find: "const foreign = before ? isForeign(before, here) : identity !== undefined",
    replace: "const foreign = before ? false : identity !== undefined && isForeign(here, here)",
    tests: unit("storage/real-faults"),
  },
  {
    id: "B-25e",
    what: "a log that was deleted is begun anew under the old member id",
    file: "src/storage/wal.ts",
    find: 'if (newest > 0) throw new WalCorruption("", 0, "the log of this member is gone")',
    replace: "",
    tests: unit("storage/wal"),
  },
  {
    id: "B-25f",
    what: "the newest segment lost whole is not missed",
    file: "src/storage/wal.ts",
    find: "if (this.#segments.at(-1)! < newest) {",
    replace: "if (this.#segments.at(-1)! < 0) {",
    tests: unit("storage/wal"),
  },
  {
    id: "B-29a",
    what: "a failed write resolves (dragonboat#409)",
    file: "src/storage/log-store.ts",
    find: "for (const waiting of this.#waiting.splice(0)) waiting.reject(error)",
    replace: "for (const waiting of this.#waiting.splice(0)) waiting.resolve()",
    tests: logStore,
  },
]

/** A log in memory: what the core reads while the WAL holds the same on disk. */
import { entrySize } from "./log.ts"
import type { ConfState, Entry, HardState, RaftStorage, Snapshot, SnapshotMeta } from "./types.ts"

export const emptyConfState: ConfState = {
  voters: [],
  learners: [],
  votersOutgoing: [],
  learnersNext: [],
  autoLeave: false,
}

export interface MemoryStorage extends RaftStorage {
  setHardState(hardState: HardState): void
  /** Contiguous entries. Cuts the log where the first of them begins. */
  append(entries: readonly Entry[]): void
  /** The log restarts after the snapshot. False: it is older than the one we have. */
  applySnapshot(snapshot: Snapshot): boolean
  /** Entries up to and including the mark's index go; its term stays known. Entries that are gone are ignored. */
  compact(mark: { readonly index: number }): void
  /** The snapshot that `snapshot()` answers from now on; the log keeps its entries. */
  createSnapshot(meta: SnapshotMeta, data?: Uint8Array): void
}

export interface MemoryStorageStart {
  readonly hardState?: HardState
  /** Where the log begins: entries follow `mark.index`. */
  readonly mark?: SnapshotMeta
  readonly entries?: readonly Entry[]
  /** The membership as of the applied index; the mark's by default. */
  readonly confState?: ConfState
}

/** Shared, never mutated entries: `append` keeps the objects that it is given. */
export function createMemoryStorage(start: MemoryStorageStart = {}): MemoryStorage {
  let hardState: HardState = start.hardState ?? { term: 0, vote: 0, commit: 0 }
  let confState = start.confState ?? start.mark?.confState ?? emptyConfState
  let base = { index: start.mark?.index ?? 0, term: start.mark?.term ?? 0 }
  let kept: Entry[] = []
  let snapshot: Snapshot | undefined = start.mark && {
    meta: start.mark,
    data: new Uint8Array(0),
  }

  const lastIndex = (): number => base.index + kept.length
  const storage: MemoryStorage = {
    initialState: () => ({ hardState, confState }),
    firstIndex: () => base.index + 1,
    lastIndex,
    term(index) {
      if (index === base.index) return base.term
      if (index < base.index) return "compacted"
      return kept[index - base.index - 1]?.term ?? "unavailable"
    },
    entries(low, high, maxBytes) {
      if (low <= base.index) return "compacted"
      if (high > lastIndex() + 1) return "unavailable"
      // Measures while it copies: the rest of a long log is never touched.
      const found: Entry[] = []
      let size = 0
      for (let index = low; index < high; index++) {
        const entry = kept[index - base.index - 1]!
        size += entrySize(entry)
        if (size > maxBytes && found.length > 0) break
        found.push(entry)
      }
      return found
    },
    snapshot: () => snapshot ?? "unavailable",
    setHardState(next) {
      hardState = next
    },
    append(entries) {
      const fresh = entries.filter((entry) => entry.index > base.index)
      const first = fresh[0]
      if (!first) return
      if (first.index > lastIndex() + 1) {
        throw new Error(`append of ${first.index} leaves a gap after ${lastIndex()}`)
      }
      kept.length = first.index - base.index - 1
      for (const entry of fresh) kept.push(entry)
    },
    applySnapshot(next) {
      if (snapshot && next.meta.index <= snapshot.meta.index) return false
      snapshot = next
      confState = next.meta.confState
      base = { index: next.meta.index, term: next.meta.term }
      kept = []
      return true
    },
    compact({ index }) {
      if (index <= base.index) return
      const term = storage.term(index)
      if (typeof term !== "number") throw new Error(`cannot compact to ${index}: ${term}`)
      kept = kept.slice(index - base.index)
      base = { index, term }
    },
    createSnapshot(meta, data = new Uint8Array(0)) {
      if (meta.index > lastIndex()) throw new Error(`snapshot at ${meta.index} is past the log`)
      snapshot = { meta, data }
    },
  }
  storage.append(start.entries ?? [])
  return storage
}

/** Which records may follow which, what a log reads back as, and which segments a mark lets go. */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { LogTail, Replay, SegmentTable } from "../../../src/storage/log-tail.ts"
import type { Entry, LogRecord } from "../../../src/wire/index.ts"
import { entriesOf, hardStateOf, markAt, outline } from "../../support/log-samples.ts"

const start = new LogTail().start()
function batch(parts: Omit<LogRecord & { kind: "batch" }, "kind">): LogRecord {
  return { kind: "batch", ...parts }
}

/** Entries 1 to 10 of term 2, four of them committed. */
const base = [
  start,
  batch({ hardState: hardStateOf(2, 3, 0), entries: entriesOf(1, 10, 2) }),
  batch({ hardState: hardStateOf(2, 3, 4) }),
]

function replayed(records: readonly LogRecord[]): Replay {
  const replay = new Replay()
  for (const record of records) expect(replay.apply(1, record)).toBeUndefined()
  return replay
}

describe("refused", () => {
  test.each<[string, LogRecord, RegExp]>([
    ["an older term", batch({ hardState: hardStateOf(1, 0, 4) }), /term 1 after term 2/],
    ["a second vote in a term", batch({ hardState: hardStateOf(2, 1, 4) }), /a vote for 1 after/],
    ["a gap", batch({ entries: entriesOf(12, 13, 2) }), /entries from 12 in a log from 0 to 10/],
    [
      "a gap inside",
      batch({ entries: [...entriesOf(11, 11, 2), ...entriesOf(13, 13, 2)] }),
      /13 after/,
    ],
    ["a falling term", batch({ entries: entriesOf(11, 11, 1) }), /of term 1 after one of term 2/],
    ["a cut of committed entries", batch({ entries: entriesOf(4, 5, 3) }), /up to 4 are committed/],
    ["a mark past the end", { kind: "mark", mark: markAt(11, 2) }, /a mark at 11/],
    ["another state at a new segment", start, /in another state/],
  ])("%s", (_, record, reason) => {
    expect(replayed(base).apply(1, record)).toMatch(reason)
  })

  test("a log without its beginning", () => {
    expect(new Replay().apply(1, batch({ entries: entriesOf(1, 1) }))).toMatch(/does not begin/)
  })
  test("a snapshot older than the mark", () => {
    const replay = replayed([...base, { kind: "mark", mark: markAt(4, 2) }])
    expect(replay.apply(1, batch({ snapshot: markAt(3, 2) }))).toMatch(/a snapshot at 3/)
  })
  test("a commit past the end, when all is read", () => {
    const replay = replayed([...base, batch({ hardState: hardStateOf(2, 3, 11) })])
    expect(replay.finish()).toMatch(/up to 11 were committed, the log ends at 10/)
  })
  test("entries that dropped segments should not have held", () => {
    const replay = new Replay()
    const later: LogRecord = {
      kind: "start",
      hardState: hardStateOf(1, 0, 5),
      mark: markAt(3),
      lastIndex: 5,
      lastTerm: 1,
    }
    expect(replay.apply(4, later)).toBeUndefined()
    expect(replay.apply(4, batch({ entries: entriesOf(6, 7) }))).toBeUndefined()
    expect(replay.finish()).toMatch(/entries 4 to 5 are missing/)
  })
})

describe("read back", () => {
  test("a vote in a newer term, and the same vote again", () => {
    const replay = replayed([
      ...base,
      batch({ hardState: hardStateOf(2, 3, 5) }),
      batch({ hardState: hardStateOf(3, 1, 5) }),
    ])
    expect(replay.tail.hardState).toEqual(hardStateOf(3, 1, 5))
  })
  test("entries that replace a conflicting end", () => {
    const replay = replayed([...base, batch({ entries: entriesOf(6, 7, 3) })])
    expect(outline(replay.finish() as Entry[])).toBe("1@2 2@2 3@2 4@2 5@2 6@3 7@3")
  })
  test("a snapshot clears all, also what lies beyond it", () => {
    const replay = replayed([
      ...base,
      batch({
        hardState: hardStateOf(4, 0, 8),
        snapshot: markAt(8, 3),
        entries: entriesOf(9, 9, 4),
      }),
    ])
    expect(outline(replay.finish() as Entry[])).toBe("9@4")
    expect(replay.tail.mark).toEqual(markAt(8, 3))
  })
  test("a mark hides what it covers", () => {
    const replay = replayed([...base, { kind: "mark", mark: markAt(4, 2) }])
    expect(outline(replay.finish() as Entry[])).toBe("5@2 6@2 7@2 8@2 9@2 10@2")
  })
})

describe("segments", () => {
  test("those whose entries are all covered go, the newest stays", () => {
    const table = new SegmentTable()
    table.record(1, batch({ entries: entriesOf(1, 5) }))
    table.record(2, batch({ entries: entriesOf(6, 9) }))
    table.record(3, batch({ entries: entriesOf(10, 12) }))
    expect(table.dropThrough(4)).toBe(1)
    expect(table.dropThrough(5)).toBe(2)
    expect(table.dropThrough(12)).toBe(3)
  })
  test("entries that were cut need no segment", () => {
    const table = new SegmentTable()
    table.record(1, batch({ entries: entriesOf(1, 20) }))
    table.record(2, batch({ entries: entriesOf(6, 7, 2) }))
    expect(table.dropThrough(5)).toBe(2)
  })
  test("a snapshot needs nothing before it", () => {
    const table = new SegmentTable()
    table.record(1, batch({ entries: entriesOf(1, 20) }))
    table.record(2, batch({ snapshot: markAt(15) }))
    expect(table.dropThrough(15)).toBe(2)
  })
})

/** Steps that Raft could take, as choices; each becomes a record that may follow. */
const step = fc.record({
  kind: fc.constantFrom("append", "replace", "commit", "mark", "snapshot", "segment"),
  count: fc.integer({ min: 1, max: 6 }),
  back: fc.integer({ min: 0, max: 8 }),
})

test("any log, cut into segments and dropped by its marks, reads back as itself", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Replay()
      const kept: { segment: number; record: LogRecord }[] = []
      const table = new SegmentTable()
      let segment = 1
      const put = (record: LogRecord) => {
        expect(model.apply(segment, record)).toBeUndefined()
        kept.push({ segment, record })
        table.record(segment, record)
      }
      put(start)
      for (const { kind, count, back } of steps) {
        const { hardState, lastIndex, mark } = model.tail
        const { term, commit } = hardState
        if (kind === "append") {
          put(batch({ entries: entriesOf(lastIndex + 1, lastIndex + count, term) }))
        }
        if (kind === "replace") {
          const first = Math.max(commit + 1, mark.index + 1, lastIndex + 1 - back)
          const entries = entriesOf(first, first + count - 1, term + 1)
          put(batch({ hardState: hardStateOf(term + 1, 0, commit), entries }))
        }
        if (kind === "commit") {
          put(batch({ hardState: { ...hardState, commit: Math.max(commit, lastIndex - back) } }))
        }
        if (kind === "mark" && commit - back >= mark.index) {
          put({ kind: "mark", mark: markAt(commit - back, term) })
          const first = table.dropThrough(commit - back)
          while (kept[0]!.segment < first) kept.shift()
        }
        if (kind === "snapshot") {
          const index = Math.max(commit, lastIndex) + back
          put(batch({ hardState: { ...hardState, commit: index }, snapshot: markAt(index, term) }))
        }
        if (kind === "segment") {
          segment++
          put(model.tail.start())
        }
      }
      const again = new Replay()
      for (const { segment: from, record } of kept) {
        expect(again.apply(from, record)).toBeUndefined()
      }
      expect(again.finish()).toEqual(model.finish())
      expect(again.tail).toEqual(model.tail)
    }),
  )
})

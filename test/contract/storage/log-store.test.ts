/** LogStore: what was acknowledged is there when the log is opened again. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  confStateOf,
  entriesOf,
  entryAt,
  hardStateOf,
  markAt,
  outline,
} from "../../support/log-samples.ts"
import { type Machine, machines } from "./machines.ts"

const identity = { clusterId: "a-cluster", memberId: 3 }

describe.each(machines)("LogStore, $kind", ({ make }) => {
  let machine: Machine
  beforeEach(async () => {
    machine = await make()
  })
  afterEach(() => machine.dispose())

  test("a new log is empty and says that it was made", async () => {
    const { log } = machine.stores()
    const opened = await log.open(identity)
    expect(opened).toEqual({
      hardState: hardStateOf(0, 0, 0),
      mark: { index: 0, term: 0, confState: confStateOf() },
      entries: [],
      tornBytes: 0,
      created: true,
    })
    expect(log.stats()).toEqual({ bytes: 0, fsyncP99Ms: 0 })
    await log.close()
  })

  test("entries of every type and the hard state come back", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    const entries = [
      { index: 1, term: 1, type: "EntryNormal", data: new Uint8Array([0, 255, 7]) },
      { index: 2, term: 1, type: "EntryConfChange", data: new Uint8Array() },
      { index: 3, term: 2, type: "EntryConfChangeV2", data: new Uint8Array(100_000).fill(5) },
    ] as const
    await log.append({ hardState: hardStateOf(2, 3, 1), entries })
    await log.append({ hardState: hardStateOf(2, 3, 3) })
    expect(log.stats().bytes).toBeGreaterThan(100_000)
    await log.close()
    const again = machine.stores().log
    const opened = await again.open(identity)
    expect(opened.entries).toEqual(entries)
    expect(opened.hardState).toEqual(hardStateOf(2, 3, 3))
    expect(opened.created).toBe(false)
    await again.close()
  })

  test("many at once are acknowledged in order", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    const order: number[] = []
    await Promise.all(
      Array.from({ length: 500 }, async (_, offset) => {
        await log.append({ entries: [entryAt(offset + 1, 1, 200)] })
        order.push(offset + 1)
      }),
    )
    expect(order).toEqual(Array.from({ length: 500 }, (_, offset) => offset + 1))
    await log.close()
    const again = machine.stores().log
    expect((await again.open(identity)).entries).toEqual(
      Array.from({ length: 500 }, (_, offset) => entryAt(offset + 1, 1, 200)),
    )
    await again.close()
  })

  test("a conflicting end is replaced", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    await log.append({ hardState: hardStateOf(1, 1, 2), entries: entriesOf(1, 8) })
    await log.append({ hardState: hardStateOf(2, 2, 2), entries: entriesOf(4, 5, 2) })
    await log.append({ entries: entriesOf(6, 6, 2) })
    await log.close()
    const again = machine.stores().log
    expect(outline((await again.open(identity)).entries)).toBe("1@1 2@1 3@1 4@2 5@2 6@2")
    await again.close()
  })

  test("a snapshot begins the log anew", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    await log.append({ hardState: hardStateOf(1, 1, 2), entries: entriesOf(1, 8) })
    await log.append({ hardState: hardStateOf(3, 0, 20), snapshot: markAt(20, 3) })
    await log.append({ entries: entriesOf(21, 22, 3) })
    await log.close()
    const again = machine.stores().log
    const opened = await again.open(identity)
    expect(opened.mark).toEqual(markAt(20, 3))
    expect(outline(opened.entries)).toBe("21@3 22@3")
    await again.close()
  })

  test("compaction keeps the mark and what follows it", async () => {
    const { log } = machine.stores({ segmentBytes: 4096 })
    await log.open(identity)
    for (let index = 1; index <= 60; index++) {
      const hardState = hardStateOf(1, 1, index - 1)
      await log.append({ hardState, entries: [entryAt(index, 1, 300)] })
    }
    const before = log.stats().bytes
    await log.compact(markAt(50))
    expect(log.stats().bytes).toBeLessThan(before)
    await log.append({ entries: [entryAt(61, 1, 300)] })
    // An older mark changes nothing.
    await log.compact(markAt(10))
    await log.close()
    const again = machine.stores({ segmentBytes: 4096 }).log
    const opened = await again.open(identity)
    expect(opened.mark).toEqual(markAt(50))
    expect(opened.entries).toEqual(
      Array.from({ length: 11 }, (_, offset) => entryAt(51 + offset, 1, 300)),
    )
    expect(opened.hardState).toEqual(hardStateOf(1, 1, 59))
    // And on: the log of dropped segments goes on in the next.
    await again.compact(markAt(61))
    await again.append({ entries: [entryAt(62)] })
    await again.close()
    const last = machine.stores({ segmentBytes: 4096 }).log
    const ended = await last.open(identity)
    expect(outline(ended.entries)).toBe("62@1")
    expect(ended.hardState.commit).toBe(61)
    await last.close()
  })

  test("a log of another member or cluster is refused", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    await log.close()
    for (const other of [
      { ...identity, memberId: 4 },
      { ...identity, clusterId: "b-cluster" },
    ]) {
      await expect(machine.stores().log.open(other)).rejects.toMatchObject({ code: "ERR_STORAGE" })
    }
  })

  test("what cannot follow is refused and not written", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    await log.append({ hardState: hardStateOf(2, 1, 2), entries: entriesOf(1, 3, 2) })
    await expect(log.append({ entries: entriesOf(5, 5, 2) })).rejects.toThrow(/entries from 5/)
    await expect(log.append({ hardState: hardStateOf(2, 2, 2) })).rejects.toThrow(/a vote for 2/)
    await expect(log.append({ entries: entriesOf(2, 2, 3) })).rejects.toThrow(/committed/)
    await log.append({ entries: entriesOf(4, 4, 2) })
    await log.close()
    const again = machine.stores().log
    expect(outline((await again.open(identity)).entries)).toBe("1@2 2@2 3@2 4@2")
    await again.close()
  })

  test("appends that were waiting are written before it closes, later ones are refused", async () => {
    const { log } = machine.stores()
    await log.open(identity)
    const waiting = [1, 2, 3].map((index) => log.append({ entries: [entryAt(index)] }))
    await log.close()
    await Promise.all(waiting)
    await expect(log.append({ entries: [entryAt(4)] })).rejects.toMatchObject({
      code: "ERR_STOPPED",
    })
    await log.close()
    const again = machine.stores().log
    expect(outline((await again.open(identity)).entries)).toBe("1@1 2@1 3@1")
    await again.close()
  })
})

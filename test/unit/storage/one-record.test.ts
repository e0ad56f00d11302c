/** What belongs together is durable together: term and vote, a snapshot and the log it replaces, rows and their mark. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { createTableStore } from "../../../src/storage/index.ts"
import { RowSum } from "../../../src/storage/row-hash.ts"
import { createFakeLogStore, FakeDisk } from "../../support/fake-storage.ts"
import {
  confStateOf,
  entriesOf,
  hardStateOf,
  instantClock,
  markAt,
  seeded,
} from "../../support/log-samples.ts"

const identity = { clusterId: "cluster", memberId: 1 }

test("C-02, B-02: whenever the power goes, term and vote are those of one batch", async () => {
  for (let turns = 0; turns < 60; turns++) {
    const disk = new FakeDisk({ clock: instantClock, random: seeded(turns), torn: true })
    const log = createFakeLogStore(disk)
    await log.open(identity)
    await log.append({ hardState: hardStateOf(5, 2, 0), entries: entriesOf(1, 3, 5) })
    void log.append({ hardState: hardStateOf(7, 3, 0), entries: entriesOf(4, 5, 7) })
    // However far the writing has come.
    for (let turn = 0; turn < turns; turn++) await Promise.resolve()
    disk.crash()
    const { hardState, entries } = await createFakeLogStore(disk).open(identity)
    const found = { ...hardState, last: entries.length }
    expect([
      { term: 5, vote: 2, commit: 0, last: 3 },
      { term: 7, vote: 3, commit: 0, last: 5 },
    ]).toContainEqual(found)
  }
})

test("C-31, B-14: what lay behind a snapshot does not come back when the log is read", async () => {
  const disk = new FakeDisk({ clock: instantClock, random: seeded(1) })
  const log = createFakeLogStore(disk)
  await log.open(identity)
  await log.append({ hardState: hardStateOf(2, 1, 1), entries: entriesOf(1, 8, 2) })
  await log.append({ hardState: hardStateOf(4, 0, 5), snapshot: markAt(5, 3) })
  disk.crash()
  const { entries, mark } = await createFakeLogStore(disk).open(identity)
  expect(mark).toEqual(markAt(5, 3))
  expect(entries).toEqual([])
})

test("C-28, B-23: at no moment of a write do rows and mark speak of different states", async () => {
  const directory = await mkdtemp(join(tmpdir(), "troupe-one-record-"))
  const tables = createTableStore({ directory })
  try {
    await tables.open()
    const write = (index: number): Promise<void> => {
      const rows = Array.from({ length: 20 }, (_, n) => ({ key: `k${n}`, value: `${index}` }))
      return tables.write(rows, { index, term: 1, confState: confStateOf(1) }, { sync: false })
    }
    await write(1)
    for (let index = 2; index <= 60; index++) {
      const state = { writing: true }
      const written = write(index).finally(() => {
        state.writing = false
      })
      while (state.writing) {
        const { mark, rows } = await tables.view()
        const sum = new RowSum()
        for await (const [key, value] of rows) {
          sum.add(key, value)
          expect(value).toBe(`${mark.index}`)
        }
        expect(sum.toString()).toBe(mark.hash)
      }
      await written
    }
  } finally {
    await tables.close()
    await rm(directory, { recursive: true })
  }
})

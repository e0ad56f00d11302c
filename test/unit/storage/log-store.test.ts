/** The log on a simulated disk: nothing is promised before its sync, a crash keeps promises, an error is final. */
import { expect, test } from "vitest"
import { FakeDisk } from "../../support/fake-disk.ts"
import { createFakeLogStore } from "../../support/fake-storage.ts"
import { ManualClock } from "../../support/manual-clock.ts"
import { entriesOf, entryAt, hardStateOf, instantClock, seeded } from "../../support/log-samples.ts"

const identity = { clusterId: "cluster", memberId: 1 }

/** Lets everything run that waits for no clock. */
async function settle(): Promise<void> {
  for (let round = 0; round < 50; round++) await Promise.resolve()
}

test("an append is pending until its sync has ended", async () => {
  const clock = new ManualClock()
  const disk = new FakeDisk({ clock, random: seeded(1), syncMs: () => 10 })
  const log = createFakeLogStore(disk)
  const opening = log.open(identity)
  await settle()
  clock.advance(10)
  await opening
  const done: string[] = []
  void log.append({ entries: [entryAt(1)] }).then(() => done.push("first"))
  await settle()
  clock.advance(4)
  // The first is on its way to the disk: these two go together after it.
  void log.append({ entries: [entryAt(2)] }).then(() => done.push("second"))
  void log.append({ hardState: hardStateOf(1, 1, 1) }).then(() => done.push("third"))
  await settle()
  clock.advance(5)
  await settle()
  expect(done).toEqual([])
  clock.advance(1)
  await settle()
  expect(done).toEqual(["first"])
  clock.advance(9)
  await settle()
  expect(done).toEqual(["first"])
  clock.advance(1)
  await settle()
  expect(done).toEqual(["first", "second", "third"])
  expect(log.stats().fsyncP99Ms).toBe(10)
})

test("a crash in the middle of writing keeps what was acknowledged, for many seeds", async () => {
  let torn = 0
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed)
    const clock = new ManualClock()
    const disk = new FakeDisk({ clock, random, torn: true, syncMs: () => 1 })
    let acknowledged = 0
    let submitted = 0
    let term = 1
    for (let life = 0; life < 4; life++) {
      const log = createFakeLogStore(disk, { segmentBytes: 4096 })
      const opening = log.open(identity)
      await settle()
      clock.advance(1)
      const { entries, hardState, mark, tornBytes } = await opening
      if (tornBytes > 0) torn++
      const last = entries.at(-1)?.index ?? mark.index
      expect(last).toBeGreaterThanOrEqual(acknowledged)
      expect(last).toBeLessThanOrEqual(submitted)
      expect(hardState.term).toBeLessThanOrEqual(term)
      submitted = last
      term++
      for (let round = 0; round < 12; round++) {
        const index = ++submitted
        const entry = entryAt(index, term, Math.floor(random.next() * 1500))
        const commit = Math.max(hardState.commit, acknowledged)
        void log.append({ hardState: hardStateOf(term, 1, commit), entries: [entry] }).then(() => {
          acknowledged = Math.max(acknowledged, index)
        })
        if (random.next() < 0.5) await settle()
        if (random.next() < 0.6) clock.advance(1)
        await settle()
      }
      disk.crash()
    }
  }
  // The seeds do reach the case that they are for.
  expect(torn).toBeGreaterThan(30)
})

test("a crash between the records of a conflict leaves the old end or the new one", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const disk = new FakeDisk({ clock: instantClock, random: seeded(seed), torn: true })
    const log = createFakeLogStore(disk)
    await log.open(identity)
    await log.append({ hardState: hardStateOf(1, 1, 1), entries: entriesOf(1, 6) })
    void log.append({ hardState: hardStateOf(2, 0, 1), entries: entriesOf(3, 4, 2) })
    disk.crash()
    const { entries, hardState } = await createFakeLogStore(disk).open(identity)
    const old = { last: 6, term: 1 }
    const next = { last: 4, term: 2 }
    expect([old, next]).toContainEqual({ last: entries.length, term: hardState.term })
    expect(entries.at(-1)!.term).toBe(hardState.term)
  }
})

test("after an error every append is refused, also when the disk is well again", async () => {
  const disk = new FakeDisk({ clock: instantClock, random: seeded(1) })
  const log = createFakeLogStore(disk)
  await log.open(identity)
  await log.append({ entries: [entryAt(1)] })
  disk.failure = "EIO: i/o error, fdatasync"
  const failed = [log.append({ entries: [entryAt(2)] }), log.append({ entries: [entryAt(3)] })]
  for (const result of await Promise.allSettled(failed)) {
    expect(result).toMatchObject({
      status: "rejected",
      reason: { code: "ERR_STORAGE", details: { reason: "EIO: i/o error, fdatasync" } },
    })
  }
  disk.failure = undefined
  await expect(log.append({ entries: [entryAt(4)] })).rejects.toMatchObject({ code: "ERR_STORAGE" })
  await expect(log.compact({ ...markOne })).rejects.toMatchObject({ code: "ERR_STORAGE" })
  await log.close()
})
const markOne = {
  index: 1,
  term: 1,
  confState: { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}

test("damage names the file and the offset", async () => {
  const disk = new FakeDisk({ clock: instantClock, random: seeded(1) })
  const log = createFakeLogStore(disk)
  await log.open(identity)
  await log.append({ entries: [entryAt(1, 1, 3000)] })
  await log.append({ entries: [entryAt(2)] })
  await log.close()
  disk.directory("/raft/wal").damage("0000000001.wal", (bytes) => {
    bytes[1000]! ^= 1
    return bytes
  })
  await expect(createFakeLogStore(disk).open(identity)).rejects.toMatchObject({
    code: "ERR_LOG_CORRUPT",
    details: { file: "/raft/wal/0000000001.wal", reason: expect.stringContaining("broken record") },
  })
})

test("a disk that stalls poisons the log before memory runs out", async () => {
  const disk = new FakeDisk({ clock: new ManualClock(), random: seeded(1), syncMs: () => 1 })
  const log = createFakeLogStore(disk)
  const opening = log.open(identity)
  await settle()
  ;(disk.options.clock as ManualClock).advance(1)
  await opening
  const appends: Promise<void>[] = []
  // 9 × 30 MiB wait, the limit is 256 MiB.
  for (let index = 1; index <= 9; index++) {
    appends.push(log.append({ entries: [entryAt(index, 1, 30 * 1024 * 1024)] }))
  }
  const results = await Promise.allSettled(appends)
  for (const result of results) {
    expect(result).toMatchObject({
      reason: { code: "ERR_STORAGE", message: expect.stringContaining("the disk is stalled") },
    })
  }
})

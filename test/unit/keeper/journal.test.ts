import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import * as fc from "fast-check"
import { afterEach, beforeEach, expect, test } from "vitest"
import { Journal, type JournalRecord, readJournal } from "../../../src/keeper/journal.ts"
import { anOrder } from "./orders.ts"

let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "journal-"))
  path = join(directory, "journal")
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const accepted = (fence: number): JournalRecord => ({
  type: "accepted",
  spec: anOrder({
    fence,
    env: { A: "1" },
    readiness: { method: "tcp_connect", host: "h", port: "1", timeoutMs: 5 },
    deadlineMs: 7,
  }),
  nonce: "n",
  bootId: "b",
  at: 1000,
})
const target = { run: "r-1", task: "server", fence: 10 }
const one: readonly JournalRecord[] = [
  { type: "bound", clusterId: "c-1", term: 3 },
  accepted(10),
  { type: "started", ...target, pid: 4, ticks: "99", at: 1001 },
  { type: "ready", ...target, at: 1002 },
  { type: "stopping", ...target, at: 1003, graceMs: 5, reason: "told to" },
  {
    type: "ended",
    ...target,
    ending: { outcome: "exited", exitCode: 3, reason: "exited with code 3", stopped: true },
  },
  { type: "forgotten", ...target },
]

async function written(records: readonly JournalRecord[]): Promise<void> {
  const journal = new Journal(path)
  await journal.rewrite(() => [])
  await Promise.all(records.map(async (record) => await journal.append(record)))
  await journal.close()
}

test("records come back in order, as they were", async () => {
  await written(one)
  expect(readJournal(path)).toEqual({ records: one, end: "clean" })
})

test("a journal that is not there is empty", () => {
  expect(readJournal(path)).toEqual({ records: [], end: "clean" })
})

test("a file that is no journal is damaged", () => {
  writeFileSync(path, "something else entirely")
  expect(readJournal(path)).toEqual({ records: [], end: "damaged" })
})

test("cut anywhere, what is read is a beginning of what was written", async () => {
  await written(one)
  const bytes = readFileSync(path)
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 16, max: end }), fc.boolean(), async (cut, zeros) => {
      const kept = bytes.subarray(0, cut)
      writeFileSync(path, zeros ? Buffer.concat([kept, Buffer.alloc(4096)]) : kept)
      const { records } = readJournal(path)
      expect(records).toEqual(one.slice(0, records.length))
    }),
  )
})

test("a flipped bit ends the reading there; nothing false is read", async () => {
  await written(one)
  const bytes = readFileSync(path)
  const end = bytes.findLastIndex((byte) => byte !== 0)
  fc.assert(
    fc.property(fc.integer({ min: 16, max: end }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
      const flipped = Buffer.from(bytes)
      flipped[at] = flipped[at]! ^ (1 << bit)
      writeFileSync(path, flipped)
      const { records } = readJournal(path)
      expect(records.length).toBeLessThan(one.length)
      expect(records).toEqual(one.slice(0, records.length))
    }),
  )
})

test("the file is written ahead, so that appends do not change its size", async () => {
  const journal = new Journal(path)
  await journal.rewrite(() => [])
  const before = statSync(path).size
  await journal.append(accepted(1))
  expect(statSync(path).size).toBe(before)
  expect(before).toBeGreaterThan(1 << 20)
  await journal.close()
})

test("a full journal grows, and says when it is large", async () => {
  const journal = new Journal(path)
  await journal.rewrite(() => [])
  const big = { ...anOrder(), argv: ["x".repeat(100_000)] }
  for (let fence = 1; fence <= 50; fence++) {
    await journal.append({ ...accepted(fence), spec: { ...big, fence } } as JournalRecord)
  }
  expect(journal.isLarge).toBe(true)
  expect(readJournal(path).records).toHaveLength(50)
  await journal.rewrite(() => [accepted(1)])
  expect(journal.isLarge).toBe(false)
  expect(readJournal(path).records).toEqual([accepted(1)])
  await journal.close()
})

test("appends around a rewrite all stand in the new file", async () => {
  const journal = new Journal(path)
  const known: JournalRecord[] = []
  // As the supervisor does: what is appended is known before.
  const append = async (fence: number) => {
    known.push(accepted(fence))
    await journal.append(accepted(fence))
  }
  await journal.rewrite(() => [])
  const before = append(1)
  const rewritten = journal.rewrite(() => [...known])
  const during = append(2)
  await before
  const after = append(3)
  await Promise.all([rewritten, during, after])
  const fences = readJournal(path).records.map((record) =>
    record.type === "accepted" ? record.spec.fence : 0,
  )
  expect(new Set(fences)).toEqual(new Set([1, 2, 3]))
  await journal.close()
})

test("after a failed write nothing is taken until the journal is written anew", async () => {
  const journal = new Journal(path)
  await journal.rewrite(() => [])
  await journal.append(accepted(1))
  await journal.close()
  await expect(journal.append(accepted(2))).rejects.toThrow("not open")
  expect(journal.failed).toBeDefined()
  await expect(journal.append(accepted(3))).rejects.toThrow("not open")
  await journal.rewrite(() => [accepted(1)])
  expect(journal.failed).toBeUndefined()
  await journal.append(accepted(4))
  expect(readJournal(path).records).toEqual([accepted(1), accepted(4)])
  await journal.close()
})

test("a rewrite that fails leaves the old journal as it was", async () => {
  const journal = new Journal(path)
  await journal.rewrite(() => [])
  await journal.append(accepted(1))
  const blocked = new Journal(join(directory, "no", "such", "place"))
  await expect(blocked.rewrite(() => [])).rejects.toThrow("ENOENT")
  expect(readJournal(path).records).toEqual([accepted(1)])
  await journal.close()
})

test("what came later stands behind everything else: an older program's records are read", async () => {
  const limited = { ...accepted(11), spec: anOrder({ fence: 11, limits: { pids: 5, cpus: 0.5 } }) }
  const paths: JournalRecord = { type: "limited", ...target, fence: 11, paths: ["/sys/a", "/b"] }
  await written([accepted(10), limited, paths])
  expect(readJournal(path).records).toEqual([accepted(10), limited, paths])
  // Without a cgroup a start has the bytes that version 1 wrote, and none behind them.
  await written([{ type: "started", ...target, pid: 4, ticks: "99", at: 5 }])
  const old = Buffer.from("\u0002\u0003r-1\u0006server\n\u0004\u000299\u0005")
  const bytes = readFileSync(path)
  expect(bytes.readUInt32LE(16)).toBe(old.length)
  expect(bytes.subarray(24, 24 + old.length)).toEqual(old)
})

test("a record of a kind that only a later program knows: nothing behind it is believed", async () => {
  await written([accepted(10)])
  const bytes = readFileSync(path)
  const length = bytes.readUInt32LE(16)
  const payload = Buffer.from([99, 1, 2, 3])
  const at = 16 + 8 + length
  bytes.writeUInt32LE(payload.length, at)
  bytes.writeUInt32LE(crc32(payload), at + 4)
  payload.copy(bytes, at + 8)
  writeFileSync(path, bytes)
  expect(readJournal(path)).toEqual({ records: [accepted(10)], end: "newer" })
})

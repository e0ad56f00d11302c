/** The log on files: what it reads back after every kind of damage and after a crash at every step. */
import { describe, expect, test } from "vitest"
import { frameBytes, headerBytes, WalCorruption } from "../../../src/storage/wal-format.ts"
import { Wal, type WalGroup, type WalOpened } from "../../../src/storage/wal.ts"
import { FakeDisk, type FakeDirectory, PowerLoss } from "../../support/fake-disk.ts"
import { instantClock, seeded } from "../../support/log-samples.ts"

const segmentBytes = 2048
const directory = "/wal"
const outside = "/outside"

function newDisk(seed = 1, torn = false): FakeDisk {
  return new FakeDisk({ clock: instantClock, random: seeded(seed), torn })
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Opens the log and lists its items as text. */
function open(
  disk: FakeDisk,
  identity = { clusterId: "cluster", memberId: 7 },
): { wal: Wal; groups: WalGroup[]; items: string[]; opened: WalOpened } {
  let salt = 1
  const wal = new Wal(disk.directory(directory), {
    ...identity,
    segmentBytes,
    outside: disk.directory(outside),
    salt: () => (salt = (salt * 48271) % 0x7fffffff),
  })
  const groups: WalGroup[] = []
  const opened = wal.open(bytesOf("start"), (group) => groups.push(group))
  const items = groups.flatMap((group) => group.items.map((item) => Buffer.from(item).toString()))
  return { wal, groups, items, opened }
}

function append(wal: Wal, ...texts: string[]): void {
  wal.append(texts.map((text) => ({ payload: bytesOf(text), start: bytesOf("start") })))
}

/** A log of one segment: its beginning, then these three frames. */
const frames = [["alpha"], ["beta", "b".repeat(700)], ["gamma", "g".repeat(900)]]
const written = ["start", ...frames.flat()]

function sample(): FakeDisk {
  const disk = newDisk()
  const { wal } = open(disk)
  for (const frame of frames) append(wal, ...frame)
  return disk
}

function files(disk: FakeDisk): FakeDirectory {
  return disk.directory(directory)
}

const first = "0000000001.wal"
const lastFrameBytes = frameBytes(4 + 5 + 4 + 900)

function corruption(work: () => unknown): WalCorruption {
  try {
    work()
  } catch (error) {
    if (error instanceof WalCorruption) return error
    throw error
  }
  throw new Error("no corruption was found")
}

test("a new log begins with its state, and is found again", () => {
  const disk = newDisk()
  expect(open(disk).opened).toEqual({ tornBytes: 0, created: true })
  const again = open(disk)
  expect(again.opened).toEqual({ tornBytes: 0, created: false })
  expect(again.items).toEqual(["start"])
})

test("items come back in order, one group for each append", () => {
  const { groups, items } = open(sample())
  expect(items).toEqual(written)
  expect(groups.map((group) => group.items.length)).toEqual([1, 1, 2, 2])
})

test("an append of many items is one write and one sync", () => {
  const disk = newDisk()
  const { wal } = open(disk)
  const before = disk.operations
  append(wal, ...Array.from({ length: 20 }, (_, number) => `item ${number}`))
  expect(disk.operations - before).toBe(2)
})

test("a log of another member is refused", () => {
  const disk = sample()
  expect(() => open(disk, { clusterId: "cluster", memberId: 8 })).toThrow(/of member 7 .* not of/)
  expect(() => open(disk, { clusterId: "other", memberId: 7 })).toThrow(/of cluster cluster, not/)
})

describe("C-25: torn or damaged", () => {
  const end = open(sample()).groups.at(-1)!.offset + lastFrameBytes

  test("any flipped bit of what was written is found, with its file", () => {
    for (let position = 0; position < end; position++) {
      const bit = 1 << ((position * 5) % 8)
      const disk = sample()
      files(disk).damage(first, (bytes) => {
        bytes[position]! ^= bit
        return bytes
      })
      const found = corruption(() => open(disk))
      expect(found.file).toBe(first)
      expect(found.offset).toBeLessThanOrEqual(position)
    }
  })

  test("a bit set where nothing was written yet is cut, and nothing else", () => {
    for (let position = end; position < segmentBytes; position++) {
      const disk = sample()
      files(disk).damage(first, (bytes) => {
        bytes[position]! ^= 4
        return bytes
      })
      expect(open(disk).items).toEqual(written)
    }
  })

  test.each([
    ["the file ends", (bytes: Uint8Array, at: number) => bytes.slice(0, at)],
    ["zeros follow", (bytes: Uint8Array, at: number) => bytes.fill(0, at)],
  ])("the last frame is cut off where %s, wherever that is", (_, cut) => {
    for (let at = end - lastFrameBytes + 1; at < end; at++) {
      const disk = sample()
      files(disk).damage(first, (bytes) => cut(bytes, at))
      const { wal, items, opened } = open(disk)
      expect(items).toEqual(["start", ...frames.slice(0, 2).flat()])
      // Counted to the last byte that is not zero.
      expect(opened.tornBytes).toBeGreaterThan(0)
      expect(opened.tornBytes).toBeLessThanOrEqual(at - (end - lastFrameBytes))
      // The room is used again, and nothing of the old frame comes back.
      append(wal, "delta")
      const again = open(disk)
      expect(again.items.at(-1)).toBe("delta")
      expect(again.opened.tornBytes).toBe(0)
    }
  })

  test("a sector of the last frame that never arrived makes it torn", () => {
    for (let sector = Math.ceil((end - lastFrameBytes) / 512); sector * 512 < end; sector++) {
      const disk = sample()
      files(disk).damage(first, (bytes) => bytes.fill(0, sector * 512, (sector + 1) * 512))
      const { items, opened } = open(disk)
      expect(items).toEqual(["start", ...frames.slice(0, 2).flat()])
      expect(opened.tornBytes).toBeGreaterThan(0)
    }
  })

  test("a lost sector before the last frame is damage, not a torn end", () => {
    const disk = sample()
    files(disk).damage(first, (bytes) => bytes.fill(0, 512, 1024))
    expect(corruption(() => open(disk)).message).toMatch(/a later one begins/)
  })

  test("a user cannot make a torn write look like damage by bytes in an entry", () => {
    const foreign = files(sample()).read(first).slice(headerBytes, end)
    const disk = newDisk()
    const { wal } = open(disk)
    const text = "x".repeat(600)
    wal.append([{ payload: Buffer.concat([foreign, bytesOf(text)]), start: bytesOf("start") }])
    const [begin] = open(disk).groups.slice(-1)
    const name = files(disk)
      .list()
      .find((file) => file === begin!.file)!
    files(disk).damage(name, (bytes) => bytes.fill(0, bytes.length - 512))
    expect(open(disk).items).toEqual(["start"].concat(name === first ? [] : ["start"]))
  })
})

function filled(): { disk: FakeDisk; wal: Wal; items: string[] } {
  const disk = newDisk()
  const { wal } = open(disk)
  const items = Array.from({ length: 12 }, (_, number) => `${number} ${"s".repeat(500)}`)
  for (const item of items) append(wal, item)
  return { disk, wal, items }
}

const withoutStarts = (items: readonly string[]) => items.filter((item) => item !== "start")

describe("segments", () => {
  test("a full segment is followed by the next, which begins with the state", () => {
    const { disk, items } = filled()
    const { groups, items: found } = open(disk)
    expect(withoutStarts(found)).toEqual(items)
    expect(new Set(groups.map((group) => group.segment)).size).toBe(4)
    expect(found.filter((item) => item === "start").length).toBe(4)
  })

  test("a frame larger than a segment has one of its own", () => {
    const disk = newDisk()
    const { wal } = open(disk)
    append(wal, "l".repeat(3 * segmentBytes))
    append(wal, "after")
    expect(withoutStarts(open(disk).items)).toEqual(["l".repeat(3 * segmentBytes), "after"])
  })

  test("dropping removes the oldest and leaves the rest readable", () => {
    const { disk, wal, items } = filled()
    wal.drop(3)
    const found = withoutStarts(open(disk).items)
    expect(found).toEqual(items.slice(-found.length))
    expect(files(disk).list()).not.toContain("0000000002.wal")
    expect(files(disk).list()).toContain("0000000003.wal")
  })

  test("the current segment is never dropped", () => {
    const { disk, wal } = filled()
    wal.drop(99)
    expect(open(disk).groups.length).toBeGreaterThan(0)
  })

  test("a segment missing in the middle is damage", () => {
    const { disk } = filled()
    files(disk).remove("0000000002.wal")
    expect(corruption(() => open(disk)).message).toBe("segment 2 is missing")
  })

  test("a segment whose end was lost is damage, because another follows it", () => {
    const { disk } = filled()
    files(disk).damage("0000000002.wal", (bytes) => bytes.fill(0, 1024))
    expect(corruption(() => open(disk)).file).toMatch(/000000000[23]\.wal/)
  })

  test("a segment that lost whole frames at its end is damage, too", () => {
    const { disk } = filled()
    const second = open(disk).groups.filter((group) => group.segment === 2)
    files(disk).damage("0000000002.wal", (bytes) => bytes.fill(0, second.at(-1)!.offset))
    expect(corruption(() => open(disk)).message).toMatch(/does not follow the segment before/)
  })

  test("the newest segment lost whole is damage, whichever it is", () => {
    for (const lost of [4, 3, 2]) {
      const { disk } = filled()
      for (let number = lost; number <= 4; number++) files(disk).remove(`000000000${number}.wal`)
      const found = corruption(() => open(disk))
      expect(found.message).toBe("the newest segment is missing")
      expect(found.file).toBe("0000000004.wal")
    }
  })

  test("C-38, B-25: a log that is gone is missed: nothing is begun in its place", () => {
    for (const { disk } of [filled(), { disk: sample() }]) {
      for (const name of files(disk).list()) files(disk).remove(name)
      for (let again = 0; again < 2; again++) {
        expect(corruption(() => open(disk)).message).toBe("the log of this member is gone")
        expect(files(disk).list()).toEqual([])
      }
    }
  })

  test("what is known of another member's log does not keep a new one from beginning", () => {
    const { disk } = filled()
    for (const name of files(disk).list()) files(disk).remove(name)
    const { opened } = open(disk, { clusterId: "cluster", memberId: 8 })
    expect(opened.created).toBe(true)
    for (const name of files(disk).list()) files(disk).remove(name)
    expect(corruption(() => open(disk, { clusterId: "cluster", memberId: 8 })).message).toMatch(
      /is gone/,
    )
  })

  test("a log from before there was such a note gets one", () => {
    const { disk } = filled()
    disk.removeDirectory(outside)
    open(disk)
    files(disk).remove("0000000004.wal")
    expect(corruption(() => open(disk)).message).toBe("the newest segment is missing")
  })

  test("any flipped bit of the note is found, with its file", () => {
    const { disk } = filled()
    const note = disk.directory(outside)
    const bytes = note.read("log.json")
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      note.damage("log.json", () => {
        const bad = bytes.slice()
        bad[bit >> 3]! ^= 1 << (bit & 7)
        return bad
      })
      // The last byte ends the line of the sum: nothing is read after it.
      if (bit >= (bytes.length - 1) * 8) continue
      expect(corruption(() => open(disk)).file).toBe("log.json")
    }
  })

  test("a segment under another name is damage", () => {
    const { disk } = filled()
    for (const number of [1, 2, 3]) files(disk).remove(`000000000${number}.wal`)
    files(disk).rename("0000000004.wal", "0000000005.wal")
    expect(corruption(() => open(disk)).message).toBe("a segment of another name")
  })

  test("a prepared spare becomes the next segment", () => {
    const { disk, wal } = filled()
    while (wal.prepare());
    expect(files(disk).list()).toContain("spare")
    const before = disk.operations
    for (let round = 0; round < 2; round++) append(wal, "n".repeat(600))
    // Two appends of two operations; write, sync, rename, directory sync of one new segment and its note outside, which
    // is a new file: no zeros in between.
    expect(disk.operations - before).toBe(2 * 2 + 4 + 5)
    expect(open(disk).items.filter((item) => item.startsWith("n")).length).toBe(2)
  })
})

/** Appends items one after the other, preparing spares; what was acknowledged when the power went. */
function run(disk: FakeDisk): string[] {
  const acknowledged: string[] = []
  try {
    const { wal } = open(disk)
    for (let number = 0; number < 9; number++) {
      const item = `${number} ${String(number).repeat(550)}`
      append(wal, item)
      acknowledged.push(item)
      wal.prepare()
      if (number === 6) wal.drop(2)
    }
  } catch (error) {
    if (!(error instanceof PowerLoss)) throw error
  }
  return acknowledged
}

const whole = (() => {
  const disk = newDisk()
  run(disk)
  return disk.operations
})()

describe("a crash", () => {
  test.each([false, true])("at any operation loses nothing acknowledged (torn: %s)", (torn) => {
    expect(whole).toBeGreaterThan(40)
    for (let operations = 0; operations <= whole; operations++) {
      for (let seed = 1; seed <= (torn ? 12 : 1); seed++) {
        const disk = newDisk(seed, torn)
        disk.operationsLeft = operations
        const acknowledged = run(disk)
        disk.crash()
        const { wal, items } = open(disk)
        const numbers = items.filter((item) => item !== "start").map((item) => Number(item[0]))
        // All from the first that is left; at the end at most the one item that was under way.
        for (const [position, number] of numbers.entries()) {
          expect(number).toBe(numbers[0]! + position)
        }
        const next = (numbers.at(-1) ?? -1) + 1
        expect([acknowledged.length, acknowledged.length + 1]).toContain(next)
        if (acknowledged.length < 7 && next > 0) expect(numbers[0]).toBe(0)
        append(wal, "after")
        disk.crash()
        expect(open(disk).items.at(-1)).toBe("after")
      }
    }
  })

  test("what was read back is durable before it is reported", () => {
    const disk = newDisk()
    const { wal } = open(disk)
    append(wal, "kept")
    // kill -9 between write and sync: the page cache has the bytes, the disk does not.
    disk.operationsLeft = 1
    expect(() => append(wal, "written, not synced")).toThrow(PowerLoss)
    disk.operationsLeft = Number.POSITIVE_INFINITY
    expect(open(disk).items.at(-1)).toBe("written, not synced")
    disk.crash()
    expect(open(disk).items.at(-1)).toBe("written, not synced")
  })
})

test("what a failed sync left only in memory is written again before it is believed", () => {
  const disk = newDisk()
  const { wal } = open(disk)
  append(wal, "kept")
  disk.failsNextSync = true
  expect(() => append(wal, "read back, but on no disk")).toThrow("EIO")
  // The process ends and starts again; the machine does not.
  expect(open(disk).items.at(-1)).toBe("read back, but on no disk")
  disk.crash()
  expect(open(disk).items.at(-1)).toBe("read back, but on no disk")
})

test("after a failed write or sync nothing more is written", () => {
  for (const left of [0, 1]) {
    const disk = newDisk()
    const { wal } = open(disk)
    disk.operationsLeft = left
    expect(() => append(wal, "lost")).toThrow(PowerLoss)
    disk.operationsLeft = Number.POSITIVE_INFINITY
    const before = disk.operations
    expect(() => append(wal, "more")).toThrow("an earlier write failed")
    expect(() => wal.drop(1)).toThrow("an earlier write failed")
    expect(wal.prepare()).toBe(false)
    expect(disk.operations).toBe(before)
  }
})

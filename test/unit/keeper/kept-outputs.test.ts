import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  keptRuns,
  moveOutputs,
  noteRemoved,
  readOutput,
  removedAt,
  removeRuns,
} from "../../../src/keeper/kept-outputs.ts"
import { attemptFiles, type KeeperPaths, keeperPaths } from "../../../src/keeper/paths.ts"
import { SpareFiles } from "../../../src/keeper/spare-files.ts"
import { makeFolders } from "../../../src/keeper/staging.ts"
import { decodeTimes, pointsMax, StreamTimes, timesFile } from "../../../src/keeper/stream-times.ts"
import { readFileSync } from "node:fs"

let directory: string
let paths: KeeperPaths
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "kept-outputs-"))
  paths = keeperPaths(directory)
  makeFolders(paths)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const name = { run: "r-1", task: "shard[3]", attempt: 2, stream: "stdout" } as const
const fileOf = (run: string = name.run) => attemptFiles(paths, { ...name, run }).stdout
const whole = { max: 1 << 20, sizeMax: 1 << 30 }
const text = (data: Uint8Array | undefined) => Buffer.from(data ?? []).toString()

describe("times of a stream", () => {
  const noted = () =>
    existsSync(timesFile(fileOf())) ? decodeTimes(readFileSync(timesFile(fileOf()))) : []

  test("a stream that grew once needs no file; more are told with the silence between them", () => {
    const times = new StreamTimes(fileOf(), { startedAt: 1000, adopted: false })
    times.look(10, 1100, 1250)
    expect(noted()).toEqual([])
    times.look(10, 1100, 1500)
    times.look(10, 1100, 1750)
    times.look(30, 1990, 2000)
    expect(noted()).toEqual([
      { bytes: 10, at: 1100 },
      { bytes: 10, at: 1750 },
      { bytes: 30, at: 1990 },
    ])
  })

  test("a file's time of change is believed only between the looks", () => {
    const times = new StreamTimes(fileOf(), { startedAt: 1000, adopted: false })
    times.look(1, 500, 1200)
    times.look(2, 99_999, 1400)
    expect(noted()).toEqual([
      { bytes: 1, at: 1000 },
      { bytes: 2, at: 1400 },
    ])
  })

  test("an adopted stream goes on behind what was noted", () => {
    const first = new StreamTimes(fileOf(), { startedAt: 0, adopted: false })
    first.look(5, 100, 200)
    first.look(9, 300, 400)
    const next = new StreamTimes(fileOf(), { startedAt: 0, adopted: true })
    next.look(9, 300, 500)
    next.look(12, 600, 700)
    expect(noted().map(({ bytes }) => bytes)).toEqual([5, 9, 9, 12])
  })

  test("however long it grows the points are bounded, in order, and the newest is there", () => {
    const times = new StreamTimes(fileOf(), { startedAt: 0, adopted: false })
    let at = 0
    for (let size = 1; size <= 3 * pointsMax; size++) times.look(size, (at += 250), at)
    const points = noted()
    expect(points.length).toBeLessThanOrEqual(pointsMax + 2)
    expect(points.length).toBeGreaterThan(pointsMax / 4)
    for (const [place, point] of points.slice(1).entries()) {
      expect(point.at).toBeGreaterThanOrEqual(points[place]!.at)
      // One look is 250 ms: each point tells what was there then.
      expect(point.bytes).toBe(point.at / 250)
    }
    expect(points.at(-1)!.bytes).toBeGreaterThan(3 * pointsMax - 20)
  })

  test("what was spoiled is left out, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
        const points = decodeTimes(data)
        for (const [place, point] of points.slice(1).entries()) {
          expect(point.bytes).toBeGreaterThanOrEqual(points[place]!.bytes)
          expect(point.at).toBeGreaterThanOrEqual(points[place]!.at)
        }
      }),
    )
  })
})

describe("reading", () => {
  test("at an offset, with the points around it and the file's own change as the last", async () => {
    const times = new StreamTimes(fileOf(), { startedAt: 0, adopted: false })
    writeFileSync(fileOf(), "one\ntwo\nthree\nfour\n")
    for (const [size, at] of [
      [4, 1000],
      [8, 2000],
      [14, 3000],
    ] as const)
      times.look(size, at, at)
    utimesSync(fileOf(), 4, 4)
    const read = (offset: number, max = 100) =>
      readOutput([paths], name, { start: { offset }, max, sizeMax: 1 << 30 })
    const middle = await read(4, 4)
    expect(text(middle!.data)).toBe("two\n")
    expect(middle).toMatchObject({ offset: 4, size: 19 })
    expect(middle!.points).toEqual([
      { bytes: 4, at: 1000 },
      { bytes: 8, at: 2000 },
    ])
    const rest = await read(8)
    expect(rest!.points.at(-1)).toEqual({ bytes: 19, at: 4000 })
    expect(text((await read(19))!.data)).toBe("")
    expect(
      await readOutput([paths], { ...name, attempt: 9 }, { start: { offset: 0 }, ...whole }),
    ).toBeUndefined()
  })

  test.each([
    [0, 0, "one\ntwo\nthree\nfour\n"],
    [500, 0, "one\ntwo\nthree\nfour\n"],
    [2001, undefined, "three\nfour\n"],
    [3500, undefined, "four\n"],
    [9000, undefined, ""],
  ])("since %i", async (since, _, expected) => {
    const times = new StreamTimes(fileOf(), { startedAt: 0, adopted: false })
    writeFileSync(fileOf(), "one\ntwo\nthree\nfour\n")
    for (const [size, at] of [
      [4, 1000],
      [8, 2000],
      [14, 3000],
    ] as const)
      times.look(size, at, at)
    utimesSync(fileOf(), 4, 4)
    const piece = await readOutput([paths], name, { start: { since }, ...whole })
    expect(text(piece!.data)).toBe(expected)
  })

  test("the last lines: as a list of lines says it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 5, unit: fc.constantFrom("a", "ä", " ") }), {
          maxLength: 20,
        }),
        fc.boolean(),
        fc.nat(22),
        async (lines, isEnded, count) => {
          const content = lines.join("\n") + (isEnded && lines.length > 0 ? "\n" : "")
          writeFileSync(fileOf(), content)
          const piece = await readOutput([paths], name, { start: { lines: count }, ...whole })
          const all = content.split(/(?<=\n)/)
          expect(text(piece!.data)).toBe(count === 0 ? "" : all.slice(-count).join(""))
        },
      ),
      { numRuns: 50 },
    )
  })

  test("a stream that may yet be cut shows only what will stay", async () => {
    writeFileSync(fileOf(), "0123456789")
    const piece = await readOutput([paths], name, { start: { offset: 8 }, max: 10, sizeMax: 9 })
    expect(text(piece!.data)).toBe("8")
  })
})

describe("what is kept", () => {
  test("is counted by run, removed by run, and its removal remembered", async () => {
    writeFileSync(fileOf("r-1"), "x".repeat(10_000))
    writeFileSync(timesFile(fileOf("r-1")), "")
    writeFileSync(fileOf("r-1.2"), "y")
    writeFileSync(fileOf("r-12"), "z")
    writeFileSync(join(paths.out, "%zz.strange"), "not ours")
    const kept = await keptRuns(paths.out)
    expect(kept.map(({ run }) => run).toSorted()).toEqual(["r-1", "r-1.2", "r-12"])
    expect(kept.find(({ run }) => run === "r-1")!.bytes).toBeGreaterThanOrEqual(10_000)
    await removeRuns(paths.out, new Set(["r-1"]))
    expect((await keptRuns(paths.out)).map(({ run }) => run).toSorted()).toEqual(["r-1.2", "r-12"])
    const removed = join(directory, "removed")
    expect(await removedAt(removed, "r-1")).toBeUndefined()
    await noteRemoved(removed, new Set(["r-1"]), 5)
    appendFileSync(removed, '{"run":"r-9","a')
    expect(await removedAt(removed, "r-1")).toBe(5)
    expect(await removedAt(removed, "r-9")).toBeUndefined()
  })

  test("the memory of removals is bounded: the newest stay", async () => {
    const removed = join(directory, "removed")
    for (let part = 0; part < 3; part++) {
      const runs = Array.from({ length: 4000 }, (_, n) => `r-${part * 4000 + n}`)
      await noteRemoved(removed, new Set(runs), part)
    }
    expect(await removedAt(removed, "r-11999")).toBe(2)
    expect(await removedAt(removed, "r-0")).toBeUndefined()
    expect(statSync(removed).size).toBeLessThan(400_000)
  })

  test("moves to the keeper that stays", async () => {
    const newer = keeperPaths(directory, 2)
    makeFolders(newer)
    writeFileSync(fileOf(), "kept")
    await moveOutputs(paths.out, newer.out)
    expect(readdirSync(paths.out)).toEqual([])
    const piece = await readOutput([newer, paths], name, { start: { offset: 0 }, ...whole })
    expect(text(piece!.data)).toBe("kept")
  })
})

describe("spare files", () => {
  test("an empty file is lent again; one with content, or none, is left alone", () => {
    const spares = new SpareFiles(paths.spare)
    const [empty, full, lent] = [fileOf("r-2"), fileOf("r-3"), fileOf("r-4")]
    writeFileSync(empty, "")
    writeFileSync(full, "said")
    const { ino } = statSync(empty)
    for (const path of [empty, full, fileOf("r-5")]) spares.takeBack(path)
    expect(spares.count).toBe(1)
    expect(existsSync(empty)).toBe(false)
    spares.lend(lent)
    expect(statSync(lent).ino).toBe(ino)
    spares.lend(fileOf("r-6"))
    expect(existsSync(fileOf("r-6"))).toBe(false)
    expect(readFileSync(full, "utf8")).toBe("said")
  })

  test("the next keeper has them too, but none with content", () => {
    const spares = new SpareFiles(paths.spare)
    for (const run of ["r-2", "r-3"]) {
      writeFileSync(fileOf(run), "")
      spares.takeBack(fileOf(run))
    }
    writeFileSync(join(paths.spare, "2"), "somebody held it")
    const next = new SpareFiles(paths.spare)
    expect(next.count).toBe(1)
    writeFileSync(fileOf("r-4"), "")
    next.takeBack(fileOf("r-4"))
    expect(next.count).toBe(2)
    expect(readdirSync(paths.spare)).toHaveLength(2)
  })
})

import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import * as fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { candidatesIn } from "../../../src/keeper/cgroups.ts"
import { baseEnvironment, findCommand } from "../../../src/keeper/command.ts"
import { cutMarker } from "../../../src/keeper/output-watch.ts"
import { parseHierarchies } from "../../../src/keeper/hierarchies.ts"
import { takeLock } from "../../../src/keeper/lock.ts"
import { notStarted, seenEnding, unseenEnding } from "../../../src/keeper/outcome.ts"
import { attemptFiles, insideOf, keeperPaths, socketPath } from "../../../src/keeper/paths.ts"
import { parseStat, readBootId } from "../../../src/keeper/process-table.ts"
import { guardedMatcher, LineTail } from "../../../src/keeper/readiness.ts"

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pieces-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

describe("names of output files", () => {
  const paths = keeperPaths("/data")

  test("a plain name stays readable, everything else is escaped", () => {
    const files = attemptFiles(paths, { run: "r-12", task: "shard[3]", attempt: 2 })
    expect(files.stdout).toBe("/data/keeper/out/r-12.shard%5b3%5d.2.out")
    expect(files.directory).toBe("/data/keeper/dir/r-12.shard%5b3%5d.2")
  })

  test("no name leaves the folder, none is too long, and none is given twice", () => {
    const part = fc.oneof(fc.string(), fc.constantFrom("..", "a.b", "a", "b", "é".repeat(300)))
    const name = fc.record({ run: part, task: part, attempt: fc.nat(20) })
    fc.assert(
      fc.property(name, name, (a, b) => {
        const [one, other] = [attemptFiles(paths, a), attemptFiles(paths, b)]
        expect(one.stdout).toBe(join(paths.out, basename(one.stdout)))
        expect(Buffer.byteLength(basename(one.stdout))).toBeLessThanOrEqual(255)
        const same = a.run === b.run && a.task === b.task && a.attempt === b.attempt
        expect(one.stdout === other.stdout).toBe(same)
      }),
    )
  })
})

test("paths stay inside a directory or are none", () => {
  expect(insideOf("/d", "a/b.txt")).toBe("/d/a/b.txt")
  for (const path of ["", "/a", "..", "a/../b", "a//b", "./a", "a/", "a\\b", "a\0"]) {
    expect(insideOf("/d", path), path).toBeUndefined()
  }
})

test("a socket's path fits or is replaced by a short one that is always the same", () => {
  expect(socketPath(keeperPaths(directory), undefined)).toEqual({
    path: join(directory, "keeper", "socket"),
    short: false,
  })
  const deep = join(directory, "d".repeat(90))
  mkdirSync(join(deep, "keeper"), { recursive: true })
  const { path, short } = socketPath(keeperPaths(deep), "/run/user/7")
  expect(short).toBe(true)
  expect(path).toMatch(/^\/run\/user\/7\/troupe-\d+\/[0-9a-f]{16}\.sock$/)
  expect(socketPath(keeperPaths(deep), "/run/user/7").path).toBe(path)
})

test("a stat line is read behind its last bracket", () => {
  const rest = Array.from({ length: 15 }, (_, n) => n).join(" ")
  expect(parseStat(`42 (a) b (c)) S 1 42 43 ${rest} 777 0`)).toEqual({
    pid: 42,
    ticks: "777",
    state: "S",
    parent: 1,
    group: 42,
    session: 43,
  })
  expect(parseStat("")).toBeUndefined()
})

describe("cgroups", () => {
  const hybrid = [
    "30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw",
    "33 25 0:29 / /sys/fs/cgroup/pids rw shared:11 - cgroup cgroup rw,pids",
    "35 25 0:31 / /sys/fs/cgroup/freezer rw shared:13 - cgroup cgroup rw,freezer",
    "36 25 0:32 / /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory",
  ].join("\n")

  test("v2 first, then the freezer, then pids; each below our own", () => {
    const own = "8:pids:/p\n6:freezer:/\n4:memory:/m\n0::/user.slice/me"
    expect(candidatesIn(parseHierarchies(own, hybrid))).toEqual([
      { kind: "cgroup2", directory: "/sys/fs/cgroup/unified/user.slice/me" },
      { kind: "freezer", directory: "/sys/fs/cgroup/freezer" },
      { kind: "pids", directory: "/sys/fs/cgroup/pids/p" },
    ])
  })

  test("a container sees only its part", () => {
    const mounts = "30 25 0:26 /box /sys/fs/cgroup ro - cgroup2 cgroup rw"
    expect(candidatesIn(parseHierarchies("0::/box/jobs", mounts))).toEqual([
      { kind: "cgroup2", directory: "/sys/fs/cgroup/jobs" },
    ])
  })
})

test("jobs begin with a few names of the environment and a usable PATH", () => {
  expect(baseEnvironment({ HOME: "/h", SECRET: "s", TROUPE_TOKEN: "t" })).toEqual({
    HOME: "/h",
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  })
  expect(baseEnvironment({ PATH: "/mine" })["PATH"]).toBe("/mine")
})

test("a program is the first on PATH that can run; one that cannot is named", () => {
  for (const name of ["one", "two"]) mkdirSync(join(directory, name))
  writeFileSync(join(directory, "one", "tool"), "")
  const env = { PATH: `${join(directory, "one")}:${join(directory, "two")}` }
  expect(findCommand("tool", directory, env)).toEqual({
    problem: `not executable: ${join(directory, "one", "tool")}`,
  })
  writeFileSync(join(directory, "two", "tool"), "")
  chmodSync(join(directory, "two", "tool"), 0o755)
  const file = join(directory, "two", "tool")
  expect(findCommand("tool", directory, env)).toEqual({ file, cwd: directory, env })
  expect(findCommand("./two/tool", directory, env)).toEqual({ file, cwd: directory, env })
  expect(findCommand("", directory, env)).toEqual({ problem: "the command is empty" })
  symlinkSync("/nowhere", join(directory, "dangling"))
  expect(findCommand("./dangling", directory, env)).toEqual({
    problem: `command not found: ${join(directory, "dangling")}`,
  })
})

describe("endings", () => {
  const times = { startedAt: 1, endedAt: 2 }
  const stop = { at: 1, graceMs: 1, reason: "cancelled" }
  test.each([
    [{ exitCode: 0 }, undefined, { outcome: "exited", exitCode: 0, stopped: false }],
    [
      { exitCode: 9 },
      undefined,
      { outcome: "exited", exitCode: 9, stopped: false, reason: "exited with code 9" },
    ],
    [{ exitCode: 0 }, stop, { outcome: "exited", exitCode: 0, stopped: true, reason: "cancelled" }],
    [
      { signal: "SIGSEGV" },
      undefined,
      { outcome: "signalled", signal: "SIGSEGV", stopped: false, reason: "killed by SIGSEGV" },
    ],
    [
      { signal: "SIGTERM" },
      stop,
      { outcome: "signalled", signal: "SIGTERM", stopped: true, reason: "cancelled" },
    ],
  ])("%j stopped by %j", (exit, how, expected) => {
    expect(seenEnding(exit, how, times)).toEqual({ ...expected, ...times })
  })

  test("what nobody saw has no exit code", () => {
    expect(unseenEnding(undefined, times)).toEqual({
      outcome: "unknown",
      reason: "its exit status is not known: the keeper was restarted while it ran",
      stopped: false,
      ...times,
    })
    expect(unseenEnding(stop, times)).toMatchObject({ stopped: true })
    expect(notStarted("why", 3)).toEqual({
      outcome: "not_started",
      reason: "why",
      stopped: false,
      endedAt: 3,
    })
  })
})

describe("tails", () => {
  test("whole lines, however they arrive; carriage returns are no part of them", () => {
    const tail = new LineTail()
    expect(tail.push("on")).toEqual([])
    expect(tail.push("e\ntwo\r\nthr")).toEqual(["one", "two"])
    expect(tail.push("ee\n")).toEqual(["three"])
  })

  test("a line without an end is looked at once it rests, and again when it is whole", () => {
    const tail = new LineTail()
    tail.push("login: ")
    const rested = Array.from({ length: 30 }, () => tail.push("")).flat()
    expect(rested).toEqual(["login: "])
    expect(tail.push("x\n")).toEqual(["login: x"])
  })

  test("lines of megabytes are cut, not kept", () => {
    const tail = new LineTail()
    for (let chunk = 0; chunk < 100; chunk++) tail.push("y".repeat(100_000))
    const [line] = tail.push("z\nnext\n")
    expect(line!.length).toBeLessThanOrEqual(16 << 10)
  })

  test("a pattern of exponential time is given up", () => {
    expect(guardedMatcher("^up$")(["down", "up"])).toBe(true)
    expect(guardedMatcher("^up$")(["upper"])).toBe(false)
    expect(() => guardedMatcher("^(a+)+$")([`${"a".repeat(50)}!`])).toThrow(/takes longer than/)
    expect(() => guardedMatcher("(")).toThrow(/Invalid regular expression/)
  })
})

test("the marker of a cut says how much was kept and lost, and when", () => {
  expect(cutMarker(10, { bytes: 5, from: 0, to: 61_001 })).toBe(
    "\n[troupe: output was cut after 10 bytes; at least 5 more were dropped between " +
      "1970-01-01T00:00:00.000Z and 1970-01-01T00:01:01.001Z]\n",
  )
})

describe("the lock", () => {
  const bootId = readBootId()

  test("is taken once, and again when its holder is dead or of another boot", () => {
    expect(takeLock(directory, bootId)).toBeUndefined()
    expect(takeLock(directory, bootId)).toEqual({ heldBy: process.pid })
    expect(takeLock(directory, "after a restart of the host")).toBeUndefined()
  })

  test.each([
    ["a pid with another start time", JSON.stringify({ pid: process.pid, ticks: "1", bootId })],
    ["a file torn by a crash", '{"pid":'],
  ])("%s does not hold it", (_, content) => {
    writeFileSync(join(directory, "lock.7"), content)
    expect(takeLock(directory, bootId)).toBeUndefined()
    expect(takeLock(directory, bootId)).toEqual({ heldBy: process.pid })
  })
})

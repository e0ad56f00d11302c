/** Where limits can be enforced, what is written for them, and what is said where they cannot. */
import { spawnSync } from "node:child_process"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { CgroupFiles } from "../../../src/keeper/cgroup-files.ts"
import { type Cells, findCells } from "../../../src/keeper/controllers.ts"
import type { Hierarchy } from "../../../src/keeper/hierarchies.ts"
import { LimitedCgroups, type LimitHits, readHits, sizeText } from "../../../src/keeper/limits.ts"
import { hitsText, withNotes } from "../../../src/keeper/outcome.ts"
import type { Ending } from "../../../src/schema/index.ts"
import { FakeCgroups } from "../../support/fake-cgroups.ts"

const mount = "/sys/fs/cgroup"
const all = ["cpu", "memory", "pids"]
const pid = 42

function unified(own: string): Hierarchy {
  return { version: 2, controllers: [], mount, own }
}

function search(files: FakeCgroups, own: string): Cells {
  files.put(pid, own)
  return findCells([unified(own)], { name: "t", pid, files })
}

describe("on v2", () => {
  test("in a unit's own subgroup: beside it, in the unit's cgroup, which then hands all three down", () => {
    const files = new FakeCgroups(mount, all)
    const unit = `${mount}/system.slice/troupe.service`
    files.plant(unit, all)
    files.make(`${unit}/main`)
    const { cells, missing } = search(files, `${unit}/main`)
    expect(cells).toEqual([
      { version: 2, base: `${unit}/t`, controllers: ["memory", "cpu", "pids"] },
    ])
    expect(missing).toEqual({})
    expect(files.handedDown(unit)).toEqual(all)
    expect(files.whereIs(pid)).toBe(`${unit}/main`)
    expect(files.has(`${unit}/t`), "nothing is left of the trial").toBe(false)
    expect(limited(files, { cells, missing }).enclose("n1", { pids: 5 })).toMatchObject({
      paths: [`${unit}/t/n1`],
    })
    expect(files.handedDown(`${unit}/t`)).toEqual(all)
    expect(files.read(`${unit}/t/n1/pids.max`)).toBe("5")
  })

  test("in a unit without a subgroup: nothing, and the remedy is said", () => {
    const files = new FakeCgroups(mount, all)
    const unit = `${mount}/system.slice/troupe.service`
    files.plant(unit, all)
    files.writable = [unit]
    const { cells, missing } = search(files, unit)
    expect(cells).toEqual([])
    for (const one of ["memory", "cpu", "pids"] as const) {
      expect(missing[one]).toContain(`${unit}: EBUSY`)
      expect(missing[one]).toContain("DelegateSubgroup=main")
    }
  })

  test("the root hands down although we stand in it", () => {
    const files = new FakeCgroups(mount, all)
    expect(search(files, mount).cells).toMatchObject([{ base: `${mount}/t` }])
  })

  test("only what an ancestor has: the nearest with most of it", () => {
    const files = new FakeCgroups(mount, all)
    files.plant(`${mount}/box`, ["memory", "pids"])
    files.plant(`${mount}/box/jobs`, ["memory", "pids"])
    files.writable = [`${mount}/box`]
    const { cells, missing } = search(files, `${mount}/box/jobs`)
    expect(cells).toEqual([{ version: 2, base: `${mount}/box/t`, controllers: ["memory", "pids"] }])
    expect(Object.keys(missing)).toEqual(["cpu"])
  })

  test("a v1 hierarchy gives what v2 does not have", () => {
    const files = new FakeCgroups(mount, ["hugetlb"])
    const old = new FakeCgroups("/v1/memory", [])
    const of = (path: string) => (path.startsWith("/v1") ? old : files)
    const both: CgroupFiles = {
      read: (path) => of(path).read(path),
      write: (path, text) => of(path).write(path, text),
      make: (path) => of(path).make(path),
      remove: (path) => of(path).remove(path),
      children: (path) => of(path).children(path),
    }
    files.put(pid, mount)
    const memory: Hierarchy = {
      version: 1,
      controllers: ["memory"],
      mount: "/v1/memory",
      own: "/v1/memory",
    }
    const { cells, missing } = findCells([memory, unified(mount)], { name: "t", pid, files: both })
    expect(cells).toEqual([{ version: 1, base: "/v1/memory/t", controllers: ["memory"] }])
    expect(missing.cpu).toContain("no cgroup controller cpu")
  })
})

test("no cgroups at all: each limit has its reason", () => {
  const files = new FakeCgroups(mount, [])
  const { cells, missing } = findCells([], { name: "t", pid, files })
  expect(cells).toEqual([])
  expect(missing.memory).toContain("mount cgroup2")
})

function limited(files: FakeCgroups, found: Cells): LimitedCgroups {
  return new LimitedCgroups(found, { files, shell: "/bin/sh", openFilesMax: 1000 })
}

function ready(): { files: FakeCgroups; limits: LimitedCgroups; path: string } {
  const files = new FakeCgroups(mount, all)
  return { files, limits: limited(files, search(files, mount)), path: `${mount}/t/n1` }
}

test("what is asked is written, and nothing else", () => {
  const { files, limits, path } = ready()
  const made = limits.enclose("n1", { memoryBytes: 1 << 25, cpus: 1.5 })
  expect(made).toMatchObject({ paths: [path] })
  const read = (name: string) => files.read(`${path}/${name}`)
  expect(read("memory.max")).toBe("33554432")
  expect(read("memory.swap.max")).toBe("0")
  expect(read("memory.oom.group")).toBe("1")
  expect(read("cpu.max")).toBe("150000 100000")
  expect(read("pids.max")).toBe("max")
  limits.release([path])
  expect(files.has(path)).toBe(false)
})

test("open files alone need no cgroup; more than the node itself may have is refused", () => {
  const { files, limits } = ready()
  expect(limits.enclose("n1", { openFiles: 64 })).toMatchObject({ paths: [] })
  expect(files.children(`${mount}/t`)).toEqual([])
  expect(limits.enclose("n1", { openFiles: 1001 })).toContain("LimitNOFILE=")
})

test("what cannot be enforced is refused by its name, and not among the abilities", () => {
  const files = new FakeCgroups(mount, all)
  const limits = limited(files, { cells: [], missing: { memory: "why; do this" } })
  expect(limits.enclose("n1", { memoryBytes: 1 << 25 })).toBe(
    "its limit memory cannot be enforced on this node: why; do this",
  )
  expect(limits.abilities.enforced).not.toContain("memory")
  expect(limits.abilities.missing).toEqual([{ limit: "memory", reason: "why; do this" }])
  const dumb = new LimitedCgroups(
    { cells: [], missing: {} },
    { files, shell: undefined, openFilesMax: 9 },
  )
  expect(dumb.abilities.enforced).toEqual([])
})

test("a kernel that refuses a value leaves nothing behind", () => {
  const { files, limits, path } = ready()
  const write = files.write.bind(files)
  files.write = (file, text) => {
    if (file.endsWith("cpu.max")) throw new Error("EINVAL: cpu.max")
    write(file, text)
  }
  expect(limits.enclose("n1", { memoryBytes: 1 << 25, cpus: 1 })).toContain("EINVAL")
  expect(files.has(path)).toBe(false)
})

test("a sweep leaves what is claimed and what is inhabited", () => {
  const { files, limits, path } = ready()
  for (const name of ["n1", "n2", "n3"]) limits.enclose(name, { pids: 5 })
  files.put(7, `${mount}/t/n2`)
  limits.sweep(new Set([path]))
  expect(files.children(`${mount}/t`)).toEqual(["n1", "n2"])
})

test("the launcher enters, then becomes the program; one that cannot says so", () => {
  const { limits } = ready()
  const made = limits.enclose("n1", { openFiles: 32 })
  if (typeof made === "string") throw new Error(made)
  const [file = "", ...args] = made.launcher
  const run = (launcher: readonly string[]) =>
    spawnSync(file, [...launcher, "sh", "-c", 'ulimit -n; echo "$@"', "sh", "a b", "--"], {
      env: { PATH: process.env["PATH"], TROUPE_NONCE: "n0nce" },
      encoding: "utf8",
    })
  expect(run(args)).toMatchObject({ status: 0, stdout: "32\na b --\n", stderr: "" })
  const refused = run([...args.slice(0, -1), "/no/such/cgroup", "--"])
  expect(refused).toMatchObject({
    status: 125,
    stdout: "",
    stderr: "n0nce the cgroup /no/such/cgroup cannot be entered\n",
  })
})

function hits(contents: Record<string, string>) {
  const { files, limits, path } = ready()
  limits.enclose("n1", { pids: 5 })
  files.read = (file) => contents[file.slice(path.length + 1)]
  return readHits([path], files)
}

test("hits are read from v2's files and from v1's", () => {
  expect(hits({ "memory.events": "low 0\noom 4\noom_kill 2\noom_group_kill 1\n" })).toEqual({
    oomKills: 2,
    forksRefused: 0,
  })
  expect(
    hits({ "memory.oom_control": "under_oom 0\noom_kill 1\n", "pids.events": "max 7\n" }),
  ).toEqual({ oomKills: 1, forksRefused: 7 })
  expect(hits({})).toEqual({ oomKills: 0, forksRefused: 0 })
})

describe("how an ending tells of limits", () => {
  const limits = { memoryBytes: 1 << 25, pids: 10 }
  const told = (ending: Ending, seen: LimitHits | undefined) =>
    withNotes(ending, hitsText(ending, seen, limits))
  const killed: Ending = {
    outcome: "signalled",
    signal: "SIGKILL",
    reason: "killed by SIGKILL",
    stopped: false,
  }
  test.each<[Ending, string]>([
    [killed, "killed: out of memory (limit 32 MiB)"],
    [
      { ...killed, stopped: true, reason: "told to" },
      "told to; killed: out of memory (limit 32 MiB)",
    ],
    [
      { outcome: "exited", exitCode: 137, reason: "exited with code 137", stopped: false },
      "exited with code 137; killed: out of memory (limit 32 MiB)",
    ],
    [
      { outcome: "exited", exitCode: 0, stopped: false },
      "a process of it was killed: out of memory (limit 32 MiB)",
    ],
  ])("%o", (ending, reason) => {
    expect(told(ending, { oomKills: 1, forksRefused: 0 }).reason).toBe(reason)
  })

  test("nothing happened: nothing is added", () => {
    expect(told(killed, { oomKills: 0, forksRefused: 0 })).toBe(killed)
    expect(told(killed, undefined)).toBe(killed)
  })
})

test("sizes read as people write them", () => {
  expect(sizeText(32 << 20)).toBe("32 MiB")
  expect(sizeText(1.5 * 2 ** 30)).toBe("1.5 GiB")
  expect(sizeText(1000)).toBe("1000 bytes")
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (bytes) => {
      const [number = "", unit = ""] = sizeText(bytes).split(" ")
      const factor = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }[unit] ?? 0
      // One digit behind the point.
      expect(Math.abs(Number(number) * factor - bytes)).toBeLessThanOrEqual(factor / 20 + 1)
    }),
  )
})

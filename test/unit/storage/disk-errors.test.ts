/** What a real file system's errors do to the log: a full one, one that goes read-only, calls that fail, kill -9 at each. */
import { execFile, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createLogStore } from "../../../src/storage/index.ts"
import { directoryFiles } from "../../../src/storage/wal-files.ts"
import { Wal } from "../../../src/storage/wal.ts"
import { entryAt } from "../../support/log-samples.ts"

const run = promisify(execFile)
const identity = { clusterId: "cluster", memberId: 1 }
const storageExit = 74

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-errors-"))
})
afterEach(() => rm(directory, { recursive: true }))

const child = (name: string): string => join(import.meta.dirname, "children", name)

/** An ext4 of its own on a loop device; undefined where that is not allowed. */
async function loopDisk(mebibytes: number): Promise<string | undefined> {
  const image = join(directory, "image")
  const path = join(directory, "disk")
  await mkdir(path)
  await writeFile(image, "")
  try {
    await run("truncate", ["-s", `${mebibytes}M`, image])
    await run("mkfs.ext4", ["-q", image])
    await run("mount", ["-o", "loop,errors=remount-ro", image, path])
    return path
  } catch {
    // Not root, no loop devices, or no mkfs here: the caller skips.
    return undefined
  }
}

/** Appends until the log refuses; how many were acknowledged, and with what it ended. */
async function appendUntilError(
  path: string,
  after: (acknowledged: number) => Promise<void>,
): Promise<{ acknowledged: number; error: unknown }> {
  const log = createLogStore({ directory: path, segmentBytes: 64 * 1024 })
  await log.open(identity)
  let acknowledged = 0
  try {
    for (;;) {
      await log.append({ entries: [entryAt(acknowledged + 1, 1, 5000)] })
      acknowledged++
      await after(acknowledged)
    }
  } catch (error) {
    await expect(log.append({ entries: [entryAt(acknowledged + 1)] })).rejects.toBe(error)
    await log.close()
    return { acknowledged, error }
  }
}

async function entriesIn(path: string): Promise<number> {
  const log = createLogStore({ directory: path, segmentBytes: 64 * 1024 })
  const { entries } = await log.open(identity)
  await log.close()
  return entries.length
}

describe("a file system of its own", () => {
  test("C-23: that is full ends the log; what was acknowledged is there", async ({ skip }) => {
    const disk = await loopDisk(8)
    if (disk === undefined) skip("mounting a loop device takes root, loop devices and mkfs.ext4")
    try {
      const { acknowledged, error } = await appendUntilError(disk!, async () => undefined)
      expect(error).toMatchObject({
        code: "ERR_STORAGE",
        details: { reason: expect.stringContaining("ENOSPC") },
      })
      expect(acknowledged).toBeGreaterThan(100)
      await cp(disk!, join(directory, "copy"), { recursive: true, filter: isOurs })
      expect(await entriesIn(join(directory, "copy"))).toBeGreaterThanOrEqual(acknowledged)
    } finally {
      await run("umount", [disk!])
    }
  })

  test("C-23: that goes read-only under an open log ends it; what was acknowledged is there", async ({
    skip,
  }) => {
    const disk = await loopDisk(16)
    if (disk === undefined) skip("mounting a loop device takes root, loop devices and mkfs.ext4")
    try {
      const { acknowledged, error } = await appendUntilError(disk!, async (so) => {
        // What ext4 does by itself after an error of its disk; a plain remount refuses while files are open.
        if (so === 30) await run("mount", ["-o", "remount,abort", disk!])
      })
      expect(acknowledged).toBe(30)
      expect(error).toMatchObject({
        code: "ERR_STORAGE",
        details: { reason: expect.stringMatching(/EROFS|EIO/) },
      })
      const again = createLogStore({ directory: disk!, segmentBytes: 64 * 1024 })
      await expect(again.open(identity)).rejects.toMatchObject({ code: "ERR_STORAGE" })
      await cp(disk!, join(directory, "copy"), { recursive: true, filter: isOurs })
      const found = await entriesIn(join(directory, "copy"))
      expect(found).toBeGreaterThanOrEqual(30)
    } finally {
      await run("umount", [disk!])
    }
  })
})

function isOurs(path: string): boolean {
  return !path.includes("lost+found")
}

const hasInjector = spawnSync("fiu-run", ["-h"]).error === undefined

describe("a call that fails, once the log is written to", () => {
  test.for([
    ["fdatasync", "posix/io/sync/fdatasync", 5, "EIO"],
    ["write", "posix/io/rw/pwrite", 5, "EIO"],
    ["write", "posix/io/rw/pwrite", 28, "ENOSPC"],
    ["write", "posix/io/rw/pwrite", 30, "EROFS"],
    ["rename", "posix/io/dir/rename", 5, "EIO"],
    ["fsync of a directory", "posix/io/sync/fsync", 5, "EIO"],
    ["open", "posix/io/oc/open", 24, "EMFILE"],
  ] as const)(
    "C-23: %s (%s, error %i): the process ends with 74, and nothing is lost",
    async (call, { skip }) => {
      if (!hasInjector) skip("fiu-run is not here (Debian: fiu-utils)")
      const [, name, number, code] = call
      const program = spawn("fiu-run", ["-x", process.execPath, child("append.ts"), directory], {
        stdio: ["ignore", "pipe", "pipe"],
      })
      let said = ""
      let errors = ""
      let arming: Promise<unknown> | undefined
      const arm = async (): Promise<void> => {
        const how = `enable name=${name},failinfo=${number}`
        await run("fiu-ctrl", ["-c", how, String(program.pid)])
      }
      program.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text))
      // Read at once, always: the child does not wait for room in the pipe.
      program.stdout.setEncoding("utf8").on("data", (text: string) => {
        said += text
        if (said.split("\n").length > 200) arming ??= arm()
      })
      const ended = once(program, "close")
      const [exitCode] = (await ended) as [number | null]
      await arming
      expect(errors).toContain(code)
      expect(exitCode).toBe(storageExit)
      const acknowledged = said.trim().split("\n").map(Number)
      expect(await entriesIn(directory)).toBeGreaterThanOrEqual(Math.max(...acknowledged))
    },
  )
})

test("C-25, C-27: kill -9 before every write, sync, rename, creation and removal loses nothing acknowledged", async () => {
  let operations = Number.POSITIVE_INFINITY
  for (let at = 1; at <= operations; at++) {
    const place = join(directory, String(at))
    await mkdir(place)
    const { stdout, signal } = spawnSync(
      process.execPath,
      [child("crash-at.ts"), place, String(at)],
      {
        encoding: "utf8",
      },
    )
    const lines = stdout.split("\n").filter((line) => line !== "")
    if (signal === null) operations = Number(lines.at(-1)!.slice("operations ".length))
    const acknowledged = lines.filter((line) => /^\d+$/.test(line)).map(Number)
    const found = readBack(place)
    // All from the first that is left, and at most one that was under way.
    for (const [position, number] of found.entries()) expect(number).toBe(found[0]! + position)
    const next = (found.at(-1) ?? -1) + 1
    expect([acknowledged.length, acknowledged.length + 1]).toContain(next)
  }
  expect(operations).toBeGreaterThan(40)
}, 120_000)

/** Numbers of the items that a log holds after it was opened again. */
function readBack(place: string): number[] {
  const wal = new Wal(directoryFiles(join(place, "wal")), {
    clusterId: "cluster",
    memberId: 1,
    segmentBytes: 4096,
    outside: directoryFiles(join(place, "identity")),
    salt: () => 1,
  })
  const items: string[] = []
  wal.open(Buffer.from("start"), (group) => {
    for (const item of group.items) items.push(Buffer.from(item).toString("latin1"))
  })
  wal.close()
  return items.filter((item) => item !== "start").map((item) => Number(item[0]))
}

/** What kill -9, a full disk and a second process do to real stores. */
import { execFile } from "node:child_process"
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { createLogStore, createTableStore, lockDirectory } from "../../../src/storage/index.ts"
import { confStateOf, entryAt } from "../../support/log-samples.ts"
import { startChild } from "./children/index.ts"

const run = promisify(execFile)
const identity = { clusterId: "cluster", memberId: 1 }

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-faults-"))
})
afterEach(() => rm(directory, { recursive: true }))

test("after kill -9 every acknowledged entry is there, again and again", async () => {
  let acknowledged = 0
  for (const enough of [5, 60, 300, 2000]) {
    const child = startChild("append.ts", directory)
    await child.until((output) => output.split("\n").length > enough)
    const output = await child.kill()
    acknowledged = Math.max(acknowledged, ...output.trim().split("\n").map(Number))
    const log = createLogStore({ directory, segmentBytes: 64 * 1024 })
    const { entries } = await log.open(identity)
    expect(entries.length).toBeGreaterThanOrEqual(acknowledged)
    for (const [position, entry] of entries.entries()) {
      expect(entry).toEqual(entryAt(position + 1, 1, 100 + ((position + 1) % 400)))
    }
    await log.close()
  }
})

/** A file system of its own, of this size; undefined where mounting is not allowed. */
async function smallDisk(kibibytes: number): Promise<string | undefined> {
  const path = join(directory, "disk")
  await mkdir(path)
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${kibibytes}k`, "troupe-test", path])
    return path
  } catch {
    // Not root, or no mounts here: the caller skips.
    return undefined
  }
}

describe("a full disk", () => {
  test("stops the log for good; what was acknowledged is there when there is room", async ({
    skip,
  }) => {
    const disk = await smallDisk(512)
    if (disk === undefined) skip("mounting a small disk takes root")
    try {
      const log = createLogStore({ directory: disk!, segmentBytes: 64 * 1024 })
      await log.open(identity)
      let acknowledged = 0
      const append = async () => {
        for (;;) {
          await log.append({ entries: [entryAt(acknowledged + 1, 1, 5000)] })
          acknowledged++
        }
      }
      await expect(append()).rejects.toMatchObject({
        code: "ERR_STORAGE",
        details: { reason: expect.stringContaining("ENOSPC") },
      })
      expect(acknowledged).toBeGreaterThan(20)
      await rm(join(disk!, "raft", "wal", "spare"), { force: true })
      await expect(log.append({ entries: [entryAt(acknowledged + 1)] })).rejects.toMatchObject({
        code: "ERR_STORAGE",
      })
      await expect(
        log.compact({ index: 1, term: 1, confState: confStateOf(1) }),
      ).rejects.toMatchObject({ code: "ERR_STORAGE" })
      await log.close()

      await cp(join(disk!, "raft"), join(directory, "raft"), { recursive: true })
      const again = createLogStore({ directory, segmentBytes: 64 * 1024 })
      const { entries } = await again.open(identity)
      expect(entries.length).toBeGreaterThanOrEqual(acknowledged)
      expect(entries.length).toBeLessThanOrEqual(acknowledged + 1)
      await again.close()
    } finally {
      await run("umount", [disk!])
    }
  })

  test("stops the tables for good", async ({ skip }) => {
    const disk = await smallDisk(1024)
    if (disk === undefined) skip("mounting a small disk takes root")
    try {
      const tables = createTableStore({ directory: disk! })
      await tables.open()
      const mark = { index: 1, term: 1, confState: confStateOf(1) }
      // Not compressible: LevelDB compresses what it moves to tables.
      const value = Array.from({ length: 8000 }, (_, n) => String.fromCharCode(33 + ((n * n) % 90)))
      const fill = async () => {
        for (let number = 0; ; number++) {
          const row = { key: `k${number}`, value: `${number}${value.join("")}` }
          await tables.write([row], mark, { sync: true })
        }
      }
      await expect(fill()).rejects.toMatchObject({ code: "ERR_STORAGE" })
      await expect(tables.write([], mark, { sync: false })).rejects.toMatchObject({
        code: "ERR_STORAGE",
      })
      await tables.close()
    } finally {
      await run("umount", [disk!])
    }
  })

  test("a log that cannot begin says why", async () => {
    const file = join(directory, "file")
    await writeFile(file, "")
    const log = createLogStore({ directory: file })
    await expect(log.open(identity)).rejects.toMatchObject({ code: "ERR_STORAGE" })
    await log.close()
  })
})

describe("the lock of a data directory", () => {
  test("a second process is told who has it; kill -9 frees it", async () => {
    const child = startChild("hold.ts", directory)
    await child.until((output) => output.includes("locked"))
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      code: "ERR_STORAGE",
      details: { reason: `process ${child.process.pid} uses this data directory` },
    })
    await child.kill()
    const lock = await lockDirectory(directory)
    await lock.unlock()
  })

  test("of many that try at once one has it", async () => {
    const children = Array.from({ length: 4 }, () => startChild("hold.ts", directory))
    const said: string[] = []
    for (const child of children) await child.until((output) => output.includes("\n"))
    for (const child of children) said.push(await child.kill())
    expect(said.filter((line) => line === "locked\n").length).toBe(1)
    expect(said.filter((line) => line.startsWith("refused: ")).length).toBe(3)
  })

  test("it is free again when let go, and held within a process, too", async () => {
    const lock = await lockDirectory(directory)
    await expect(lockDirectory(directory)).rejects.toMatchObject({
      details: { reason: `process ${process.pid} uses this data directory` },
    })
    await lock.unlock()
    await (await lockDirectory(directory)).unlock()
  })
})

test("a bundle finds the log's thread beside itself, and the thread is light", async () => {
  const bundle = join(directory, "bundle")
  const { outputs } = (
    await build({
      entryPoints: {
        append: join(import.meta.dirname, "children/append.ts"),
        "wal-thread": join(import.meta.dirname, "../../../src/storage/wal-thread.ts"),
      },
      outdir: bundle,
      bundle: true,
      format: "esm",
      platform: "node",
      logLevel: "error",
      metafile: true,
    })
  ).metafile
  const thread = Object.entries(outputs).find(([name]) => name.includes("wal-thread"))![1]
  expect(Object.keys(thread.inputs).filter((name) => !name.includes("src/storage/"))).toEqual([])
  await writeFile(join(bundle, "package.json"), JSON.stringify({ type: "module" }))
  const child = startChild(join(bundle, "append.js"), directory)
  await child.until((output) => output.startsWith("1\n"))
  await child.kill()
})

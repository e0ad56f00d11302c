/** Jobs that are rough on whoever runs them: floods of output, endless lines, bytes that are no text, full disks. */
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, type TestContext, test } from "vitest"
import { createClock } from "../../../src/platform/index.ts"
import { isAlive, readStat } from "../../../src/keeper/process-table.ts"
import { printed, readyBy, shell } from "./jobs.ts"
import * as scripts from "./scripts.ts"
import { type RealWorld, realWorld, type Watched } from "./worlds.ts"

const mib = 1 << 20

let world: RealWorld
let node: Watched
async function begin(options: { parent?: string } = {}): Promise<void> {
  world = realWorld(options)
  node = await world.node()
}

async function run(script: ReturnType<typeof shell>, more = {}) {
  const order = world.order(script, more)
  const seen = await node.port.launch(order)
  return { order, seen }
}

async function bytesOf(path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of node.port.content(path)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const sum = (data: Buffer) => createHash("sha256").update(data).digest("hex")

describe("on a disk with room", () => {
  beforeEach(async () => await begin())
  afterEach(async () => await world.end())

  test("1 GiB of output: cut with a mark, the job's end is its own, the keeper stays small", async () => {
    const client = world.client()
    await client.start()
    const before = (await client.status()).rssBytes
    const { order, seen } = await run(shell("head -c 1073741824 /dev/zero; exit 4"), {
      outputBytesMax: mib,
      readiness: { method: "stdout_match", pattern: "never", timeoutMs: 600_000 },
    })
    expect(await node.ending(order)).toMatchObject({ outcome: "exited", exitCode: 4 })
    const kept = await bytesOf(seen.stdout)
    expect(kept.subarray(0, mib).every((byte) => byte === 0)).toBe(true)
    const [, max, dropped] =
      /^\n\[troupe: output was cut after (\d+) bytes; at least (\d+) more were dropped between \S+Z and \S+Z\]\n$/.exec(
        kept.subarray(mib).toString(),
      ) ?? []
    expect(Number(max)).toBe(mib)
    expect(Number(dropped)).toBeGreaterThan(0)
    expect(Number(dropped)).toBeLessThanOrEqual(2 ** 30 - mib)
    const after = (await client.status()).rssBytes
    // A thirty-second of what went by.
    expect(after - before).toBeLessThan(32 * mib)
  })

  test("a line of 10 MB is kept whole and hides no readiness behind it", async () => {
    const line = "head -c 10000000 /dev/zero | tr '\\0' x"
    const { order, seen } = await run(shell(`${line}; echo; echo ready; exec sleep 1000`), {
      outputBytesMax: 16 * mib,
      ...readyBy("^ready$"),
    })
    await node.reached(order, "ready")
    await node.port.end({ ...order, graceMs: 0, reason: "told to" })
    await node.ending(order)
    const kept = await bytesOf(seen.stdout)
    expect(kept.length).toBe(10_000_000 + "\nready\n".length)
    expect(kept.subarray(0, 10_000_000).every((byte) => byte === "x".charCodeAt(0))).toBe(true)
  })

  test("bytes that are no text come home as they were, and readiness is seen among them", async () => {
    const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, n) => (n * 7 + (n >> 8)) % 256))
    writeFileSync(join(world.directory, "blob"), bytes)
    const { order, seen } = await run(
      shell(`cat '${world.directory}/blob'; echo; echo ready; exec sleep 1000`),
      readyBy("^ready$"),
    )
    await node.reached(order, "ready")
    await node.port.end({ ...order, graceMs: 0, reason: "told to" })
    await node.ending(order)
    expect(sum((await bytesOf(seen.stdout)).subarray(0, bytes.length))).toBe(sum(bytes))
  })

  test("whoever reads input gets its end at once; whoever closes all three lives on and is stopped", async () => {
    const reads = await run(shell("if read line; then echo got; else echo end; fi"))
    await node.ending(reads.order)
    expect(await node.text(reads.order)).toBe("end\n")
    const closes = await run(shell("echo up; exec <&- >&- 2>&-; sleep 1000"), readyBy("up"))
    await node.reached(closes.order, "ready")
    await node.port.end({ ...closes.order, graceMs: 500, reason: "told to" })
    expect(await node.ending(closes.order)).toMatchObject({ signal: "SIGTERM", stopped: true })
  })

  test("a daemon: forks, leads a session, forks again, changes its directory, hears nobody", async () => {
    const { order } = await run(
      shell(`
        (setsid sh -c '
          (cd /; trap "" TERM HUP INT; echo $$; sh -c "echo \\$\\$; while :; do sleep 100; done") &
        ' &)
        until [ "$(wc -l < /proc/$$/fd/1)" -ge 2 ]; do sleep 0.01; done
        echo all; sleep 1000`),
      readyBy("all"),
    )
    await node.reached(order, "ready")
    const daemon = printed(await node.text(order)).filter(isAlive)
    expect(daemon.length).toBeGreaterThan(0)
    await node.port.end({ ...order, graceMs: 100, reason: "told to" })
    await node.ending(order)
    expect(daemon.filter(isAlive)).toEqual([])
  })
})

describe("on a disk that fills up", () => {
  let mount: string | undefined
  afterEach(async () => {
    if (mount === undefined) return
    rmSync(join(mount, "filler"), { force: true })
    await world.end()
    // A further spawner that held the log open ends a moment after its keeper.
    while (spawnSync("umount", [mount]).status !== 0) await createClock().sleep(20)
    rmSync(mount, { recursive: true, force: true })
    mount = undefined
  })

  async function smallDisk({ skip }: TestContext, options: string): Promise<string> {
    const place = mkdtempSync(join(tmpdir(), "small-disk-"))
    const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "none", place])
    if (status !== 0) rmSync(place, { recursive: true })
    skip(status !== 0, "this user may not mount")
    mount = place
    await begin({ parent: place })
    return place
  }

  test("by a job's output: the job hears of it, its end and everything else is kept", async (context) => {
    const place = await smallDisk(context, "size=8m")
    const bystander = await run(shell("echo up; exec sleep 1000"), readyBy("up"))
    await node.reached(bystander.order, "ready")
    const { order, seen } = await run(shell("cat /dev/zero; echo $? >&2; exit 7"), {
      outputBytesMax: 1 << 30,
    })
    // What ended is told only when it is on the disk: the journal was written ahead.
    expect(await node.ending(order)).toMatchObject({ outcome: "exited", exitCode: 7 })
    expect(statSync(seen.stdout).size).toBeGreaterThan(5 * mib)
    // So that cat's own complaint has no room either.
    expect((await node.text(order, "stderr")).length).toBeLessThan(100)
    expect((await node.find(bystander.order))!.state).toBe("ready")
    // Two orders of half a megabyte are more than what was written ahead: now nothing can be promised.
    const large = { env: { LARGE: "x".repeat(700_000) } }
    const refused = world.order(scripts.exits(0), large)
    await node.port.launch(world.order(scripts.exits(0), large)).catch(() => undefined)
    await expect(node.port.launch(refused)).rejects.toMatchObject({
      code: "ERR_KEEPER",
      message: expect.stringContaining("journal cannot be written: ENOSPC"),
    })
    const { pid } = (await node.find(bystander.order))!
    expect(isAlive({ pid: pid!, ticks: readStat(pid!)!.ticks })).toBe(true)
    // Room again: the journal is mended by itself, and the refused order may come again.
    await node.port.forget({ ...order, files: true }).catch(() => rmSync(seen.stdout))
    const again = await node.again(async () => await node.port.launch({ ...refused, env: {} }))
    expect(again.attempt).toBe(refused.attempt)
    expect(await node.ending(refused)).toMatchObject({ exitCode: 0 })
    expect(readdirSync(place)).toHaveLength(1)
  })

  test("without room for a directory an attempt is not started, and says why", async (context) => {
    const place = await smallDisk(context, "size=8m,nr_inodes=60")
    mkdirSync(join(place, "filler"))
    let made = 0
    try {
      for (; made < 60; made++) writeFileSync(join(place, "filler", String(made)), "")
    } catch {
      // Full: that was the point.
    }
    expect(made).toBeLessThan(60)
    const { seen } = await run(scripts.exits(0), { directory: true })
    expect(seen.ending).toMatchObject({ outcome: "not_started", stopped: false })
    expect(seen.ending?.reason).toContain("ENOSPC")
    const bare = await run(scripts.exits(0))
    expect(bare.seen.ending?.reason).toContain("ENOSPC")
    rmSync(join(place, "filler"), { recursive: true })
    const { order } = await run(scripts.exits(0), { directory: true })
    expect(await node.ending(order)).toMatchObject({ exitCode: 0 })
  })
})

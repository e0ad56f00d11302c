/** After an update: the old keeper keeps its jobs, a new one gets the new, and nobody can tell but by the paths. */
import { existsSync, mkdirSync, readdirSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { join } from "node:path"
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest"
import type { KeeperClient } from "../../../src/keeper/index.ts"
import { isAlive, readStat } from "../../../src/keeper/process-table.ts"
import {
  decodeRequest,
  encodeReply,
  FrameReader,
  type Reply,
  type Request,
} from "../../../src/keeper/protocol.ts"
import { createClock } from "../../../src/platform/index.ts"
import type { KeeperAttempt } from "../../../src/wire/index.ts"
import { shell } from "./jobs.ts"
import * as scripts from "./scripts.ts"
import { type RealWorld, realWorld, Watched } from "./worlds.ts"

let world: RealWorld
beforeEach(() => {
  world = realWorld()
})
afterEach(async () => await world.end())

async function node(build: string): Promise<{ client: KeeperClient; watched: Watched }> {
  const client = world.client(build)
  const watched = new Watched(client)
  await client.start()
  return { client, watched }
}

/** A node of the older build that leaves one job running and one ended. */
async function older() {
  const { client, watched } = await node("one")
  const runs = world.order(shell("echo from the old; exec sleep 1000"))
  const over = world.order(scripts.says("was over"))
  const gone = world.order(scripts.exits(0))
  for (const order of [runs, over, gone]) await client.launch(order)
  for (const order of [over, gone]) await watched.ending(order)
  await client.forget({ ...gone, files: true })
  const { pid } = await client.status()
  await client.stop()
  return { runs, over, gone, keeper: { pid, ticks: readStat(pid)!.ticks } }
}

const folders = () => readdirSync(world.directory).filter((name) => name.startsWith("keeper"))

test("old jobs stay with the old keeper, new ones go to a new one; both are served", async () => {
  const { runs, over, keeper } = await older()
  const { client, watched } = await node("two")
  expect(folders()).toEqual(["keeper", "keeper-2"])
  expect(client.generations).toBe(2)
  expect((await client.status()).pid).not.toBe(keeper.pid)
  const fresh = world.order(scripts.says("new"))
  const { stdout } = await client.launch(fresh)
  expect(stdout).toContain("/keeper-2/")
  await watched.ending(fresh)
  const all = await client.list()
  expect(all.map(({ task }) => task).toSorted()).toEqual(
    [runs.task, over.task, fresh.task].toSorted(),
  )
  for (const [order, text] of [
    [over, "was over"],
    [fresh, "new"],
    [runs, "from the old\n"],
  ] as const) {
    expect(await watched.text(order)).toBe(text)
    const chunks: Uint8Array[] = []
    for await (const chunk of client.content((await watched.find(order))!.stdout)) {
      chunks.push(chunk)
    }
    expect(Buffer.concat(chunks).toString()).toBe(text)
  }
  await client.end({ ...runs, graceMs: 100, reason: "told to" })
  expect(await watched.ending(runs)).toMatchObject({ signal: "SIGTERM", reason: "told to" })
})

test("the old one leaves with the last job that nobody has forgotten, and so do its files", async () => {
  const { runs, over, keeper } = await older()
  const { client, watched } = await node("two")
  await client.end({ ...runs, graceMs: 0, reason: "told to" })
  await watched.ending(runs)
  await client.forget({ ...runs, files: true })
  expect(client.generations, "its ended one may still be asked for").toBe(2)
  await client.forget({ ...over, files: true })
  expect(client.generations).toBe(1)
  expect(folders()).toEqual(["keeper-2"])
  while (isAlive(keeper)) await createClock().sleep(10)
  // The next start finds only the new one.
  await client.stop()
  const again = await node("two")
  expect(again.client.generations).toBe(1)
  expect(folders()).toEqual(["keeper-2"])
})

test("fences hold across: the same order is the same attempt, older ones are refused, newer ones end it first", async () => {
  const { runs, over, gone } = await older()
  const { client, watched } = await node("two")
  const before = (await watched.find(runs))!
  expect(await client.launch(runs)).toEqual(before)
  expect(await client.launch(over)).toMatchObject({ state: "ended" })
  await expect(client.launch(gone)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
  await expect(client.launch({ ...runs, fence: runs.fence - 1 })).rejects.toMatchObject({
    code: "ERR_LEASE_LOST",
  })
  const job = { pid: before.pid!, ticks: readStat(before.pid!)!.ticks }
  const next = { ...runs, fence: 1000, attempt: 2 }
  const seen = await client.launch(next)
  expect(seen.stdout).toContain("/keeper-2/")
  expect(isAlive(job)).toBe(false)
  expect(await watched.ending(runs)).toMatchObject({ reason: "superseded by attempt 2" })
})

test("an older keeper that dies is followed by a new program on its journal", async () => {
  const { runs, over, keeper } = await older()
  const { client, watched } = await node("two")
  process.kill(keeper.pid, "SIGKILL")
  const found = await watched.again(async () => await client.list())
  expect(found.map(({ task }) => task).toSorted()).toEqual([runs.task, over.task].toSorted())
  expect(client.generations).toBe(2)
  await client.end({ ...runs, graceMs: 0, reason: "told to" })
  expect(await watched.ending(runs)).toMatchObject({ outcome: "unknown", stopped: true })
})

test("a keeper of another build that has nothing to do leaves at once; ours reads its journal", async () => {
  const { client, watched } = await node("one")
  const over = world.order(scripts.exits(3))
  await client.launch(over)
  await watched.ending(over)
  const { pid } = await client.status()
  await client.stop()
  const next = await node("two")
  expect(next.client.generations).toBe(1)
  expect(folders()).toEqual(["keeper"])
  expect((await next.client.status()).pid).not.toBe(pid)
  expect(await next.client.list()).toMatchObject([{ state: "ended", ending: { exitCode: 3 } }])
})

test("three builds in a row, each with a job: three generations", async () => {
  const { runs } = await older()
  const second = await node("two")
  const between = world.order(scripts.sleeps)
  await second.client.launch(between)
  await second.client.stop()
  const third = await node("three")
  expect(folders()).toEqual(["keeper", "keeper-2", "keeper-3"])
  const last = world.order(scripts.sleeps)
  await third.client.launch(last)
  const live = (await third.client.list()).filter(({ state }) => state === "started")
  expect(live.map(({ task }) => task).toSorted()).toEqual(
    [runs.task, between.task, last.task].toSorted(),
  )
})

test("jobs of another cluster in an older keeper: nothing else is started meanwhile", async () => {
  await older()
  const { client } = await node("two")
  const other = world.order(scripts.exits(0), { clusterId: "c-2" })
  await expect(client.launch(other)).rejects.toMatchObject({ code: "ERR_FORBIDDEN" })
  expect(existsSync(`${world.directory}/keeper-2`)).toBe(true)
})

/** A keeper of version 1, as far as a node of today talks to it: one job that runs until it is told to end. */
async function versionOne(directory: string): Promise<{ server: Server; asked: string[] }> {
  mkdirSync(join(directory, "keeper"), { mode: 0o700 })
  const asked: string[] = []
  const job: KeeperAttempt = {
    run: "r-1",
    task: "old",
    attempt: 1,
    fence: 5,
    state: "started",
    pid: 1,
    stdout: "/o",
    stderr: "/e",
    outputBytesMax: 9,
  }
  const ended: KeeperAttempt = {
    ...job,
    state: "ended",
    ending: { outcome: "signalled", signal: "SIGTERM", reason: "told to", stopped: true },
  }
  let known: KeeperAttempt[] = [job]
  const server = createServer((socket) => {
    const frames = new FrameReader()
    const answer = ({ op }: Request): Reply => {
      asked.push(op)
      if (op === "hello") return { kind: "hello", version: 1, pid: 1 }
      if (op === "list") return { kind: "page", attempts: known, next: 0 }
      if (op === "end") {
        known = [ended]
        socket.write(encodeReply(0, { kind: "change", attempt: ended }))
      }
      if (op === "forget") known = []
      if (op !== "shutdown") return { kind: "done" }
      if (known.length === 0) setImmediate(() => socket.end())
      return { kind: "leaving", leaving: known.length === 0 }
    }
    socket.on("error", () => undefined)
    socket.on("data", (chunk) => {
      for (const frame of frames.push(chunk)) {
        const { id, request } = decodeRequest(frame)
        socket.write(encodeReply(id, answer(request)))
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(join(directory, "keeper", "socket"), resolve))
  return { server, asked }
}

test("a keeper of version 1 is served in its own words, gets no launch, and is let go", async () => {
  const { server, asked } = await versionOne(world.directory)
  onTestFinished(() => void server.close())
  const { client, watched } = await node("two")
  expect(client.generations).toBe(2)
  // Its journal says nothing of a cluster: it is another one's, so nothing starts while its job runs.
  const fresh = world.order(scripts.says("new"))
  await expect(client.launch(fresh)).rejects.toMatchObject({ code: "ERR_FORBIDDEN" })
  await client.end({ run: "r-1", task: "old", fence: 5, graceMs: 0, reason: "told to" })
  expect(await watched.ending({ run: "r-1", task: "old", fence: 5 })).toMatchObject({
    reason: "told to",
  })
  expect((await client.launch(fresh)).stdout).toContain("/keeper-2/")
  await client.forget({ run: "r-1", task: "old", fence: 5, files: true })
  expect(client.generations).toBe(1)
  expect(folders()).toEqual(["keeper-2"])
  expect(asked).not.toContain("launch")
})

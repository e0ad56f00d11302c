import { realCgroups } from "../../../src/keeper/cgroup-files.ts"
import { LimitedCgroups } from "../../../src/keeper/limits.ts"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { Book } from "../../../src/keeper/book.ts"
import type { JournalRecord } from "../../../src/keeper/journal.ts"
import { keeperPaths } from "../../../src/keeper/paths.ts"
import type { Exit, Spawner, SpawnOrder } from "../../../src/keeper/spawner.ts"
import { makeFolders } from "../../../src/keeper/staging.ts"
import { Supervisor, type SupervisorParts } from "../../../src/keeper/supervisor.ts"
import type { KeeperAttempt } from "../../../src/wire/index.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"
import { anOrder } from "./orders.ts"

/** A disk that answers only when the test lets it. */
class HeldJournal {
  readonly records: JournalRecord[] = []
  readonly waiting: { record: JournalRecord; settle: (error?: Error) => void }[] = []
  failed: Error | undefined
  isLarge = false
  rewritten: readonly JournalRecord[] | undefined

  append(record: JournalRecord): Promise<void> {
    if (this.failed) return Promise.reject(this.failed)
    return new Promise((resolve, reject) => {
      this.waiting.push({ record, settle: (error) => (error ? reject(error) : resolve()) })
    })
  }

  async rewrite(records: () => readonly JournalRecord[]): Promise<void> {
    this.rewritten = records()
    this.failed = undefined
  }

  release(): void {
    for (const { record, settle } of this.waiting.splice(0)) {
      this.records.push(record)
      settle()
    }
  }

  fail(): void {
    this.failed = new Error("disk full")
    for (const { settle } of this.waiting.splice(0)) settle(this.failed)
  }
}

/** A pid that no process has. */
const nobody = { pid: 4_194_300, ticks: "1" }

class HeldSpawner implements Spawner {
  readonly orders: { order: SpawnOrder; exited: (exit: Exit) => void }[] = []

  async spawn(order: SpawnOrder, exited: (exit: Exit) => void) {
    this.orders.push({ order, exited })
    return { process: nobody }
  }
}

let directory: string
let journal: HeldJournal
let spawner: HeldSpawner
let clock: VirtualClock
let told: KeeperAttempt[]
let parts: SupervisorParts
let supervisor: Supervisor

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "supervisor-"))
  journal = new HeldJournal()
  spawner = new HeldSpawner()
  clock = new VirtualClock()
  told = []
  const paths = keeperPaths(directory)
  makeFolders(paths)
  parts = {
    paths,
    clock,
    journal,
    spawner,
    cgroups: undefined,
    limits: new LimitedCgroups(
      { cells: [], missing: { memory: "no memory controller; use another host" } },
      { files: realCgroups, shell: "/bin/sh", openFilesMax: 1000 },
    ),
    spares: undefined,
    sweeper: undefined,
    bootId: "boot",
    environment: { PATH: process.env["PATH"] ?? "" },
    setpriv: undefined,
    log: () => undefined,
    changed: (attempt) => told.push(attempt),
  }
  supervisor = new Supervisor(new Book(), parts)
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

/** Everything that can go on without the disk has gone on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

async function started(more = {}) {
  const order = anOrder(more)
  const launched = supervisor.launch(order)
  await settled()
  journal.release()
  return { order, seen: await launched }
}

test("nothing is spawned before `accepted` is on the disk", async () => {
  const launched = supervisor.launch(anOrder())
  await settled()
  expect(journal.waiting.map(({ record }) => record.type)).toEqual(["bound", "accepted"])
  expect(spawner.orders).toHaveLength(0)
  journal.release()
  expect((await launched).state).toBe("started")
  expect(spawner.orders).toHaveLength(1)
})

test("an end is not told before it is on the disk", async () => {
  await started()
  journal.release()
  spawner.orders[0]!.exited({ exitCode: 3 })
  await settled()
  expect(journal.waiting.map(({ record }) => record.type)).toEqual(["ended"])
  expect(told.map(({ state }) => state)).toEqual(["started"])
  expect(supervisor.page(0).attempts[0]).toMatchObject({ state: "started" })
  journal.release()
  await settled()
  expect(told.at(-1)).toMatchObject({ state: "ended", ending: { exitCode: 3 } })
})

test("an order that the disk refuses never was: it may come again", async () => {
  const launched = supervisor.launch(anOrder())
  await settled()
  journal.fail()
  await expect(launched).rejects.toMatchObject({ code: "ERR_KEEPER" })
  expect(spawner.orders).toHaveLength(0)
  expect(supervisor.known).toBe(0)
  await expect(supervisor.launch(anOrder())).rejects.toMatchObject({ code: "ERR_KEEPER" })
  clock.step()
  await settled()
  const again = supervisor.launch(anOrder())
  await settled()
  journal.release()
  expect((await again).state).toBe("started")
})

test("an end that the disk refuses is told when the journal is mended", async () => {
  await started()
  journal.release()
  spawner.orders[0]!.exited({ signal: "SIGSEGV" })
  await settled()
  journal.fail()
  await settled()
  expect(told.at(-1)).toMatchObject({ state: "started" })
  while (journal.failed && clock.step()) await settled()
  expect(journal.rewritten?.at(-1)).toMatchObject({ type: "ended", ending: { signal: "SIGSEGV" } })
  expect(told.at(-1)).toMatchObject({ state: "ended", ending: { signal: "SIGSEGV" } })
})

test("what is stopped before it was spawned is not spawned", async () => {
  const order = anOrder()
  const launched = supervisor.launch(order)
  await settled()
  let isPromised = false
  const stopped = supervisor
    .end(order, { graceMs: 0, reason: "cancelled" })
    .then(() => (isPromised = true))
  await settled()
  expect(isPromised, "a stop is promised only when it is on the disk").toBe(false)
  journal.release()
  await stopped
  await settled()
  journal.release()
  expect((await launched).ending).toMatchObject({
    outcome: "not_started",
    stopped: true,
    reason: "cancelled (before it was started)",
  })
  expect(spawner.orders).toHaveLength(0)
})

test("ten thousand attempts are known at most", async () => {
  const book = new Book()
  book.apply({ type: "bound", clusterId: "c-1", term: 1 })
  for (let fence = 1; fence <= 10_000; fence++) {
    const spec = anOrder({ fence, task: `t-${fence}` })
    book.apply({ type: "accepted", spec, nonce: "n", bootId: "boot", at: 0 })
  }
  const full = new Supervisor(book, parts)
  const launched = full.launch(anOrder({ fence: 10_001 }))
  await expect(launched).rejects.toMatchObject({ code: "ERR_LIMIT" })
})

test("another cluster's outputs are put aside, not mixed with the new one's", async () => {
  const { order, seen } = await started({ directory: true })
  spawner.orders[0]!.exited({ exitCode: 0 })
  await settled()
  journal.release()
  await settled()
  expect(existsSync(seen.directory!)).toBe(true)
  const other = await started({ ...order, clusterId: "c-2", directory: false })
  expect(other.seen.state, "the same run, task and fence, not the same attempt").toBe("started")
  expect(existsSync(seen.directory!)).toBe(false)
  expect(supervisor.page(0).attempts).toHaveLength(1)
})

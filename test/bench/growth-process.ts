/** One replica with many rows, alone in its process: how long each thing takes and how long it kept the main loop.
 *  `node growth-process.ts DIRECTORY ROWS`: a JSON line a phase. */
import { Replica } from "../../src/node/replica.ts"
import type { ReplicaParts } from "../../src/node/replica-options.ts"
import { timingFrom } from "../../src/node/index.ts"
import { createClock, createRandom, silentLogger } from "../../src/platform/index.ts"
import type { Run } from "../../src/schema/index.ts"
import { createScheduler } from "../../src/scheduler/index.ts"
import {
  eventKey,
  listRuns,
  planKey,
  readTasks,
  runId,
  runKey,
  taskKey,
} from "../../src/state/index.ts"
import {
  createBlobStore,
  createIdentityStore,
  createLocalStore,
  createLogStore,
  createSnapshotStore,
  createTableStore,
} from "../../src/storage/index.ts"
import type { LogMark, Row } from "../../src/wire/index.ts"
import { FakeKeeper } from "../support/fake-keeper.ts"
import { FakeNetwork } from "../support/fake-mesh.ts"
import { aDeclaration, aGroup, aPlan } from "../support/plans.ts"
import { SeededRandom } from "../support/random.ts"
import { VirtualClock } from "../support/virtual-clock.ts"

const tasksPerRun = 498
const eventsPerRun = 500
const rowsPerRun = tasksPerRun + eventsPerRun + 2
const clusterId = "growth"
const submits = 2000

const [directory = "", rowsText = "1000000"] = process.argv.slice(2)
const runs = Math.ceil(Number(rowsText) / rowsPerRun)
const mark: LogMark = {
  index: runs + 1,
  term: 1,
  confState: { voters: [1], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
}
const declared = aDeclaration({ name: "n1", peerId: "peer-1" })
const plan = aPlan([aGroup("shard", { count: tasksPerRun })])

const row = (key: string, value: unknown): Row => [key, JSON.stringify(value)]
const refuse = async (): Promise<never> => await Promise.reject(new Error("not in this bench"))

/** In the order of keys: what a cluster holds that has finished so many runs, each of many tasks. */
function* rows(): Generator<Row> {
  const cluster = { cluster: "bench", clusterId, pristine: false, time: 1 }
  yield row("cluster", cluster)
  yield row("member/0000000000000001", { id: 1, role: "voter", ...declared })
  for (let number = 1; number <= runs; number++) {
    const run = runId(number, 0)
    for (let n = 1; n <= eventsPerRun; n++) {
      const id = `${number}-${n}`
      yield row(eventKey(run, n), { id, at: 1, type: "task-ended", task: `shard[${n}]` })
    }
    yield row(planKey(run), plan)
    yield row(runKey(run), { ...aRun(run), label: `label-${number}` })
    for (let index = 0; index < tasksPerRun; index++) {
      yield row(taskKey({ run, group: "shard", index }), aTask(run, index))
    }
  }
}

function aRun(id: string): Omit<Run, "label"> {
  const base = { id, kind: "manifest", principal: "bench", entryNode: "n1", createdAt: 1 }
  return {
    ...base,
    state: "finished",
    verdict: "succeeded",
    deadlineAt: 2,
    endedAt: 2,
    events: 500,
  }
}

function aTask(run: string, index: number): unknown {
  const attempt = { n: 1, fence: 9, node: 1, lease: 3, address: "10.0.0.1", state: "ended" }
  const times = { assignedAt: 1, startedAt: 1, readyAt: 1, endedAt: 2 }
  const ending = { outcome: "exited", exitCode: 0, stopped: false }
  const attempts = [{ ...attempt, ...times, ending }]
  const name = `shard[${index}]`
  const state = { state: "finished", result: "succeeded" }
  return { run, group: "shard", index, name, ...state, attempts, outputs: [] }
}

async function* asRows(): AsyncGenerator<Row> {
  yield* rows()
}

/** Looks at the main loop every millisecond: how late it was, and how much CPU this thread took meanwhile. On a machine
 *  with other work only the second is ours; it is never less than the longest turn. */
class Turns {
  readonly late: number[] = []
  readonly busy: number[] = []
  #timer: NodeJS.Timeout | undefined
  #at = 0
  #cpu = 0

  start(): void {
    this.#at = performance.now()
    this.#cpu = cpuMs()
    this.#next()
  }

  #next(): void {
    this.#timer = setTimeout(() => {
      this.#look()
      this.#next()
    }, 1)
  }

  #look(): void {
    const [at, cpu] = [performance.now(), cpuMs()]
    this.late.push(Math.max(0, at - this.#at - 1))
    this.busy.push(cpu - this.#cpu)
    this.#at = at
    this.#cpu = cpu
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#look()
  }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0) * 100) /
    100
  )
}

async function phase<T>(name: string, work: () => Promise<T>): Promise<T> {
  const turns = new Turns()
  const before = performance.now()
  turns.start()
  const done = await work()
  turns.stop()
  const figures = {
    phase: name,
    ms: Math.round(performance.now() - before),
    busyP99: quantile(turns.busy, 0.99),
    busyMax: quantile(turns.busy, 1),
    lateP99: quantile(turns.late, 0.99),
    lateMax: quantile(turns.late, 1),
    rssMiB: Math.round(process.memoryUsage.rss() / 2 ** 20),
    heapMiB: Math.round(process.memoryUsage().heapUsed / 2 ** 20),
  }
  console.log(JSON.stringify(figures))
  return done
}

function partsOf(fatal: (error: Error) => void): ReplicaParts {
  const virtual = new VirtualClock()
  const net = new FakeNetwork({ clock: virtual, random: new SeededRandom(1) })
  const stores = {
    log: createLogStore({ directory }),
    tables: createTableStore({ directory }),
    snapshots: createSnapshotStore({ directory }),
  }
  return {
    ...stores,
    clock: createClock(),
    random: createRandom(),
    logger: silentLogger,
    stores: () => stores,
    local: createLocalStore({ directory }),
    identity: createIdentityStore({ directory }),
    blobs: createBlobStore({ directory }),
    mesh: net.createMesh({ peerId: "peer-1", address: "/x" }),
    transfer: { fetch: refuse, start() {}, stop: async () => undefined },
    keeper: new FakeKeeper({ clock: virtual, script: () => ({}) }).client(),
    bundles: { describe: refuse, analyze: refuse, diff: refuse, seal: refuse },
    host: {
      hostname: "bench",
      os: "linux",
      arch: "x64",
      cores: 1,
      memoryBytes: 1,
      tools: () => [],
      lookFor: () => undefined,
      sample: () => ({ freeMemoryBytes: 1, load1: 0, diskFreeBytes: 1, diskTotalBytes: 1 }),
    },
    loop: {
      delay: () => ({ p50Ms: 0, p99Ms: 0, maxMs: 0, worstMs: 0 }),
      during: (_what, work) => work(),
    },
    blobFile: (digest) => digest,
    fatal: (_code, error) => fatal(error),
  }
}

async function main(): Promise<void> {
  const making = createTableStore({ directory })
  await making.open()
  await phase("make", async () => await making.replace(asRows(), mark))
  await making.close()
  const logging = createLogStore({ directory })
  await logging.open({ clusterId, memberId: 1 })
  const hardState = { term: 1, vote: 1, commit: mark.index }
  await logging.append({ hardState, snapshot: mark })
  await logging.close()
  globalThis.gc?.()

  const parts = partsOf((error) => {
    throw error
  })
  await parts.local.open()
  const leading = Promise.withResolvers<void>()
  const replica = await phase("start", async () => {
    const options = {
      clusterId,
      memberId: 1,
      boot: "1-00000000",
      timing: timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 }),
      roster: () => undefined,
      logLimits: { snapshotBytes: 2 ** 40, entriesKept: 1000 },
    }
    const opened = await Replica.open(options, parts, {
      applied: () => undefined,
      leading: () => leading.resolve(),
      leaderChanged: () => undefined,
      reset: () => undefined,
      outdated: () => undefined,
      lost: () => undefined,
      woke: () => undefined,
    })
    await leading.promise
    return opened
  })
  await phase("idle", async () => await new Promise((resolve) => setTimeout(resolve, 1000)))
  await phase("scheduler", async () => createScheduler().reset(replica.tables))
  await phase("list", async () => {
    let after: string | undefined
    do {
      const page = listRuns(replica.tables, { limit: 50, after })
      after = page.next
      await new Promise((resolve) => setImmediate(resolve))
    } while (after !== undefined)
  })
  await phase("read a finished run", async () => {
    const run = runId(Math.ceil(runs / 2), 0)
    // The plan of the bench has no group rows: its tasks are counted as rows.
    readTasks(await replica.viewOf(run), run)
  })
  await phase(`apply ${submits} submits`, async () => {
    const small = aPlan([])
    const item = { principal: "bench", key: "", bodyHash: "", entryNode: "n1", placements: [] }
    for (let at = 0; at < submits; at += 64) {
      const batch = Array.from({ length: 64 }, () =>
        replica.propose({ type: "submit", items: [{ ...item, plan: small }] }),
      )
      await Promise.all(batch)
    }
  })
  await phase("snapshot", async () => {
    await parts.tables.write([], replica.applied, { sync: true })
    const { mark: at, rows: all } = await parts.tables.view()
    await parts.snapshots.create(at, all)
  })
  await phase("install", async () => {
    const latest = await parts.snapshots.latest()
    await parts.tables.replace(parts.snapshots.rows(latest!.index), latest!)
  })
  await replica.stop()
}

await main()
process.exit(0)

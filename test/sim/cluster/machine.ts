/** One simulated machine: its disk and keeper live on, its node process is started, killed and wiped. */
import { createBundles } from "../../../src/bundles/index.ts"
import {
  createNode,
  type NodeOptions,
  type Parts,
  type Timing,
  timingFrom,
  type TroupeNode,
} from "../../../src/node/index.ts"
import type { Logger, LoopDelay } from "../../../src/platform/index.ts"
import { FakeKeeper, type FakeJob, type ProcessEvent } from "../../support/fake-keeper.ts"
import type { FakeNetwork } from "../../support/fake-mesh.ts"
import type { TableStore } from "../../../src/storage/index.ts"
import { createFakeStorage, FakeDisk } from "../../support/fake-storage.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { VirtualClock } from "../../support/virtual-clock.ts"
import type { Plan, RunView } from "../../../src/schema/index.ts"
import { ctlAnswer, ctlRequest, type LaunchSpec } from "../../../src/wire/index.ts"
import { ProcessClock } from "./process-clock.ts"
import { WorkClock } from "./work-clock.ts"
import { createSimTransfer } from "./transfer.ts"
import { type Replicated, type Watch, watched } from "./watch.ts"

export interface MachineOptions {
  readonly number: number
  readonly cluster?: string
  readonly voter?: "auto" | "never"
  readonly seeds?: readonly number[]
  readonly expect?: number
  readonly mdns?: boolean
  readonly timing?: Partial<Timing>
  readonly limits?: NodeOptions["logLimits"]
  readonly retention?: NodeOptions["retention"]
  /** Jobs at once; 8 unless given. */
  readonly capacity?: number
  readonly labels?: Readonly<Record<string, string>>
  readonly cores?: number
  readonly memoryBytes?: number
  /** How long a keeper's journal and spawner take; at once unless given. */
  readonly keeperMs?: { readonly sync: () => number; readonly spawn: () => number }
}

/** What all machines of a world share. */
export interface Ground {
  readonly clock: VirtualClock
  readonly random: SeededRandom
  readonly net: FakeNetwork
  readonly watch: Watch
  readonly log: (line: string) => void
  readonly broken: (error: Error) => void
  /** What an order's command does. */
  readonly script: (spec: LaunchSpec) => FakeJob
  /** What really happens to processes anywhere. */
  readonly onProcess?: (machine: string, event: ProcessEvent) => void
}

export function addressOf(number: number): string {
  return `/ip4/10.0.0.${number}/tcp/8771`
}

interface Process {
  readonly node: TroupeNode
  readonly clock: ProcessClock
  readonly keeper: Parts["keeper"]
  readonly mesh: Parts["mesh"]
  replicated: Replicated | undefined
  started: boolean
  /** What this node does for a call that another member forwards. */
  ctl: Forwarded | undefined
}

type Forwarded = (
  from: string,
  payload: Uint8Array,
  options: { signal: AbortSignal },
) => Promise<Uint8Array>

export class Machine {
  readonly name: string
  readonly options: MachineOptions
  readonly #ground: Ground
  disk: FakeDisk
  readonly keeper: FakeKeeper
  /** Stands still while the host sleeps: then everything that is overdue comes at once. */
  readonly #keeperClock: ProcessClock
  readonly #workClock: WorkClock
  #isAsleep = false
  /** Added to each sync. */
  slowDiskMs = 0
  #lives = 0
  #expect: number | undefined
  #process: Process | undefined
  /** Requests that came while the process stood still. */
  #waiting: (() => void)[] | undefined
  /** What the loop's probe says here. */
  loopDelay: LoopDelay = { p50Ms: 0, p99Ms: 1, maxMs: 1, worstMs: 1 }
  /** Exit codes of processes that ended by themselves. */
  readonly fatal: { code: number; error: Error }[] = []
  /** The same, where a test expects them. */
  readonly ended: { code: number; error: Error }[] = []
  readonly mayEndWith = new Set<number>()
  /** What the build that starts next understands; undefined: all that this source does. */
  versions: NodeOptions["versions"]
  /** Share of its disk that is in use. */
  diskUsed = 0.5
  /** How far its wall clock is from the others'. */
  skewMs = 0
  /** The value of the next row of this table that is written goes wrong on its way to the disk. */
  planted: string | undefined

  constructor(options: MachineOptions, ground: Ground) {
    this.options = options
    this.#expect = options.expect
    this.#ground = ground
    this.name = `n${options.number}`
    this.disk = this.#newDisk()
    this.#keeperClock = new ProcessClock(ground.clock, () => this.skewMs)
    this.#workClock = new WorkClock(ground.clock)
    const { keeperMs } = options
    this.keeper = new FakeKeeper({
      clock: this.#keeperClock,
      workClock: this.#workClock,
      script: ground.script,
      onProcess: (event) => ground.onProcess?.(this.name, event),
      ...(keeperMs && {
        syncMs: () => keeperMs.sync() + this.slowDiskMs,
        spawnMs: () => keeperMs.spawn(),
      }),
    })
  }

  #newDisk(): FakeDisk {
    const { clock, random } = this.#ground
    const dice = random.fork()
    return new FakeDisk({
      clock,
      random: dice,
      syncMs: () => 0.2 + 3 * dice.next() + this.slowDiskMs,
      torn: true,
      losesTableRows: true,
    })
  }

  /** Changes when the data directory is wiped: the key lies there. */
  get peerId(): string {
    return `peer-${this.options.number}${this.#lives === 0 ? "" : `-${this.#lives}`}`
  }

  get node(): TroupeNode | undefined {
    return this.#process?.started ? this.#process.node : undefined
  }

  get running(): boolean {
    return this.#process !== undefined
  }

  /** The rows of the replica that is open here. */
  get replicated(): Replicated | undefined {
    return this.#process?.replicated
  }

  start(): void {
    if (this.#process) throw new Error(`${this.name} runs already`)
    const { clock: machineClock, net, log } = this.#ground
    const { number, seeds = [], cluster = "sim", mdns = false } = this.options
    const clock = new ProcessClock(machineClock, () => this.skewMs)
    const keeper = this.keeper.client()
    const mesh = net.createMesh({
      peerId: this.peerId,
      address: addressOf(number),
      cluster,
      seeds: seeds.map(addressOf),
      mdns,
    })
    const parts = this.#parts({ clock, keeper, mesh })
    const node = createNode(this.#nodeOptions(cluster), parts)
    const process: Process = {
      node,
      clock,
      keeper,
      mesh,
      replicated: undefined,
      started: false,
      ctl: undefined,
    }
    const handle: Parts["mesh"]["handle"] = mesh.handle.bind(mesh)
    mesh.handle = (protocol, handler) => {
      if (protocol === "/troupe/ctl/1") process.ctl = handler
      handle(protocol, handler)
    }
    this.#process = process
    log(`${this.name} starts`)
    node.start().then(
      () => {
        process.started = true
      },
      (error: Error) => {
        if (this.#process === process) this.#ground.broken(error)
      },
    )
  }

  #nodeOptions(cluster: string): NodeOptions {
    const { voter = "auto", seeds = [], timing, limits, retention } = this.options
    const { capacity = 8, labels = {} } = this.options
    return {
      name: this.name,
      cluster,
      version: "0.0.0-sim",
      labels,
      voter,
      capacity,
      apiUrl: "",
      hasSeeds: seeds.length > 0,
      ...(this.#expect !== undefined && { expect: this.#expect }),
      timing: { ...timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 }), ...timing },
      ...(limits && { logLimits: limits }),
      ...(retention && { retention }),
      ...(this.versions && { versions: this.versions }),
    }
  }

  #parts(own: { clock: ProcessClock; keeper: Parts["keeper"]; mesh: Parts["mesh"] }): Parts {
    const { random, watch, broken, log } = this.#ground
    const { disk, name } = this
    const { local, identity, blobs } = createFakeStorage(disk)
    return {
      ...own,
      random: random.fork(),
      logger: loggerOf(name, log),
      stores: () => {
        const { log: wal, tables, snapshots } = createFakeStorage(disk)
        const seen = watched(
          { log: wal, tables: this.#misled(tables) },
          { who: name, watch, onBroken: broken },
        )
        this.#process!.replicated = seen.replicated
        return { log: seen.log, tables: seen.tables, snapshots }
      },
      local,
      identity,
      blobs,
      transfer: createSimTransfer({ blobs, mesh: own.mesh, clock: own.clock }),
      bundles: createBundles({ blobs, pause: async () => undefined }),
      host: {
        hostname: name,
        os: "linux",
        arch: "x64",
        cores: this.options.cores ?? 4,
        memoryBytes: this.options.memoryBytes ?? 8 * 2 ** 30,
        tools: () => ["sh"],
        lookFor: () => undefined,
        sample: () => ({
          freeMemoryBytes: 2 ** 30,
          load1: 0,
          diskFreeBytes: 2 ** 40 * (1 - this.diskUsed),
          diskTotalBytes: 2 ** 40,
        }),
      },
      loop: { delay: () => this.loopDelay, during: (_what, work) => work() },
      blobFile: (digest) => `/blobs/${digest}`,
      fatal: (code, error) => {
        const list = this.mayEndWith.has(code) ? this.ended : this.fatal
        list.push({ code, error })
        log(`${name} is fatal ${code}: ${error.message}`)
        this.kill()
      },
    }
  }

  #misled(tables: TableStore): TableStore {
    return {
      ...tables,
      write: async (writes, mark, options) => {
        const victim = writes.findIndex(
          ({ key, value }) => this.planted !== undefined && key.startsWith(this.planted) && value,
        )
        if (victim < 0) {
          await tables.write(writes, mark, options)
          return
        }
        this.planted = undefined
        const { key, value } = writes[victim]!
        const wrong = { key, value: `${value!.slice(0, -1)},"planted":true}` }
        this.#ground.log(`${this.name} gets a wrong ${key}`)
        await tables.write(writes.toSpliced(victim, 1, wrong), mark, options)
      },
    }
  }

  /** kill -9 of the node process. The keeper and its jobs live on. */
  kill(): void {
    const process = this.#process
    if (!process) return
    this.#ground.log(`${this.name} is killed`)
    this.#process = undefined
    this.#waiting = undefined
    process.clock.die()
    this.#ground.net.kill(this.peerId)
    this.#ground.net.thaw(this.peerId)
    // The client leaves with its process; it does no I/O of its own.
    void process.keeper.stop()
    this.disk.crash()
  }

  /** A request of a client. While the process stands still it waits at its socket; it is lost when the process dies. */
  reach(serve: () => void): void {
    if (this.#waiting) this.#waiting.push(serve)
    else serve()
  }

  /** SIGSTOP of the node process, or its machine falls asleep; the disk and the keeper's jobs go on. */
  pause(): void {
    const process = this.#process
    if (!process) return
    this.#ground.log(`${this.name} stands still`)
    process.clock.stop()
    this.#waiting ??= []
    this.#ground.net.freeze(this.peerId)
  }

  /**
   * Timers that are overdue run before what has arrived, as in Node's event loop. Of what has arrived clients come
   * first: who still believes that it leads is asked before it hears otherwise.
   */
  resume(): void {
    const process = this.#process
    if (!process) return
    this.#ground.log(`${this.name} goes on`)
    process.clock.resume()
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const serve of waiting) serve()
    this.#ground.net.thaw(this.peerId)
  }

  /** The whole host: its node stands still, and so do keeper and jobs; nobody hears of it. */
  sleep(): void {
    if (this.#isAsleep) return
    this.#isAsleep = true
    this.#ground.log(`${this.name} falls asleep`)
    this.pause()
    this.#keeperClock.stop()
    this.#workClock.stop()
  }

  wake(): void {
    if (!this.#isAsleep) return
    this.#isAsleep = false
    this.#ground.log(`${this.name} wakes`)
    this.#workClock.resume()
    this.#keeperClock.resume()
    this.resume()
  }

  get isAsleep(): boolean {
    return this.#isAsleep
  }

  /** The host loses its power. `bootUp` brings it back; the node is started by whoever did it. */
  cutPower(): void {
    this.#ground.log(`${this.name} loses its power`)
    this.kill()
    this.keeper.halt()
  }

  bootUp(): void {
    this.keeper.boot()
  }

  /** A plan of the caller's own, submitted at this node. */
  async submitPlan(
    plan: Plan,
    asked: { readonly key: string; readonly signal: AbortSignal },
  ): Promise<RunView> {
    const { key, signal } = asked
    const bodyHash = JSON.stringify(plan.label)
    const body = { plan, entryNode: this.name, bodyHash }
    const answer = await this.#call("submitPlan", body, { key, signal })
    return (answer as { run: RunView }).run
  }

  /** As another member that forwards a call of its own user. */
  async #call(
    op: string,
    body: unknown,
    asked: { readonly key?: string; readonly signal: AbortSignal },
  ): Promise<unknown> {
    const ctl = this.#process?.ctl
    if (!ctl) throw new Error(`${this.name} does not run`)
    const payload = ctlRequest.encode({ op, hops: 0, principal: "anonymous", key: asked.key, body })
    return ctlAnswer.decode(await ctl(this.peerId, payload, { signal: asked.signal }))
  }

  async stop(): Promise<void> {
    const process = this.#process
    if (!process) return
    await process.node.stop()
    if (this.#process === process) this.kill()
  }

  /** Somebody deletes the data directory of a node that does not run. `expect`: of its starts from then on. */
  wipe({ expect }: { readonly expect?: number } = {}): void {
    if (this.#process) throw new Error("a running node is not wiped")
    this.#lives++
    this.#expect = expect ?? this.#expect
    this.disk = this.#newDisk()
  }
}

function loggerOf(name: string, log: (line: string) => void): Logger {
  const write =
    (level: string) =>
    (message: string, fields: Record<string, unknown> = {}): void => {
      log(`${name} ${level} ${message} ${JSON.stringify(fields)}`)
    }
  const logger: Logger = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: () => logger,
  }
  return logger
}

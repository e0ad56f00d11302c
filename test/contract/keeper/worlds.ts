/** The two keepers that the suite runs on: the scripted one and the real program with real processes. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createKeeper, keeperCommand, type KeeperClient } from "../../../src/keeper/index.ts"
import type { Keeper } from "../../../src/node/index.ts"
import { createClock, silentLogger } from "../../../src/platform/index.ts"
import type { KeeperAttempt, LaunchSpec } from "../../../src/wire/index.ts"
import { type FakeJob, FakeKeeper } from "../../support/fake-keeper.ts"

/** One job, told both ways. */
export interface Script {
  readonly argv: readonly string[]
  readonly fake: FakeJob
}

export interface Target {
  readonly run: string
  readonly task: string
  readonly fence: number
}

/** A keeper and the node processes that come and go beside it. */
export interface World {
  /** A started port: a node process. Several may come one after the other. */
  node(): Promise<Watched>
  /** kill -9 of the keeper program; another one comes by itself. */
  killKeeper(): Promise<void>
  order(script: Script, more?: Partial<LaunchSpec>): LaunchSpec
  end(): Promise<void>
}

export type KeeperState = KeeperAttempt["state"]
const rank = { accepted: 0, started: 1, ready: 2, ended: 3 }

/** A port that remembers what it was told, so that a test can wait for it. */
export class Watched {
  readonly port: Keeper
  readonly changes: KeeperAttempt[] = []
  #waiters: (() => void)[] = []

  constructor(port: Keeper) {
    this.port = port
    port.onChange((attempt) => {
      this.changes.push(attempt)
      for (const wake of this.#waiters.splice(0)) wake()
    })
  }

  /** The attempt when it has come to this state, at the latest when the test's time is over. */
  async reached(target: Target, state: KeeperState): Promise<KeeperAttempt> {
    for (;;) {
      const woken = new Promise<void>((resolve) => this.#waiters.push(resolve))
      const seen = await this.find(target)
      if (seen && rank[seen.state] >= rank[state]) return seen
      await woken
    }
  }

  async find({ run, task, fence }: Target): Promise<KeeperAttempt | undefined> {
    const told = this.changes.findLast((one) => one.run === run && one.fence === fence)
    if (told?.task === task && told.state === "ended") return told
    const all = await this.again(async () => await this.port.list())
    return all.find((one) => one.run === run && one.task === task && one.fence === fence)
  }

  async ending(target: Target) {
    return (await this.reached(target, "ended")).ending!
  }

  async text(target: Target, stream: "stdout" | "stderr" = "stdout"): Promise<string> {
    const { data } = await this.port.read(target, stream, { offset: 0, max: 1 << 20 })
    return Buffer.from(data).toString()
  }

  /** Asks again until a call succeeds: while a keeper is away calls fail. */
  async again<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call()
      } catch (error) {
        if ((error as { code?: string }).code !== "ERR_KEEPER") throw error
        await createClock().sleep(10)
      }
    }
  }
}

const plain = {
  clusterId: "c-1",
  term: 1,
  lease: 1,
  run: "r-1",
  attempt: 1,
  env: {},
  directory: false,
  files: [],
  graceMs: 200,
  onKeeperDeath: "survive",
  outputBytesMax: 1 << 20,
} as const satisfies Partial<LaunchSpec>

function orders(): { order: World["order"]; scripts: Map<number, Script> } {
  const scripts = new Map<number, Script>()
  let fence = 10
  return {
    scripts,
    order(script, more = {}) {
      fence++
      const spec = { ...plain, fence, task: `task-${fence}`, argv: script.argv, ...more }
      scripts.set(spec.fence, script)
      return spec
    },
  }
}

export function fakeWorld(): World {
  const { order, scripts } = orders()
  const keeper = new FakeKeeper({
    clock: createClock(),
    script: (spec) => scripts.get(spec.fence)!.fake,
  })
  const nodes: Watched[] = []
  return {
    order,
    async node() {
      const watched = new Watched(keeper.client())
      await watched.port.start()
      nodes.push(watched)
      return watched
    },
    async killKeeper() {
      keeper.crash()
    },
    async end() {
      for (const node of nodes) await node.port.stop()
    },
  }
}

export interface RealWorld extends World {
  readonly directory: string
  /** `build`: as if node and keeper were of another version of the program. */
  client(build?: string): KeeperClient
  /** The keeper's own log. */
  log(): string
}

export function realWorld(
  options: { parent?: string; prefix?: string; args?: readonly string[] } = {},
): RealWorld {
  const directory = mkdtempSync(join(options.parent ?? tmpdir(), options.prefix ?? "keeper-"))
  const { order } = orders()
  const clients: KeeperClient[] = []
  const client = (build?: string) => {
    const builds = build === undefined ? [] : ["--build", build]
    const made = createKeeper({
      directory,
      clock: createClock(),
      logger: silentLogger,
      command: [...keeperCommand(), ...(options.args ?? []), ...builds],
      ...(build !== undefined && { build }),
    })
    clients.push(made)
    return made
  }
  return {
    directory,
    order,
    client,
    log: () => readFileSync(join(directory, "keeper", "keeper.log"), "utf8"),
    async node() {
      const watched = new Watched(client())
      await watched.port.start()
      return watched
    },
    async killKeeper() {
      const { pid } = await clients.at(-1)!.status()
      process.kill(pid, "SIGKILL")
    },
    async end() {
      for (const one of clients) await one.stop()
      await clearAway(client())
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Ends what a test left running and sends the keeper away. */
async function clearAway(last: KeeperClient): Promise<void> {
  const watched = new Watched(last)
  await last.start()
  for (const attempt of await last.list()) {
    if (attempt.state === "ended") continue
    await last.end({ ...attempt, graceMs: 0, reason: "the test is over" })
    await watched.ending(attempt)
  }
  // Older ones leave with their last attempt.
  for (const attempt of await last.list()) await last.forget({ ...attempt, files: true })
  const { pid } = await last.status()
  await last.shutdown()
  await last.stop()
  while (isThere(pid)) await createClock().sleep(5)
}

function isThere(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "latin1"))
  } catch {
    return false
  }
}

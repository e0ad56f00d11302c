/** Real nodes on hosts, driven only by REST and signals, and ended by their own handles. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { ClusterStatus, HealthView, RunView, SubmitRunInput } from "../../src/schema/index.ts"
import { type Host, makeHosts } from "./hosts.ts"

const program = join(import.meta.dirname, "node.ts")

export interface Node {
  readonly name: string
  readonly host: Host
  readonly data: string
  readonly api: string
  /** Starts the process (again). */
  start(): void
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves when it has left. */
  stop(): Promise<void>
  pause(): void
  resume(): void
  readonly running: boolean
}

export interface Cluster {
  readonly nodes: readonly Node[]
  /** Runs wait at this phase from now on; undefined lets go. */
  hold(phase: string | undefined): void
  leader(among?: readonly Node[]): Promise<Node>
  survives(losses: number, seenBy?: Node): Promise<HealthView>
  /** Ends every node and its keeper, removes hosts and data. */
  end(): Promise<void>
}

const waitMs = 60_000

/** Asks until `look` answers something; a failed request is "not yet". */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined>,
  ms = waitMs,
): Promise<T> {
  const deadline = Date.now() + ms
  let last: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined) return found
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`, { cause: last })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export async function get<T>(from: Node, path: string): Promise<T> {
  const response = await fetch(`${from.api}${path}`, { signal: AbortSignal.timeout(5000) })
  if (!response.ok && response.status !== 503)
    throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as T
}

export async function submit(to: Node, run: SubmitRunInput, key?: string): Promise<RunView> {
  const response = await fetch(`${to.api}/v1/runs`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { "idempotency-key": key }) },
    body: JSON.stringify(run),
    signal: AbortSignal.timeout(30_000),
  })
  if (!response.ok) throw new Error(`submit: ${response.status} ${await response.text()}`)
  return (await response.json()) as RunView
}

export async function runOf(from: Node, run: string): Promise<RunView> {
  return await get<RunView>(from, `/v1/runs/${run}`)
}

export async function finished(from: Node, run: string, ms = waitMs): Promise<RunView> {
  return await eventually(
    `run ${run} to finish`,
    async () => {
      const view = await runOf(from, run)
      return view.state === "finished" ? view : undefined
    },
    ms,
  )
}

export async function startCluster(
  count: number,
  options: { flags?: Record<string, unknown>; started?: number } = {},
): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-e2e-"))
  const { hosts, remove } = makeHosts(count)
  const holdFile = join(directory, "hold")
  const nodes = hosts.map((host, index) =>
    node({ host, name: `n${index + 1}`, directory, holdFile, flags: options.flags ?? {} }),
  )
  for (const one of nodes.slice(0, options.started ?? count)) one.start()
  const cluster: Cluster = {
    nodes,
    hold: (phase) => writeFileSync(holdFile, phase ?? ""),
    leader: async (among = nodes) =>
      await eventually("a leader", async () => {
        for (const one of among.filter((candidate) => candidate.running)) {
          const { leader, raftState } = await get<ClusterStatus>(one, "/cluster/status")
          const found = nodes.find((candidate) => candidate.name === leader)
          if (found && raftState !== "none" && among.includes(found)) return found
        }
        return undefined
      }),
    survives: async (losses, seenBy = nodes[0]!) =>
      await eventually(`the cluster to survive ${losses}`, async () => {
        const health = await get<HealthView>(seenBy, "/health")
        return health.survives >= losses && health.leader !== undefined ? health : undefined
      }),
    end: async () => {
      for (const one of nodes) one.host.heal()
      await reportLoops(nodes)
      for (const one of nodes.filter((candidate) => !candidate.running)) one.start()
      // Started again so that each takes its keeper along when it stops.
      await Promise.allSettled(
        nodes.map((one) =>
          eventually(
            "it to be up",
            async () => (await fetch(`${one.api}/livez`)).ok || undefined,
            20_000,
          ),
        ),
      )
      await Promise.all(nodes.map((one) => one.stop()))
      remove()
      rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
    },
  }
  return cluster
}

/** How long each node's event loop kept its timers waiting at worst: told, not judged, since tests share the machine. */
async function reportLoops(nodes: readonly Node[]): Promise<void> {
  const running = nodes.filter((one) => one.running)
  const told = await Promise.allSettled(
    running.map(async (one) => {
      const signal = AbortSignal.timeout(2000)
      const text = await (await fetch(`${one.api}/metrics`, { signal })).text()
      const seconds = /^troupe_loop_delay_max_seconds (\S+)$/m.exec(text)?.[1]
      return `${one.name} ${Math.round(1000 * Number(seconds))} ms`
    }),
  )
  const worst = told.map((one) => (one.status === "fulfilled" ? one.value : "no answer"))
  console.log(`longest delay of the event loops: ${worst.join(", ")}`)
}

function node(input: {
  host: Host
  name: string
  directory: string
  holdFile: string
  flags: Record<string, unknown>
}): Node {
  const { host, name, directory, holdFile } = input
  const data = join(directory, name)
  let child: ChildProcess | undefined
  let gone: Promise<void> = Promise.resolve()
  const signal = async (which: NodeJS.Signals): Promise<void> => {
    child?.kill(which)
    await gone
  }
  return {
    name,
    host,
    data,
    api: `http://${host.address}:8770`,
    start() {
      const flags = {
        name,
        data,
        listen: host.address,
        api: `${host.address}:8770`,
        insecure: true,
        logFile: join(directory, `${name}.log`),
        logLevel: "debug",
        ...input.flags,
      }
      const [command, ...args] = [
        ...host.enter,
        process.execPath,
        program,
        holdFile,
        JSON.stringify(flags),
      ]
      const started = spawn(command!, args, { stdio: ["ignore", "ignore", "inherit"] })
      child = started
      gone = new Promise((resolve) => {
        started.once("exit", () => {
          if (child === started) child = undefined
          resolve()
        })
      })
    },
    kill: () => signal("SIGKILL"),
    stop: () => signal("SIGTERM"),
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    get running() {
      return child !== undefined
    },
  }
}

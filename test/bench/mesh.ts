/** Real nodes from the bundle, each on a host of its own, ended by their own handles. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { ClusterStatus, HealthView } from "../../src/schema/index.ts"
import type { Bench } from "./figure.ts"
import { type BenchHost, makeBenchHosts, type PlaceOptions } from "./bench-hosts.ts"
import { keepersOf } from "./processes.ts"
import { openApi, type RestApi } from "./rest-api.ts"
import { eventually, rest } from "./waiting.ts"

export interface MeshNode {
  readonly name: string
  readonly host: BenchHost
  readonly data: string
  readonly api: RestApi
  readonly pid: number
  readonly running: boolean
  start(): void
  kill(): Promise<void>
  stop(): Promise<void>
  /** When the log says that this node leads, wall-clock ms, after `since`. */
  ledSince(since: number): number | undefined
}

export interface Mesh {
  readonly nodes: readonly MeshNode[]
  leader(among?: readonly MeshNode[]): Promise<MeshNode>
  /** Everyone is a caught-up member of one cluster that survives a loss. */
  steady(): Promise<void>
  end(): Promise<void>
}

const stopMs = 15_000

/** Not started yet; ended by the bench if not before. */
export function makeMesh(bench: Bench, count: number, options: PlaceOptions = {}): Mesh {
  const directory = mkdtempSync(join(bench.program.directory, "mesh-"))
  const place = makeBenchHosts(count, options)
  const nodes = place.hosts.map((host, index) => meshNode(bench, host, { index, directory }))
  let ended: Promise<void> | undefined
  const end = async (): Promise<void> => {
    for (const { host } of nodes) host.heal()
    await Promise.all(nodes.map((node) => node.stop()))
    for (const node of nodes) node.api.close()
    await Promise.all(nodes.map((node) => keepersGone(node.data)))
    place.remove()
    rmSync(directory, { recursive: true, force: true })
  }
  const endOnce = (): Promise<void> => (ended ??= end())
  bench.onEnd(endOnce)
  return {
    nodes,
    leader: async (among = nodes) => await eventually("a leader", () => findLeader(among)),
    steady: async () => {
      await eventually("the cluster to be steady", () => isSteady(nodes))
    },
    end: endOnce,
  }
}

export async function startMesh(
  bench: Bench,
  count: number,
  options: PlaceOptions = {},
): Promise<Mesh> {
  const mesh = makeMesh(bench, count, options)
  for (const node of mesh.nodes) node.start()
  if (count > 1) await mesh.steady()
  return mesh
}

async function findLeader(among: readonly MeshNode[]): Promise<MeshNode | undefined> {
  for (const node of among.filter((one) => one.running)) {
    const { leader } = await node.api.read<ClusterStatus>("/cluster/status")
    const found = among.find((one) => one.name === leader)
    if (found) return found
  }
  return undefined
}

async function isSteady(nodes: readonly MeshNode[]): Promise<true | undefined> {
  const views = await Promise.all(
    nodes.map(async ({ api }) => ({
      health: await api.read<HealthView>("/health"),
      status: await api.read<ClusterStatus>("/cluster/status"),
    })),
  )
  const [first] = views
  const same = views.every(
    ({ health, status }) =>
      health.survives >= 1 &&
      status.leader !== undefined &&
      status.leader === first!.status.leader &&
      status.applied === first!.status.applied &&
      status.voters.length === nodes.length,
  )
  return same || undefined
}

/** A keeper leaves with its node; one whose node was killed and never came back is ended here. */
async function keepersGone(data: string): Promise<void> {
  for (let tries = 0; tries < 40 && keepersOf(data).length > 0; tries++) {
    if (tries === 20) for (const pid of keepersOf(data)) process.kill(pid, "SIGTERM")
    if (tries === 35) for (const pid of keepersOf(data)) process.kill(pid, "SIGKILL")
    await rest(100)
  }
}

function meshNode(
  bench: Bench,
  host: BenchHost,
  place: { readonly index: number; readonly directory: string },
): MeshNode {
  const name = `n${place.index + 1}`
  const data = join(place.directory, name)
  const logFile = join(place.directory, `${name}.log`)
  const { command, profiles } = bench.program
  const [node, ...program] = command
  const profiled = profiles === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profiles}`]
  const flags = ["--name", name, "--data", data, "--log-file", logFile, ...host.startFlags]
  const line = [...host.enter, node!, ...profiled, ...program, "node", "start", ...flags]
  let child: ChildProcess | undefined
  let gone: Promise<void> = Promise.resolve()
  return {
    name,
    host,
    data,
    api: openApi(host.api, 64),
    get pid() {
      return child?.pid ?? Number.NaN
    },
    get running() {
      return child !== undefined
    },
    start() {
      // What it says on its terminal is in its log too.
      const started = spawn(line[0]!, line.slice(1), {
        stdio: ["ignore", "ignore", "ignore"],
        env: bareEnvironment(),
      })
      child = started
      gone = new Promise((resolve) => {
        started.once("exit", () => {
          if (child === started) child = undefined
          resolve()
        })
      })
    },
    async kill() {
      child?.kill("SIGKILL")
      await gone
    },
    async stop() {
      child?.kill("SIGTERM")
      const late = setTimeout(() => child?.kill("SIGKILL"), stopMs)
      await gone
      clearTimeout(late)
    },
    ledSince: (since) => leadingTimes(logFile).find((time) => time >= since),
  }
}

function leadingTimes(logFile: string): readonly number[] {
  return readFileSync(logFile, "utf8")
    .split("\n")
    .filter((line) => line.includes('"msg":"leading"'))
    .map((line) => (JSON.parse(line) as { time: number }).time)
}

/** Nothing of the caller's own troupe settings reaches what is measured. */
export function bareEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith("TROUPE_"))
  return Object.fromEntries(entries)
}

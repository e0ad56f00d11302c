/** idle-elections: nothing happens, and all processors are busy: how many elections are there? None is right. */
import { type ChildProcess, spawn } from "node:child_process"
import { availableParallelism } from "node:os"
import type { ClusterStatus, HealthView } from "../../../src/schema/index.ts"
import type { Bench, Figure, Measured } from "../figure.ts"
import { type Mesh, type MeshNode, startMesh } from "../mesh.ts"
import { rest } from "../waiting.ts"

export const idleElections: Figure = {
  name: "idle-elections",
  about: "three idle nodes beside busy loops (--n, else two a core) for a minute → changes of term",
  run: measure,
}

const leastS = 60

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  await mesh.steady()
  const count = bench.n ?? 2 * availableParallelism()
  const before = await termsOf(mesh)
  const loops = Array.from({ length: count }, busyLoop)
  bench.onEnd(() => endAll(loops))
  const seconds = Math.max(leastS, bench.seconds)
  bench.say(`${count} busy loops beside three nodes for ${seconds} s`)
  await rest(seconds * 1000)
  const healths = await Promise.all(mesh.nodes.map(healthOf))
  const after = await termsOf(mesh)
  endAll(loops)
  for (const health of healths) {
    const { node, electionTimeoutMs, electionReason, loopDelayP99Ms } = health
    const why = electionReason === "" ? "" : ` (${electionReason})`
    bench.say(
      `${node}: loop delay p99 ${loopDelayP99Ms} ms, election ${electionTimeoutMs} ms${why}`,
    )
  }
  const worst = await Promise.all(mesh.nodes.map(worstDelayMs))
  await mesh.end()
  return [
    row(
      "terms",
      "terms",
      after.map((term, place) => term - before[place]!),
    ),
    row(
      "loop-p99",
      "ms",
      healths.map(({ loopDelayP99Ms = 0 }) => loopDelayP99Ms),
    ),
    row("loop-worst", "ms", worst),
    row(
      "timeout",
      "ms",
      healths.map(({ electionTimeoutMs }) => electionTimeoutMs),
    ),
  ]
}

function row(figure: string, unit: string, samples: readonly number[]): Measured {
  return { figure: `idle-elections.${figure}`, unit, samples }
}

function busyLoop(): ChildProcess {
  return spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" })
}

function endAll(loops: readonly ChildProcess[]): void {
  for (const loop of loops) loop.kill("SIGKILL")
}

async function termsOf(mesh: Mesh): Promise<readonly number[]> {
  return await Promise.all(
    mesh.nodes.map(async ({ api }) => (await api.read<ClusterStatus>("/cluster/status")).term),
  )
}

async function healthOf({ api }: MeshNode): Promise<HealthView> {
  return await api.read<HealthView>("/v1/cluster/health")
}

/** Since the node's start. */
async function worstDelayMs({ api }: MeshNode): Promise<number> {
  const { text } = await api.ask("GET", "/metrics")
  const line = /^troupe_loop_delay_max_seconds (\S+)$/m.exec(text)
  return Number(line?.[1] ?? Number.NaN) * 1000
}

/** jobs: many short processes over three nodes, each one's exit code durable on a quorum. */
import type { RunView } from "../../../src/schema/index.ts"
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { type Mesh, startMesh } from "../mesh.ts"
import { cpuMs, keepersOf, weigh } from "../processes.ts"
import { spawnFloor, xargsRate } from "../spawn-floor.ts"
import { eventually, rest } from "../waiting.ts"

const rounds = 3
const calmMs = 2000

export const jobs: Figure = {
  name: "jobs",
  about:
    "10,000 × /bin/true over 3 nodes, exit codes durable; peers: bare Node spawners, xargs -P8",
  run: measure,
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const early = untilLate(bench)
  const count = bench.n ?? 10_000
  await jobRate(mesh, Math.min(count, 500))
  await rest(calmMs)
  const idle = weighAll(mesh)
  const ours: number[] = []
  const floor: number[] = []
  const xargs: number[] = []
  const nodeCpu: number[] = []
  const keeperCpu: number[] = []
  const spawners = mesh.nodes.length * 2
  for (let round = 0; round < rounds && (round < 1 || early()); round++) {
    floor.push(await spawnFloor(bench, { count: Math.min(count, 4000), spawners, atOnce: 4 }))
    xargs.push(await xargsRate(bench, Math.min(count, 2000)))
    const before = cpuOf(mesh)
    ours.push(await jobRate(mesh, count))
    const used = cpuOf(mesh)
    nodeCpu.push((used.nodes - before.nodes) / count)
    keeperCpu.push((used.keepers - before.keepers) / count)
  }
  await rest(calmMs)
  const after = weighAll(mesh)
  await mesh.end()
  const peer = { name: "floor", samples: floor }
  return [
    { figure: "jobs.rate", unit: "jobs/s", samples: ours, peer },
    { figure: "jobs.xargs", unit: "jobs/s", samples: xargs, peer },
    { figure: "jobs.floor", unit: "jobs/s", samples: floor },
    { figure: "jobs.cpu.nodes", unit: "ms/job", samples: nodeCpu },
    { figure: "jobs.cpu.keepers", unit: "ms/job", samples: keeperCpu },
    { figure: "jobs.rss.idle", unit: "MB", samples: idle },
    { figure: "jobs.rss.after", unit: "MB", samples: after, peer: { name: "idle", samples: idle } },
  ]
}

/** Node and keeper with its spawners together, per node. */
function weighAll(mesh: Mesh): readonly number[] {
  return mesh.nodes.map(({ pid, data }) => weigh([pid, ...keepersOf(data)]).rssMB)
}

/** Of all nodes together; the keepers' with their spawners, whose forks count too. */
function cpuOf(mesh: Mesh): { readonly nodes: number; readonly keepers: number } {
  const keepers = mesh.nodes.flatMap(({ data }) => keepersOf(data))
  return { nodes: cpuMs(mesh.nodes.map(({ pid }) => pid)), keepers: cpuMs(keepers) }
}

async function jobRate(mesh: Mesh, count: number): Promise<number> {
  const { api } = await mesh.leader()
  const begun = performance.now()
  const json = { command: ["/bin/true"], count }
  const { status, text } = await api.ask("POST", "/v1/jobs", { json, limitMs: 30_000 })
  if (status !== 201) throw new Error(`not accepted: ${status} ${text}`)
  const { id } = JSON.parse(text) as RunView
  const view = await eventually(
    `run ${id} to end`,
    async () => {
      const seen = await api.read<RunView>(`/v1/runs/${id}`)
      return seen.state === "finished" ? seen : undefined
    },
    { everyMs: 100, limitMs: 300_000 },
  )
  const ms = performance.now() - begun
  if (view.verdict !== "succeeded") throw new Error(`${id}: ${view.verdict}: ${view.reason}`)
  return (count * 1000) / ms
}

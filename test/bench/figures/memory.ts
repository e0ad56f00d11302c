/** rss: what a node and its keeper weigh, idle and after many runs. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { type Mesh, startMesh } from "../mesh.ts"
import { keepersOf, type Weight, weigh } from "../processes.ts"
import { ended, oneRole, submit } from "../runs.ts"
import { rest } from "../waiting.ts"

const calmMs = 3000
const inFlight = 4

export const rss: Figure = {
  name: "rss",
  about: "RSS and PSS of node and keeper: three idle nodes, then after 200 runs; peer: idle Node",
  run: measure,
}

interface Weights {
  readonly node: readonly Weight[]
  readonly keeper: readonly Weight[]
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const early = untilLate(bench)
  await rest(calmMs)
  const idle = weighAll(mesh)
  const bare = await bareNode()
  let runs = 0
  const one = async (): Promise<void> => {
    while (runs < (bench.n ?? 200) && early()) {
      const number = ++runs
      const node = mesh.nodes[number % 3]!
      const run = oneRole(`weight-${number}`, { command: ["true"], node: node.name })
      await ended(node.api, (await submit(node.api, run)).id)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  await rest(calmMs)
  const after = weighAll(mesh)
  await mesh.end()
  return [
    ...rows("idle", idle, bare),
    ...rows("after-runs", after, bare),
    { figure: "rss.runs", unit: "runs", samples: [runs] },
  ]
}

function weighAll(mesh: Mesh): Weights {
  return {
    node: mesh.nodes.map(({ pid }) => weigh([pid])),
    keeper: mesh.nodes.map(({ data }) => weigh(keepersOf(data))),
  }
}

function rows(when: string, weights: Weights, bare: Weight): readonly Measured[] {
  return (["node", "keeper"] as const).flatMap((who) => [
    {
      figure: `rss.${who}.${when}`,
      unit: "MB",
      samples: weights[who].map(({ rssMB }) => rssMB),
      peer: { name: "idle-node", samples: [bare.rssMB] },
    },
    {
      figure: `rss.${who}.${when}.pss`,
      unit: "MB",
      samples: weights[who].map(({ pssMB }) => pssMB),
      peer: { name: "idle-node", samples: [bare.pssMB] },
    },
  ])
}

async function bareNode(): Promise<Weight> {
  const child: ChildProcess = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], {
    stdio: "ignore",
  })
  await rest(1000)
  const weight = weigh([child.pid!])
  child.kill("SIGKILL")
  await once(child, "exit")
  return weight
}

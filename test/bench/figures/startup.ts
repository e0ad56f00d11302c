/** startup: from the start of the process to a node that serves, and to a cluster that survives a loss. */
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { makeMesh, type MeshNode } from "../mesh.ts"
import { eventually } from "../waiting.ts"
import { wallTime } from "../wall-time.ts"

export const startup: Figure = {
  name: "startup",
  about: "process start → /livez, → /readyz, three new nodes → the cluster survives a loss",
  run: measure,
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const alone = untilLate(bench, 0.6)
  const early = untilLate(bench)
  const times = { live: [], ready: [], again: [], bare: [] } as Record<string, number[]>
  for (let trial = 0; trial < (bench.n ?? 8) && (trial === 0 || alone()); trial++) {
    const mesh = makeMesh(bench, 1)
    const [node] = mesh.nodes
    const first = await startOf(node!)
    times["live"]!.push(first.live)
    times["ready"]!.push(first.ready)
    await node!.stop()
    times["again"]!.push((await startOf(node!)).ready)
    await mesh.end()
    times["bare"]!.push(await wallTime([process.execPath, "-e", "0"]))
  }
  const three: number[] = []
  for (let trial = 0; trial < (bench.n ?? 5) && (trial === 0 || early()); trial++) {
    const mesh = makeMesh(bench, 3)
    const begun = performance.now()
    for (const node of mesh.nodes) node.start()
    await mesh.steady()
    three.push(performance.now() - begun)
    await mesh.end()
  }
  const peer = { name: "node -e 0", samples: times["bare"]! }
  return [
    { figure: "startup.live", unit: "ms", samples: times["live"]!, peer },
    { figure: "startup.ready.new", unit: "ms", samples: times["ready"]! },
    { figure: "startup.ready.again", unit: "ms", samples: times["again"]! },
    { figure: "startup.survives-1", unit: "ms", samples: three },
  ]
}

async function startOf(node: MeshNode): Promise<{ live: number; ready: number }> {
  const begun = performance.now()
  node.start()
  const until = (path: string): Promise<number> =>
    eventually(
      path,
      async () =>
        (await node.api.ask("GET", path)).status === 200 ? performance.now() - begun : undefined,
      { everyMs: 5 },
    )
  return { live: await until("/livez"), ready: await until("/readyz") }
}

/** cli: what a command that only asks a node costs, beside a Node that does nothing. */
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { startMesh } from "../mesh.ts"
import { ended, oneRole, submit } from "../runs.ts"
import { wallTime } from "../wall-time.ts"

export const cli: Figure = {
  name: "cli",
  about: "`troupe runs list` and `troupe version` as wall time; peer: node -e 0",
  run: measure,
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const early = untilLate(bench)
  const [node] = mesh.nodes
  for (let number = 1; number <= 3; number++) {
    const run = oneRole(`listed-${number}`, { command: ["true"], node: node!.name })
    await ended(node!.api, (await submit(node!.api, run)).id)
  }
  const list = ["runs", "list", "--api", node!.host.api]
  const [lists, versions, bare]: [number[], number[], number[]] = [[], [], []]
  for (let round = -1; round < (bench.n ?? 20) && (round < 1 || early()); round++) {
    const listed = await wallTime([...bench.program.command, ...list])
    const version = await wallTime([...bench.program.command, "version"])
    const nothing = await wallTime([process.execPath, "-e", "0"])
    // The first fills caches of the disk.
    if (round < 0) continue
    lists.push(listed)
    versions.push(version)
    bare.push(nothing)
  }
  await mesh.end()
  const peer = { name: "node -e 0", samples: bare }
  return [
    { figure: "cli.runs-list", unit: "ms", samples: lists, peer },
    { figure: "cli.version", unit: "ms", samples: versions, peer },
  ]
}

/** write: what one replicated entry costs, one after the other and many at once; and submits of runs that wait. */
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { cpuMs } from "../processes.ts"
import { startFloor } from "../floor.ts"
import { type MeshNode, startMesh } from "../mesh.ts"
import { ended, oneRole, submit, write } from "../runs.ts"

const inFlight = 64

export const writes: Figure = {
  name: "write",
  about: "a replicated write over REST, and submits, in sequence and 64 in flight; peer: floor",
  run: measure,
}

async function measure(bench: Bench): Promise<readonly Measured[]> {
  const mesh = await startMesh(bench, 3)
  const leader = await mesh.leader()
  const [follower] = mesh.nodes.filter((node) => node !== leader)
  const { id } = await submit(
    leader.api,
    oneRole("written", { command: ["true"], node: leader.name }),
  )
  await ended(leader.api, id)
  const floor = await startFloor(bench, inFlight)
  const n = bench.n ?? 500

  const loops = {
    atLeader: () => write(leader.api, id),
    atFollower: () => write(follower!.api, id),
    floor: () => floor.write(),
  }
  const quick = { n, share: 0.1, inFlight: 1 }
  await loop(bench, { ...quick, n: 100 }, loops.atLeader)
  const pids = mesh.nodes.map(({ pid }) => pid)
  const before = cpuMs(pids)
  const atLeader = await loop(bench, quick, loops.atLeader)
  const cpu = (cpuMs(pids) - before) / atLeader.samples.length
  const alone = {
    leader: atLeader,
    follower: await loop(bench, quick, loops.atFollower),
    floor: await loop(bench, quick, loops.floor),
  }
  const many = { n: n * 8, share: 0.15, inFlight }
  const together = {
    leader: await loop(bench, many, loops.atLeader),
    floor: await loop(bench, many, loops.floor),
  }
  const submits = await loop(bench, { ...quick, n: Math.min(n, 200) }, waitingSubmit(leader))
  const manySubmits = await loop(bench, { ...many, n }, waitingSubmit(leader))
  await floor.end()
  await mesh.end()
  return [
    row("at-leader", alone.leader, alone.floor),
    row("at-follower", alone.follower, alone.floor),
    { figure: "write.cpu", unit: "CPU ms, 3 nodes", samples: [cpu] },
    row("64-in-flight", together.leader, together.floor),
    rate("64-in-flight.rate", together.leader, together.floor),
    row("submit", submits, alone.floor),
    rate("submit.64-in-flight.rate", manySubmits),
  ]
}

function row(figure: string, ours: Loop, peer?: Loop): Measured {
  const beside = peer && { name: "floor", samples: peer.samples }
  return { figure: `write.${figure}`, unit: "ms", samples: ours.samples, peer: beside }
}

function rate(figure: string, ours: Loop, peer?: Loop): Measured {
  const beside = peer && { name: "floor", samples: [peer.perSecond] }
  return { figure: `write.${figure}`, unit: "per s", samples: [ours.perSecond], peer: beside }
}

let submitted = 0

/** Accepted and waiting for a node that there is not, so that no process takes part. */
function waitingSubmit(node: MeshNode): () => Promise<unknown> {
  return () => {
    const label = `waits-${++submitted}`
    const more = ["needs: { labels: { bench: nowhere } }"]
    return submit(node.api, oneRole(label, { command: ["true"], more }))
  }
}

interface Loop {
  readonly samples: readonly number[]
  readonly perSecond: number
}

async function loop(
  bench: Bench,
  limits: { readonly n: number; readonly share: number; readonly inFlight: number },
  ask: () => Promise<unknown>,
): Promise<Loop> {
  const early = untilLate(bench, limits.share)
  const samples: number[] = []
  let left = limits.n
  const one = async (): Promise<void> => {
    while (left-- > 0 && early()) {
      const begun = performance.now()
      await ask()
      samples.push(performance.now() - begun)
    }
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: limits.inFlight }, one))
  return { samples, perSecond: (samples.length * 1000) / (performance.now() - begun) }
}

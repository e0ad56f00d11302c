/** consensus: replicated writes of three real nodes beside three members of etcd, rounds taken in turns. */
import { type Contender, startPeer, startTroupe } from "../contenders.ts"
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { type Load, type RoundResult, startLoad } from "../load/round.ts"
import { ceilings } from "../load/ceiling.ts"
import { weigh } from "../processes.ts"

export const consensus: Figure = {
  name: "consensus",
  about: "replicated writes at the leader: in sequence, 64 and 256 in flight; peer: etcd",
  run: measureWrites,
}

export const consensusMemory: Figure = {
  name: "consensus-rss",
  about: "growth of the heaviest node from write 20,000 to write 100,000; peer: etcd",
  run: measureMemory,
}

/** Writes of a round: about a second each. */
const loads = [
  { inFlight: 1, writes: 300 },
  { inFlight: 64, writes: 5000 },
  { inFlight: 256, writes: 6000 },
]
const roundsMax = 7

async function measureWrites(bench: Bench): Promise<readonly Measured[]> {
  const ours = await startTroupe(bench)
  const peer = await startPeer(bench)
  const load = startLoad(bench)
  const contenders = [ours, ...(peer ? [peer] : [])]
  const results = new Map<string, RoundResult[]>()
  const early = untilLate(bench)
  // The first round warms up and is not counted.
  for (let number = 0; number <= (bench.n ?? roundsMax) && (number < 2 || early()); number++) {
    for (const { inFlight, writes } of loads) {
      for (const contender of number % 2 === 0 ? contenders : contenders.toReversed()) {
        const { target } = await contender.leader()
        const result = await load.round({ target, inFlight, writes })
        if (result.failed > 0) bench.say(`${contender.name}: ${result.failed} writes failed`)
        const key = `${contender.name} ${inFlight}`
        if (number > 0) results.set(key, [...(results.get(key) ?? []), result])
      }
    }
  }
  const loopDelay = await ours.loopDelay()
  const of = (contender: Contender, inFlight: number): readonly RoundResult[] =>
    results.get(`${contender.name} ${inFlight}`) ?? []
  const row = (
    figure: string,
    unit: string,
    pick: (contender: Contender) => readonly number[],
  ): Measured => ({
    figure: `consensus.${figure}`,
    unit,
    samples: pick(ours),
    peer: peer && { name: peer.name, samples: pick(peer) },
  })
  const rate = (inFlight: number): Measured =>
    row(`${inFlight}-in-flight`, "per s", (one) => of(one, inFlight).map((each) => each.perSecond))
  const most = loads.at(-1)!.inFlight
  return [
    row("sequential", "ms", (one) => of(one, 1).flatMap(({ samples }) => samples)),
    row("sequential.p99", "ms, of rounds", (one) => of(one, 1).map(({ p99 }) => p99)),
    ...loads.slice(1).map(({ inFlight }) => rate(inFlight)),
    row("client.cpu-share", `at ${most}`, (one) =>
      of(one, most).map((each) => each.clientCpuShare),
    ),
    ...(await ceilings(load, bench)),
    { figure: "consensus.loop-delay.p99", unit: "ms, worst node", samples: [loopDelay ?? 0] },
  ]
}

const step = 10_000
const from = 20_000
const to = 100_000

async function measureMemory(bench: Bench): Promise<readonly Measured[]> {
  const load = startLoad(bench)
  const ours = await startTroupe(bench)
  const grown = await growth(bench, load, ours)
  const peer = await startPeer(bench)
  const peerGrown = peer && (await growth(bench, load, peer))
  const row = (figure: string, unit: string, pick: (of: Growth) => number): Measured => ({
    figure: `consensus-rss.${figure}`,
    unit,
    samples: [pick(grown)],
    peer: peer && peerGrown && { name: peer.name, samples: [pick(peerGrown)] },
  })
  return [
    row("at-20k", "MB", ({ before }) => before),
    row("at-100k", "MB", ({ after }) => after),
    row("growth", "MB", ({ before, after }) => after - before),
    row("writes", "count", ({ writes }) => writes),
  ]
}

interface Growth {
  readonly before: number
  readonly after: number
  readonly writes: number
}

async function growth(bench: Bench, load: Load, contender: Contender): Promise<Growth> {
  const { target } = await contender.leader()
  const heaviest = (): number => Math.max(...contender.places.map(({ pid }) => weigh([pid]).rssMB))
  const early = untilLate(bench)
  const seen: number[] = []
  let writes = 0
  let before = heaviest()
  while (writes < to && early()) {
    writes += (await load.round({ target, inFlight: 64, writes: step })).acknowledged
    seen.push(heaviest())
    if (writes === from) before = seen.at(-1)!
  }
  const shown = seen.map((value) => value.toFixed(0)).join(" ")
  bench.say(`${contender.name}: MB after each ${step} writes: ${shown}`)
  return { before, after: seen.at(-1) ?? before, writes }
}

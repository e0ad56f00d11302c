/** Makes load in a process of its own: a line of JSON in is a round, a line out is what came of it. */
import { createInterface } from "node:readline"
import { quantile } from "../summary.ts"
import { GrpcWriter } from "./grpc-writer.ts"
import { HttpWriter } from "./http-writer.ts"
import type { Round, RoundResult } from "./round.ts"
import type { Writer } from "./writer.ts"

const limitMs = 10_000
const kept = new Map<string, Writer[]>()

/** One HTTP/2 connection carries all of a round; HTTP/1.1 takes one for each that is in flight. */
function writersOf({ target, inFlight }: Round): readonly Writer[] {
  const name = `${target.system} ${target.host}:${target.port} ${target.run}`
  const writers = kept.get(name) ?? []
  kept.set(name, writers)
  const wanted = target.system === "etcd" ? 1 : inFlight
  while (writers.length < wanted) {
    writers.push(target.system === "etcd" ? new GrpcWriter(target) : new HttpWriter(target))
  }
  return writers
}

async function perform(round: Round): Promise<RoundResult> {
  const writers = writersOf(round)
  const samples: number[] = []
  let left = round.writes
  let failed = 0
  const cpu = process.cpuUsage()
  const begun = performance.now()
  const one = async (lane: number): Promise<void> => {
    const writer = writers[lane % writers.length]!
    while (left-- > 0) {
      const start = performance.now()
      if (await writer.write(left, limitMs)) samples.push(performance.now() - start)
      else failed++
    }
  }
  await Promise.all(Array.from({ length: round.inFlight }, (_, lane) => one(lane)))
  const ms = performance.now() - begun
  const { user, system } = process.cpuUsage(cpu)
  return {
    event: "round",
    acknowledged: samples.length,
    failed,
    perSecond: (samples.length * 1000) / ms,
    p50: quantile(samples, 0.5),
    p99: quantile(samples, 0.99),
    max: quantile(samples, 1),
    clientCpuShare: (user + system) / 1000 / ms,
    samples: round.inFlight === 1 ? samples : [],
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const result = await perform(JSON.parse(line) as Round)
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
process.exit(0)

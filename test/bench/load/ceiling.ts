/** What the load client itself can do: the same rounds against servers that answer at once and write nothing. */
import { join } from "node:path"
import { TalkingProcess } from "../../support/processes.ts"
import type { Bench, Measured } from "../figure.ts"
import type { Load } from "./round.ts"

const rounds = 3
const writes = 10_000
const inFlight = 64
const program = join(import.meta.dirname, "ceiling-process.ts")

export async function ceilings(load: Load, bench: Bench): Promise<readonly Measured[]> {
  const child = new TalkingProcess(process.execPath, [program])
  bench.onEnd(async () => await child.kill())
  const { http, grpc } = await child.hears(({ event }) => event === "listening")
  const targets = [
    { figure: "http", target: { system: "troupe", port: Number(http), run: "r-1" } },
    { figure: "grpc", target: { system: "etcd", port: Number(grpc) } },
  ] as const
  const measured: Measured[] = []
  for (const { figure, target } of targets) {
    const samples: number[] = []
    for (let number = 0; number < rounds; number++) {
      const round = { target: { ...target, host: "127.0.0.1" }, inFlight, writes }
      samples.push((await load.round(round)).perSecond)
    }
    measured.push({ figure: `consensus.client.ceiling.${figure}`, unit: "per s", samples })
  }
  await child.kill()
  return measured
}

/** One round of load, as it is asked for and as it went; and the process that makes it. */
import { join } from "node:path"
import { TalkingProcess } from "../../support/processes.ts"
import type { Bench } from "../figure.ts"
import type { WriterTarget } from "./writer.ts"

export interface Round {
  readonly target: WriterTarget
  readonly inFlight: number
  readonly writes: number
}

export interface RoundResult {
  readonly event: "round"
  readonly acknowledged: number
  readonly failed: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** CPU time over wall time: near 1 the client is what is measured. */
  readonly clientCpuShare: number
  /** Only of writes in sequence, ms. */
  readonly samples: readonly number[]
}

export interface Load {
  round(round: Round): Promise<RoundResult>
  end(): Promise<void>
}

/** One round at a time. */
export function startLoad(bench: Bench): Load {
  const program = join(import.meta.dirname, "load-process.ts")
  const child = new TalkingProcess(process.execPath, [program])
  const end = async (): Promise<void> => await child.kill()
  bench.onEnd(end)
  return {
    async round(round) {
      const from = child.said.length
      child.say(JSON.stringify(round))
      const said = await child.hears(({ event }) => event === "round", from)
      return said as unknown as RoundResult
    },
    end,
  }
}

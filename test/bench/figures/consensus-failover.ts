/** consensus-failover: from the loss of the leader to the first acknowledged write, beside etcd, trials taken in turns. */
import { type Contender, type Place, startPeer, startTroupe } from "../contenders.ts"
import type { Bench, Figure, Measured } from "../figure.ts"
import { untilLate } from "../figure.ts"
import { GrpcWriter } from "../load/grpc-writer.ts"
import { HttpWriter } from "../load/http-writer.ts"
import type { Writer, WriterTarget } from "../load/writer.ts"
import { rest } from "../waiting.ts"

export const consensusFailover: Figure = {
  name: "consensus-failover",
  about: "kill -9 of the leader → first acknowledged write at a survivor; peer: etcd",
  run: (bench) => measure(bench, "killed"),
}

export const consensusSilent: Figure = {
  name: "consensus-silent",
  about: "the same with the leader stopped by SIGSTOP; peer: etcd",
  run: (bench) => measure(bench, "silent"),
}

type Loss = "killed" | "silent"

const trialsOf = { killed: 20, silent: 10 }
/** A new write each time, at the survivors in turn: a held one may answer late. */
const everyMs = 5
const limitMs = 3000
const giveUpMs = 20_000
const calmMs = 1000

async function measure(bench: Bench, loss: Loss): Promise<readonly Measured[]> {
  const ours = await startTroupe(bench)
  const peer = await startPeer(bench)
  const samples = { ours: [] as number[], peer: [] as number[] }
  const early = untilLate(bench)
  const trials = bench.n ?? trialsOf[loss]
  for (let number = 0; number < trials && early(); number++) {
    samples.ours.push(await lose(ours, loss))
    if (peer) samples.peer.push(await lose(peer, loss))
  }
  const name = loss === "killed" ? "consensus-failover" : "consensus-silent"
  const beside = peer && { name: peer.name, samples: samples.peer }
  return [
    { figure: `${name}.write`, unit: "ms", samples: samples.ours, peer: beside },
    {
      figure: `${name}.max`,
      unit: "ms",
      samples: longest(samples.ours),
      peer: peer && { name: peer.name, samples: longest(samples.peer) },
    },
  ]
}

function longest(all: readonly number[]): readonly number[] {
  return all.length === 0 ? [] : [Math.max(...all)]
}

/** ms until a write that began after the loss was acknowledged. */
async function lose(contender: Contender, loss: Loss): Promise<number> {
  await contender.steady()
  await rest(calmMs)
  const leader = await contender.leader()
  const survivors = contender.places.filter((place) => place !== leader)
  const pools = survivors.map(({ target }) => new WriterPool(target))
  for (const pool of pools) await pool.write(0, limitMs)
  const begun = performance.now()
  process.kill(leader.pid, loss === "killed" ? "SIGKILL" : "SIGSTOP")
  try {
    return (await firstWrite(pools)) - begun
  } finally {
    for (const pool of pools) pool.close()
    await bringBack(leader, loss)
  }
}

async function bringBack(leader: Place, loss: Loss): Promise<void> {
  if (loss === "silent") {
    process.kill(leader.pid, "SIGCONT")
    return
  }
  await leader.kill()
  leader.start()
}

function firstWrite(pools: readonly WriterPool[]): Promise<number> {
  return new Promise((resolve, reject) => {
    let number = 0
    const end = (): void => {
      clearInterval(timer)
      clearTimeout(late)
    }
    const attempt = async (): Promise<void> => {
      number++
      const isWritten = await pools[number % pools.length]!.write(number, limitMs)
      if (!isWritten) return
      end()
      resolve(performance.now())
    }
    const timer = setInterval(() => void attempt(), everyMs)
    const late = setTimeout(() => {
      end()
      reject(new Error(`nothing was written within ${giveUpMs / 1000} s of the loss`))
    }, giveUpMs)
  })
}

/** As many writes at once as are asked for: HTTP/1.1 takes a socket for each. */
class WriterPool {
  readonly #target: WriterTarget
  readonly #idle: Writer[] = []
  readonly #all: Writer[] = []

  constructor(target: WriterTarget) {
    this.#target = target
  }

  async write(number: number, limit: number): Promise<boolean> {
    if (this.#target.system === "etcd") return await this.#grpc().write(number, limit)
    const writer = this.#idle.pop() ?? this.#add(new HttpWriter(this.#target))
    const isWritten = await writer.write(number, limit)
    this.#idle.push(writer)
    return isWritten
  }

  close(): void {
    for (const writer of this.#all) writer.close()
  }

  #grpc(): Writer {
    return this.#all[0] ?? this.#add(new GrpcWriter(this.#target))
  }

  #add(writer: Writer): Writer {
    this.#all.push(writer)
    return writer
  }
}

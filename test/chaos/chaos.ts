/** One chaos run: real nodes on hosts of their own, clients that write down what they are told, faults by dice, and the judgement. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeHosts } from "../e2e/hosts.ts"
import { SeededRandom } from "../support/random.ts"
import type { ClientOptions } from "./client-process.ts"
import { allApplied, allFinished, calm, EndError, sameLists, sameTables, stories } from "./end.ts"
import { judge, type Judgement, paintAll } from "./judge.ts"
import { Machine } from "./machine.ts"
import { leaderAmong, Nemesis } from "./nemesis.ts"
import { buildProgram, type Planted, type Program } from "./program.ts"
import { appendRecord, microseconds, readRecords } from "./record.ts"
import type { FaultKind } from "./tools.ts"

export interface ChaosOptions {
  readonly seed: number
  readonly ms: number
  readonly nodes: number
  readonly kinds: readonly FaultKind[]
  /** Where record, logs and pictures are written. */
  readonly directory: string
  readonly bugs?: readonly Planted[]
  /** Instead of the working tree. */
  readonly commit?: string | undefined
  readonly say?: (line: string) => void
}

export interface ChaosResult {
  /** Sentences; none is right. */
  readonly faults: readonly string[]
  readonly judgement: Judgement
  readonly struck: ReadonlyMap<FaultKind, number>
  readonly runs: number
  /** Of the tables that were compared on each disk. */
  readonly rows: number
  readonly wholeAfterMs: number
  readonly pictures: readonly string[]
}

const clientProcesses = 2
const clientsEach = 4
const keyMs = 500
const pauseMs = 150
const leaderEveryMs = 300
const formMs = 60_000
/** A full disk ends a node so; nothing else may. */
const storageExit = 74

export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const chaos = new Chaos(options)
  const stop = (): void => {
    void chaos.remove().finally(() => process.exit(130))
  }
  process.once("SIGINT", stop).once("SIGTERM", stop)
  try {
    return await chaos.run()
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop)
    await chaos.remove()
  }
}

class Chaos {
  readonly #options: ChaosOptions
  readonly #ground: string
  readonly #file: string
  readonly #jobs: string
  readonly #faults: string[] = []
  #program: Program | undefined
  #machines: readonly Machine[] = []
  #removeHosts: () => void = () => undefined
  #clients: readonly ChildProcess[] = []
  #runs = 0
  #rows = 0
  #wholeAfterMs = 0

  constructor(options: ChaosOptions) {
    this.#options = options
    mkdirSync(options.directory, { recursive: true })
    this.#ground = mkdtempSync(join(tmpdir(), "chaos-"))
    this.#file = join(options.directory, "record.jsonl")
    this.#jobs = join(this.#ground, "jobs")
    writeFileSync(this.#file, "")
    writeFileSync(this.#jobs, "")
  }

  #say(line: string): void {
    this.#options.say?.(line)
  }

  async run(): Promise<ChaosResult> {
    const { seed, ms, kinds } = this.#options
    await this.#form()
    const random = new SeededRandom(seed)
    const nemesis = new Nemesis({ machines: this.#machines, random, kinds, file: this.#file })
    const over = new AbortController()
    const watching = this.#watchLeaders(over.signal)
    this.#clients = this.#startClients()
    setTimeout(() => over.abort(), ms)
    await nemesis.run(over.signal)
    this.#heal()
    await stopClients(this.#clients)
    this.#clients = []
    await watching
    this.#say("calm")
    try {
      await this.#end()
    } catch (error) {
      if (!(error instanceof EndError)) throw error
      this.#faults.push(error.message)
    }
    return this.#judge(nemesis)
  }

  async #form(): Promise<void> {
    const { nodes, kinds, directory, bugs = [], commit } = this.#options
    const program = await buildProgram(join(this.#ground, "program"), { bugs, commit })
    this.#program = program
    const { hosts, remove } = makeHosts(nodes)
    this.#removeHosts = remove
    this.#machines = hosts.map(
      (host, place) =>
        new Machine({
          name: `n${place + 1}`,
          host,
          directory: this.#ground,
          logs: directory,
          program: program.file,
          hasOwnDisk: kinds.includes("fulldisk"),
          hasOwnClock: kinds.includes("clock"),
        }),
    )
    for (const machine of this.#machines) machine.start()
    const limit = Date.now() + formMs
    await calm(this.#machines)
    if (Date.now() > limit) throw new Error("the cluster did not form in time")
    this.#say(`${nodes} nodes are one cluster; data in ${this.#ground}`)
  }

  #startClients(): ChildProcess[] {
    const { seed } = this.#options
    const epoch = microseconds()
    return Array.from({ length: clientProcesses }, (_, place) => {
      const options: ClientOptions = {
        seed: (seed << 8) + place,
        name: `c${place + 1}`,
        clients: clientsEach,
        nodes: this.#machines.map(({ name, api }) => ({ name, api })),
        file: this.#file,
        jobs: this.#jobs,
        epoch,
        keyMs,
        pauseMs,
      }
      const program = join(import.meta.dirname, "client-process.ts")
      return spawn(process.execPath, [program, JSON.stringify(options)], {
        stdio: ["ignore", "inherit", "inherit"],
      })
    })
  }

  async #watchLeaders(signal: AbortSignal): Promise<void> {
    let last = ""
    while (!signal.aborted) {
      const leader = await leaderAmong(this.#machines)
      if (leader && last !== `${leader.machine.name} ${leader.term}`) {
        last = `${leader.machine.name} ${leader.term}`
        const { name: node } = leader.machine
        appendRecord(this.#file, { type: "leader", at: microseconds(), node, term: leader.term })
      }
      await new Promise((resolve) => setTimeout(resolve, leaderEveryMs))
    }
  }

  #heal(): void {
    for (const machine of this.#machines) {
      machine.deafTo([])
      machine.fastDisk()
      machine.freeDisk()
      machine.setClock(0)
      machine.resume()
      machine.start()
    }
  }

  async #end(): Promise<void> {
    const machines = this.#machines
    this.#wholeAfterMs = (await calm(machines)).wholeAfterMs
    const runs = await allFinished(machines)
    this.#runs = runs.length
    this.#faults.push(...(await sameLists(machines, this.#file)))
    const { file, jobsFile } = { file: this.#file, jobsFile: this.#jobs }
    this.#faults.push(...(await stories({ runs, machines, jobsFile, file })))
    await allApplied(machines)
    await Promise.all(machines.map((machine) => machine.stop()))
    const tables = await sameTables(machines, this.#program!.sources)
    this.#rows = tables.rows
    this.#faults.push(...tables.faults)
  }

  #judge(nemesis: Nemesis): ChaosResult {
    const records = readRecords(this.#file)
    const judgement = judge(records)
    for (const { name, exits } of this.#machines) {
      for (const { code, isFull } of exits) {
        if (code === storageExit && isFull) continue
        this.#faults.push(`${name} ended by itself with ${code}`)
      }
    }
    const faults = [...judgement.faults, ...this.#faults]
    const { seed, nodes, directory } = this.#options
    const title = `seed ${seed}, ${nodes} nodes`
    return {
      faults,
      judgement,
      struck: nemesis.counts,
      runs: this.#runs,
      rows: this.#rows,
      wholeAfterMs: this.#wholeAfterMs,
      pictures: paintAll(directory, records, { title, faults }),
    }
  }

  async remove(): Promise<void> {
    await stopClients(this.#clients)
    await Promise.all(this.#machines.map((machine) => machine.kill()))
    for (const machine of this.#machines) machine.remove()
    this.#removeHosts()
    rmSync(this.#ground, { recursive: true, force: true })
  }
}

async function stopClients(clients: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    clients.map(async (client) => {
      if (client.exitCode !== null || client.signalCode !== null) return
      const gone = new Promise((resolve) => client.once("exit", resolve))
      client.kill("SIGTERM")
      await gone
    }),
  )
}

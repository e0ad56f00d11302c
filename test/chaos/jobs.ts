/** Rough jobs: many short processes on real nodes while leaders, workers, keepers and links are struck; then their stories. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RunEvent, RunView } from "../../src/schema/index.ts"
import { makeHosts } from "../e2e/hosts.ts"
import { SeededRandom } from "../support/random.ts"
import { calm, EndError, until } from "./end.ts"
import { insist, type RoughJob, jobsFile, roughJobs } from "./job-requests.ts"
import { findingsOf, type JobFindings, type JobStory, processesWith } from "./job-stories.ts"
import { Machine } from "./machine.ts"
import { ask, Nemesis } from "./nemesis.ts"
import { buildProgram } from "./program.ts"
import { readJobs } from "./requests.ts"
import type { FaultKind } from "./tools.ts"

export interface RoughOptions {
  readonly seed: number
  readonly jobs: number
  readonly nodes: number
  /** For how long something is struck. */
  readonly ms: number
  readonly kinds: readonly FaultKind[]
  /** Where record and logs are written. */
  readonly directory: string
  readonly say?: (line: string) => void
}

export interface RoughResult extends JobFindings {
  readonly struck: ReadonlyMap<FaultKind, number>
  readonly starts: number
  /** From the first submission to the last end. */
  readonly tookMs: number
}

const capacity = 8
const formMs = 60_000
const askMs = 20_000
/** A job that was lost is found out within this, after the last fault. */
const finishedMs = 180_000

export async function runRoughJobs(options: RoughOptions): Promise<RoughResult> {
  const rough = new Rough(options)
  const stop = (): void => {
    void rough.remove().finally(() => process.exit(130))
  }
  process.once("SIGINT", stop).once("SIGTERM", stop)
  try {
    return await rough.run()
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop)
    await rough.remove()
  }
}

class Rough {
  readonly #options: RoughOptions
  readonly #ground: string
  readonly #record: string
  readonly #faults: string[] = []
  #machines: readonly Machine[] = []
  #removeHosts: () => void = () => undefined

  constructor(options: RoughOptions) {
    this.#options = options
    mkdirSync(options.directory, { recursive: true })
    this.#ground = mkdtempSync(join(tmpdir(), "rough-"))
    this.#record = join(options.directory, "record.jsonl")
    writeFileSync(this.#record, "")
    writeFileSync(jobsFile(this.#ground), "")
  }

  async run(): Promise<RoughResult> {
    const { seed, jobs: count, ms, nodes, kinds, say } = this.#options
    await this.#form()
    const random = new SeededRandom(seed)
    // Busy for most of the time in which something is struck.
    const each = Math.max(50, Math.round((0.6 * ms * nodes * capacity) / count))
    const jobs = roughJobs(this.#ground, { count, ms: each, random })
    const nemesis = new Nemesis({
      machines: this.#machines,
      random: random.fork(),
      kinds,
      file: this.#record,
    })
    const begun = performance.now()
    const over = new AbortController()
    const timer = setTimeout(() => over.abort(), ms)
    const struck = nemesis.run(over.signal)
    const accepted = await this.#submit(jobs, random)
    say?.(`${count} jobs in ${jobs.length} runs are accepted; each takes about ${each} ms`)
    await struck
    clearTimeout(timer)
    this.#heal()
    say?.("calm")
    const stories = await this.#end(accepted)
    const tookMs = Math.round(performance.now() - begun)
    const lines = readJobs(jobsFile(this.#ground))
    const found = findingsOf(stories, lines)
    const left = processesWith(`JOBS_FILE=${jobsFile(this.#ground)}`)
    this.#faults.push(...left.map((process) => `left behind: ${process}`))
    for (const { name, exits } of this.#machines) {
      for (const { code } of exits) this.#faults.push(`${name} ended by itself with ${code}`)
    }
    return {
      ...found,
      faults: [...this.#faults, ...found.faults],
      struck: nemesis.counts,
      starts: lines.filter(({ word }) => word === "start").length,
      tookMs,
    }
  }

  async #form(): Promise<void> {
    const { nodes, directory } = this.#options
    const program = await buildProgram(join(this.#ground, "program"))
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
          hasOwnDisk: false,
          hasOwnClock: false,
          flags: { capacity: String(capacity) },
        }),
    )
    for (const machine of this.#machines) machine.start()
    const limit = Date.now() + formMs
    await calm(this.#machines)
    if (Date.now() > limit) throw new Error("the cluster did not form in time")
  }

  /** A few at a time, as from several users. */
  async #submit(
    jobs: readonly RoughJob[],
    random: SeededRandom,
  ): Promise<{ readonly job: RoughJob; readonly run: string }[]> {
    const accepted: { job: RoughJob; run: string }[] = []
    const queue = [...jobs]
    const user = async (): Promise<void> => {
      for (let job = queue.shift(); job; job = queue.shift()) {
        const { id } = await insist(this.#machines, job, random)
        accepted.push({ job, run: id })
      }
    }
    await Promise.all([user(), user(), user()])
    return accepted
  }

  #heal(): void {
    for (const machine of this.#machines) {
      machine.deafTo([])
      machine.resume()
      machine.start()
    }
  }

  async #end(
    accepted: readonly { readonly job: RoughJob; readonly run: string }[],
  ): Promise<readonly JobStory[]> {
    try {
      await calm(this.#machines)
      const stories: JobStory[] = []
      for (const [place, { job, run }] of accepted.entries()) {
        const machine = this.#machines[place % this.#machines.length]!
        const view = await this.#finished(machine, run)
        const events = await eventsOf(machine, run)
        stories.push({ request: job.request, view, events })
      }
      await until("nothing runs any more", finishedMs, async () => {
        const left = processesWith(`JOBS_FILE=${jobsFile(this.#ground)}`)
        return await Promise.resolve(left.length === 0 || left.join())
      })
      return stories
    } catch (error) {
      if (!(error instanceof EndError)) throw error
      this.#faults.push(error.message)
      return []
    }
  }

  async #finished(machine: Machine, run: string): Promise<RunView> {
    return await until(`${run} is finished`, finishedMs, async () => {
      const view = await ask<RunView>(machine, `/v1/runs/${run}?tasks=all`, askMs)
      if (view?.state === "finished") return view
      const open = view?.tasks.filter(({ state }) => state !== "finished") ?? []
      return view && JSON.stringify(open.slice(0, 3))
    })
  }

  async remove(): Promise<void> {
    await Promise.all(this.#machines.map((machine) => machine.kill()))
    for (const machine of this.#machines) machine.remove()
    this.#removeHosts()
    rmSync(this.#ground, { recursive: true, force: true })
  }
}

async function eventsOf(machine: Machine, run: string): Promise<readonly RunEvent[]> {
  const response = await fetch(`${machine.api}/v1/runs/${run}/events`, {
    headers: { accept: "application/x-ndjson" },
    signal: AbortSignal.timeout(askMs),
  })
  const lines = (await response.text()).split("\n").filter((line) => line.startsWith("{"))
  return lines.map((line) => JSON.parse(line) as RunEvent)
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([what, times]) => `${times} ${what}`).join(", ")
}

/** In a few lines. */
export function describeRough(result: RoughResult): string {
  const { faults, results, outcomes, struck, starts, again, tookMs } = result
  return [
    faults.length === 0 ? "all accounted for" : `${faults.length} faults`,
    `tasks: ${listed(results)}; ${starts} processes, ${again} of them again, in ${Math.round(tookMs / 1000)} s`,
    `attempts: ${listed(outcomes)}`,
    `struck: ${listed(struck)}`,
  ].join("\n")
}

/** The node's side of its keepers: one that gets the new jobs, and older ones that still have some from before an update. */
import { rm } from "node:fs/promises"
import { join, sep } from "node:path"
import type { Clock, Logger } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"
import type {
  KeeperAttempt,
  KeptOutput,
  LaunchSpec,
  OutputPiece,
  OutputStart,
} from "../wire/index.ts"
import { createKeeperClock } from "./clock.ts"
import { keeperError } from "./connection.ts"
import { buildOf, generationsIn } from "./generations.ts"
import {
  keptRuns,
  moveOutputs,
  noteRemoved,
  readOutput,
  removedAt,
  removeRuns,
  type StreamName,
} from "./kept-outputs.ts"
import { keeperCommand, keeperProgram } from "./launcher.ts"
import { KeeperLink } from "./link.ts"
import { findArtifacts, type FoundArtifact, readContent, readStream } from "./outputs.ts"
import { keeperPaths } from "./paths.ts"
import type { KeeperStatus, Target } from "./protocol.ts"

export interface KeeperOptions {
  /** The node's data directory. */
  readonly directory: string
  readonly clock: Clock
  readonly logger: Logger
  /** Program and arguments that start the keeper; the data directory is added. By default the one beside this file. */
  readonly command?: readonly string[]
  /** Which build that is; by default told by the program's bytes. */
  readonly build?: string
}

const startTimeoutMs = 15_000
/** Keepers of older versions do not know `renew`, nor attempts that need it. */
const renewVersion = 3

export class KeeperClient {
  readonly #options: KeeperOptions
  readonly #handlers: ((attempt: KeeperAttempt) => void)[] = []
  /** Oldest first; the last one gets the new jobs. */
  #links: KeeperLink[] = []
  #starting: Promise<void> | undefined
  /** Launches under way: their files may be there before their attempts are known here. */
  readonly #launching = new Set<LaunchSpec>()
  /** Who waits for an attempt's end, so that a newer one may start. */
  #waiters: (() => void)[] = []

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /** Resolves when all keepers answer and their attempts are known; ERR_KEEPER when one does not come up. */
  async start(): Promise<void> {
    this.#starting ??= this.#start()
    await this.#starting
  }

  async #start(): Promise<void> {
    const { clock, directory } = this.#options
    const limit = clock.timeoutSignal(startTimeoutMs, "starting the keeper")
    const numbers = generationsIn(directory)
    const newest = numbers.at(-1) ?? 1
    try {
      for (const number of numbers.slice(0, -1)) await this.#open(number).start(limit)
      await this.#startNewest(this.#open(newest), limit)
      for (const link of this.#links.slice(0, -1)) await this.#retire(link)
    } catch (error) {
      await this.stop()
      if (!limit.aborted) throw error
      const { log } = keeperPaths(directory, newest)
      throw keeperError(`not up within ${startTimeoutMs} ms; its log is ${log}`, error)
    }
  }

  // One of another build leaves when nothing runs, and ours takes over its journal. Else ours is a generation more.
  async #startNewest(link: KeeperLink, limit: AbortSignal): Promise<void> {
    const { logger, build = buildOf(keeperProgram()) } = this.#options
    await link.start(limit)
    if (link.build === build) return
    const found = { generation: link.generation, build: link.build, ours: build }
    if (await link.dismiss()) {
      logger.info("a keeper of another build had nothing to do and left", found)
      return await link.start(limit)
    }
    logger.info("a keeper of another build has jobs; new ones go to a new keeper", found)
    await this.#open(link.generation + 1).start(limit)
  }

  #open(generation: number): KeeperLink {
    const { directory, clock, logger, command } = this.#options
    const link = new KeeperLink({
      directory,
      generation,
      clock,
      logger,
      command: () => command ?? keeperCommand(),
      changed: (attempt) => this.#told(attempt),
    })
    this.#links.push(link)
    return link
  }

  #told(attempt: KeeperAttempt): void {
    for (const handler of this.#handlers) handler(attempt)
    for (const wake of this.#waiters.splice(0)) wake()
  }

  /** Leaves; jobs and keepers go on. */
  async stop(): Promise<void> {
    const links = this.#links
    this.#links = []
    this.#starting = undefined
    for (const link of links) await link.stop()
    for (const wake of this.#waiters.splice(0)) wake()
  }

  get #current(): KeeperLink {
    const link = this.#links.at(-1)
    if (!link) throw keeperError("no connection to the keeper")
    return link
  }

  /** The one that knows the attempt; of one that nobody knows: who would get it. */
  #ownerOf(target: Target): KeeperLink {
    return this.#links.find((link) => link.find(target)) ?? this.#current
  }

  async launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    this.#launching.add(spec)
    try {
      return await this.#launch(spec)
    } finally {
      this.#launching.delete(spec)
    }
  }

  async #launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    const current = this.#current
    for (const link of this.#links.slice(0, -1)) {
      const known = await this.#yield(link, spec)
      if (known) return known
    }
    const { attempt } = await current.call({ op: "launch", spec }, "attempt")
    current.note(attempt)
    // Its end may have come in the same breath as the answer, and is newer.
    return current.find(attempt) ?? attempt
  }

  /** What an older keeper does about a new order: it knows that very attempt, or ends an older one of the task first. */
  async #yield(link: KeeperLink, spec: LaunchSpec): Promise<KeeperAttempt | undefined> {
    const live = link.attempts.filter((one) => one.state !== "ended")
    if (link.clusterId !== spec.clusterId) {
      if (live.length === 0) return undefined
      throw new TroupeError("ERR_FORBIDDEN", "jobs of another cluster still run here", {
        what: `starting jobs for cluster ${spec.clusterId}`,
      })
    }
    const known = link.find(spec)
    if (known) return known
    for (const one of live) {
      if (one.run !== spec.run || one.task !== spec.task || one.fence >= spec.fence) continue
      const reason = `superseded by attempt ${spec.attempt}`
      await link.call({ op: "end", ...targetOf(one), graceMs: spec.graceMs, reason }, "done")
      while (link.find(one)?.state !== "ended" && this.#links.includes(link)) {
        await new Promise<void>((resolve) => this.#waiters.push(resolve))
      }
    }
    return undefined
  }

  async end(target: Target & { graceMs: number; reason: string }): Promise<void> {
    await this.#ownerOf(target).call({ op: "end", ...target }, "done")
  }

  /** This node had a lease of the cluster `ageMs` ago. A keeper that is away hears of the next one. */
  async renew({ clusterId, ageMs }: { clusterId: string; ageMs: number }): Promise<void> {
    // By the host's own clock, so that a word that waits in a socket while the machine sleeps is old when it is heard.
    const at = Math.max(0, Math.round(createKeeperClock().boottime() - ageMs))
    const able = this.#links.filter(({ version }) => version >= renewVersion)
    await Promise.all(
      able.map(async (link) => await link.call({ op: "renew", clusterId, at }, "done")),
    )
  }

  /** Of all keepers; fails while one of them is away, as what it has would look lost. */
  async list(): Promise<readonly KeeperAttempt[]> {
    // Without any it says that there is no connection.
    const links = this.#links.length === 0 ? [this.#current] : this.#links
    return (await Promise.all(links.map(async (link) => await link.list()))).flat()
  }

  onChange(handler: (attempt: KeeperAttempt) => void): void {
    this.#handlers.push(handler)
  }

  async forget(target: Target & { files: boolean }): Promise<void> {
    const link = this.#ownerOf(target)
    const directory = link.find(target)?.directory
    await link.call({ op: "forget", ...target }, "done")
    link.drop(target)
    // Only what it wrote to its streams is kept: a directory may hold anything.
    if (!target.files && directory !== undefined) {
      await rm(directory, { recursive: true, force: true })
    }
    if (link !== this.#current) await this.#retire(link)
  }

  /** An older keeper that nobody will ask for anything any more goes, and its files with it. */
  async #retire(link: KeeperLink): Promise<void> {
    if (link.attempts.length > 0 || !(await link.dismiss())) return
    this.#links = this.#links.filter((one) => one !== link)
    await moveOutputs(link.paths.out, this.#current.paths.out)
    await rm(link.paths.root, { recursive: true, force: true })
    this.#options.logger.info("an older keeper has left", { generation: link.generation })
  }

  async read(
    target: Target,
    stream: "stdout" | "stderr",
    range: { offset: number; max: number },
  ): Promise<{ data: Uint8Array; size: number; ended: boolean }> {
    return await readStream(this.#find(target), stream, range)
  }

  /** Like `read`, by the attempt's number: also of attempts that are forgotten and whose output is kept. */
  async tail(
    name: StreamName,
    range: {
      readonly start: OutputStart
      readonly max: number
      readonly allTimes?: boolean
    },
  ): Promise<OutputPiece> {
    const isNamed = (one: Pick<LaunchSpec, "run" | "task" | "attempt">): boolean =>
      one.run === name.run && one.task === name.task && one.attempt === name.attempt
    const known = this.#links.flatMap((link) => [...link.attempts]).find(isNamed)
    const begun = known ?? [...this.#launching].find(isNamed)
    // Looked at before the bytes: what ends in between is complete at the next read.
    const live = begun !== undefined && known?.state !== "ended"
    const sizeMax = live ? begun.outputBytesMax : Number.MAX_SAFE_INTEGER
    const folders = this.#links.map(({ paths }) => paths).toReversed()
    const piece = await readOutput(folders, name, { ...range, sizeMax })
    if (piece) return { state: live ? "live" : "ended", ...piece }
    const offset = "offset" in range.start ? range.start.offset : 0
    const nothing = { offset, data: new Uint8Array(0), size: 0, points: [] }
    if (begun) return { state: live ? "live" : "ended", ...nothing }
    const at = await removedAt(this.#removedFile, name.run)
    return at === undefined
      ? { state: "absent", ...nothing }
      : { state: "removed", removedAt: at, ...nothing }
  }

  get #removedFile(): string {
    return join(this.#options.directory, "removed-outputs")
  }

  /** Output of runs of which the keepers know no attempt any more. */
  async kept(): Promise<readonly KeptOutput[]> {
    const known = new Set((await this.list()).map(({ run }) => run))
    const all = await Promise.all(this.#links.map(async ({ paths }) => await keptRuns(paths.out)))
    return all.flat().filter(({ run }) => !known.has(run))
  }

  /** Removes such output, and remembers when. */
  async dropKept(runs: ReadonlySet<string>): Promise<void> {
    if (runs.size === 0) return
    await noteRemoved(this.#removedFile, runs, this.#options.clock.now())
    for (const { paths } of this.#links) await removeRuns(paths.out, runs)
  }

  async artifacts(target: Target, globs: readonly string[]): Promise<readonly FoundArtifact[]> {
    const { directory } = this.#find(target)
    return directory === undefined ? [] : await findArtifacts(directory, globs)
  }

  /** A file that this door named (stdout, stderr, an artifact), in chunks of at most 256 KiB. */
  content(file: string): AsyncIterable<Uint8Array> {
    const owner = this.#links.find(({ paths }) => file.startsWith(`${paths.root}${sep}`))
    return readContent(owner?.paths ?? keeperPaths(this.#options.directory), file)
  }

  #find(target: Target): KeeperAttempt {
    const attempt = this.#links.map((link) => link.find(target)).find((one) => one !== undefined)
    if (attempt) return attempt
    const { run, task } = target
    throw new TroupeError("ERR_TASK_NOT_FOUND", `no attempt of ${task} of ${run} is here`, {
      run,
      task,
    })
  }

  /** Of the keeper that gets the new jobs. */
  async status(): Promise<KeeperStatus> {
    return (await this.#current.call({ op: "status" }, "status")).status
  }

  /** How many keepers answer to this data directory: more than one after an update, until older jobs are forgotten. */
  get generations(): number {
    return this.#links.length
  }

  /** Asks the keepers to leave, which each does when nothing of it runs; answers whether all do. */
  async shutdown(): Promise<boolean> {
    const links = this.#links.length === 0 ? [this.#current] : this.#links
    const left = await Promise.all(links.map(async (link) => await link.dismiss()))
    return left.every(Boolean)
  }
}

function targetOf({ run, task, fence }: Target): Target {
  return { run, task, fence }
}

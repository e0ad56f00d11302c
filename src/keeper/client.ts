/** The node's side of the keeper: connects, starts it when there is none, and connects again by itself. */
import { readFileSync } from "node:fs"
import type { Clock, Logger, Timer } from "../platform/index.ts"
import { isTroupeError, TroupeError } from "../schema/index.ts"
import type { KeeperAttempt, LaunchSpec } from "../wire/index.ts"
import { Connection, keeperError } from "./connection.ts"
import { keeperCommand, spawnKeeper } from "./launcher.ts"
import { findArtifacts, readContent, readStream } from "./outputs.ts"
import { type KeeperPaths, keeperPaths, socketPath } from "./paths.ts"
import type { KeeperStatus, Reply, Request, Target } from "./protocol.ts"

export interface KeeperOptions {
  /** The node's data directory. */
  readonly directory: string
  readonly clock: Clock
  readonly logger: Logger
  /** Program and arguments that start the keeper; the data directory is added. By default the one beside this file. */
  readonly command?: readonly string[]
}

const startTimeoutMs = 15_000
/** For so long a keeper may take to come up before another one is started. */
const spawnAgainMs = 3000
const respawnPauseMs = 200
const retryMs = { first: 10, max: 1000 }
const rank = { accepted: 0, started: 1, ready: 2, ended: 3 }

export class KeeperClient {
  readonly #options: KeeperOptions
  readonly #paths: KeeperPaths
  readonly #handlers: ((attempt: KeeperAttempt) => void)[] = []
  /** The last that was seen of each attempt. */
  readonly #seen = new Map<string, KeeperAttempt>()
  #connection: Connection | undefined
  #connecting: Promise<void> | undefined
  #running: AbortController | undefined
  #retry: Timer | undefined
  #failures = 0
  #spawnedAt = Number.NEGATIVE_INFINITY

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#paths = keeperPaths(options.directory)
  }

  /** Resolves when the keeper answers and its attempts are known; ERR_KEEPER when it does not come up. */
  async start(): Promise<void> {
    if (this.#running) return await this.#connecting
    const { clock } = this.#options
    this.#running = new AbortController()
    const limit = clock.timeoutSignal(startTimeoutMs, "starting the keeper")
    try {
      this.#connecting = this.#connectUntil(AbortSignal.any([this.#running.signal, limit]))
      await this.#connecting
    } catch (error) {
      await this.stop()
      if (!limit.aborted) throw error
      throw keeperError(`not up within ${startTimeoutMs} ms; its log is ${this.#paths.log}`, error)
    }
  }

  /** Leaves; jobs and keeper go on. */
  async stop(): Promise<void> {
    this.#running?.abort(
      new TroupeError("ERR_STOPPED", "the keeper's client is stopped", { what: "keeper client" }),
    )
    this.#running = undefined
    this.#retry?.cancel()
    this.#connection?.close()
    this.#connection = undefined
    // Whoever waits for that connection hears why it failed.
    await this.#connecting?.catch(() => undefined)
  }

  async #connectUntil(signal: AbortSignal): Promise<void> {
    for (let pause = retryMs.first; ; pause = Math.min(pause * 1.5, 100)) {
      try {
        return await this.#connect()
      } catch (error) {
        // Waiting does not change a keeper's version.
        if (signal.aborted || (isTroupeError(error) && error.code === "ERR_PROTOCOL")) throw error
      }
      await this.#options.clock.sleep(pause, { signal })
    }
  }

  async #connect(): Promise<void> {
    let connection: Connection
    try {
      connection = await Connection.open(this.#socketPath(), {
        clock: this.#options.clock,
        changed: (attempt) => this.#take(attempt),
        closed: () => this.#lost(connection),
      })
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === "ENOENT" || code === "ECONNREFUSED") this.#spawn()
      throw error
    }
    if (!this.#running) return connection.close()
    this.#connection = connection
    this.#failures = 0
    // Changes that arrive before the list is complete are in order with it: the stream is one.
    const list = await this.list()
    const known = new Set(list.map(keyOf))
    for (const key of this.#seen.keys()) if (!known.has(key)) this.#seen.delete(key)
    for (const attempt of list) this.#take(attempt)
  }

  #socketPath(): string {
    const usual = socketPath(this.#paths, undefined)
    if (!usual.short) return usual.path
    // Too long for a socket: the keeper wrote down where it listens.
    return readFileSync(this.#paths.socketPointer, "utf8")
  }

  // One that was started lately may still be coming up.
  #spawn(): void {
    const { clock, directory, command, logger } = this.#options
    if (clock.boottime() - this.#spawnedAt < spawnAgainMs) return
    this.#spawnedAt = clock.boottime()
    logger.info("starting the keeper", { directory })
    spawnKeeper(directory, command ?? keeperCommand(), () => {
      // It found another one there, or left, or fell over: the next may come soon, not at once.
      this.#spawnedAt = clock.boottime() - spawnAgainMs + respawnPauseMs
    })
  }

  #lost(connection: Connection | undefined): void {
    if (connection !== this.#connection || !this.#running) return
    this.#connection = undefined
    this.#options.logger.warn("lost the keeper's connection")
    this.#spawnedAt = Number.NEGATIVE_INFINITY
    this.#again(0)
  }

  #again(ms: number): void {
    this.#retry = this.#options.clock.after(ms, () => {
      this.#connecting = this.#connect().catch((error: Error) => {
        if (!this.#running || this.#connection) return
        this.#failures++
        this.#options.logger.debug("no keeper yet", { error: error.message })
        this.#again(Math.min(retryMs.first * 2 ** this.#failures, retryMs.max))
      })
    })
  }

  #take(attempt: KeeperAttempt): void {
    const key = keyOf(attempt)
    const before = this.#seen.get(key)
    if (before && rank[before.state] >= rank[attempt.state]) return
    this.#seen.set(key, attempt)
    for (const handler of this.#handlers) handler(attempt)
  }

  async #call<K extends Reply["kind"]>(
    request: Request,
    kind: K,
  ): Promise<Extract<Reply, { kind: K }>> {
    if (!this.#connection) throw keeperError("no connection to the keeper")
    return await this.#connection.call(request, kind)
  }

  async launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    const { attempt } = await this.#call({ op: "launch", spec }, "attempt")
    const key = keyOf(attempt)
    if (!this.#seen.has(key)) this.#seen.set(key, attempt)
    return attempt
  }

  async end(target: Target & { graceMs: number; reason: string }): Promise<void> {
    await this.#call({ op: "end", ...target }, "done")
  }

  async list(): Promise<readonly KeeperAttempt[]> {
    const all: KeeperAttempt[] = []
    for (let after = 0; ;) {
      const page = await this.#call({ op: "list", after }, "page")
      all.push(...page.attempts)
      if (page.next === 0) return all
      after = page.next
    }
  }

  onChange(handler: (attempt: KeeperAttempt) => void): void {
    this.#handlers.push(handler)
  }

  async forget(target: Target & { files: boolean }): Promise<void> {
    await this.#call({ op: "forget", ...target }, "done")
    this.#seen.delete(keyOf(target))
  }

  async read(
    target: Target,
    stream: "stdout" | "stderr",
    range: { offset: number; max: number },
  ): Promise<{ data: Uint8Array; size: number; ended: boolean }> {
    return await readStream(this.#find(target), stream, range)
  }

  async artifacts(
    target: Target,
    globs: readonly string[],
  ): Promise<readonly { path: string; file: string; bytes: number }[]> {
    const { directory } = this.#find(target)
    return directory === undefined ? [] : await findArtifacts(directory, globs)
  }

  /** A file that this door named (stdout, stderr, an artifact), in chunks of at most 256 KiB. */
  content(file: string): AsyncIterable<Uint8Array> {
    return readContent(this.#paths, file)
  }

  #find(target: Target): KeeperAttempt {
    const attempt = this.#seen.get(keyOf(target))
    if (attempt) return attempt
    const { run, task } = target
    throw new TroupeError("ERR_TASK_NOT_FOUND", `no attempt of ${task} of ${run} is here`, {
      run,
      task,
    })
  }

  async status(): Promise<KeeperStatus> {
    return (await this.#call({ op: "status" }, "status")).status
  }

  /** Asks the keeper to leave, which it does when nothing runs; answers whether it does. */
  async shutdown(): Promise<boolean> {
    return (await this.#call({ op: "shutdown" }, "leaving")).leaving
  }
}

function keyOf({ run, task, fence }: Target): string {
  return `${run}\n${task}\n${fence}`
}

/** The connection to the keeper of one generation: starts one when none answers, connects again by itself, remembers
 *  what it was told. */
import { readFileSync } from "node:fs"
import type { Clock, Logger, Timer } from "../platform/index.ts"
import { isTroupeError, TroupeError } from "../schema/index.ts"
import type { KeeperAttempt } from "../wire/index.ts"
import { Connection, keeperError } from "./connection.ts"
import { readBook } from "./generations.ts"
import { spawnKeeper } from "./launcher.ts"
import { type KeeperPaths, keeperPaths, socketPath } from "./paths.ts"
import type { Reply, Request, Target } from "./protocol.ts"

export interface LinkParts {
  readonly directory: string
  /** 1, 2, …: one more after each update that found jobs. */
  readonly generation: number
  readonly clock: Clock
  readonly logger: Logger
  /** Program and arguments; generation and directory are added. */
  readonly command: () => readonly string[]
  readonly changed: (attempt: KeeperAttempt) => void
}

/** For so long a keeper may take to come up before another one is started. */
const spawnAgainMs = 3000
const respawnPauseMs = 200
const leaveTimeoutMs = 5000
const retryMs = { first: 10, max: 1000 }
const rank = { accepted: 0, started: 1, ready: 2, ended: 3 }

export class KeeperLink {
  readonly paths: KeeperPaths
  readonly #parts: LinkParts
  /** The last that was seen of each attempt. */
  readonly #seen = new Map<string, KeeperAttempt>()
  #clusterId: string | undefined
  #connection: Connection | undefined
  #connecting: Promise<void> | undefined
  #running: AbortController | undefined
  #retry: Timer | undefined
  #failures = 0
  #spawnedAt = Number.NEGATIVE_INFINITY

  constructor(parts: LinkParts) {
    this.#parts = parts
    this.paths = keeperPaths(parts.directory, parts.generation)
  }

  /** Whose jobs an older keeper has: it gets no others. */
  get clusterId(): string | undefined {
    this.#clusterId ??= readBook(this.#parts.directory, this.generation).clusterId
    return this.#clusterId
  }

  get generation(): number {
    return this.#parts.generation
  }

  /** Of the program that answers; undefined for one from before builds were said. */
  get build(): string | undefined {
    return this.#connection?.hello.build
  }

  /** Of the protocol; 0 while none answers. */
  get version(): number {
    return this.#connection?.hello.version ?? 0
  }

  /** What was last seen of all that it knows. */
  get attempts(): readonly KeeperAttempt[] {
    return [...this.#seen.values()]
  }

  find(target: Target): KeeperAttempt | undefined {
    return this.#seen.get(keyOf(target))
  }

  /** Resolves when the keeper answers and its attempts are known; gives up when the signal says so. */
  async start(signal: AbortSignal): Promise<void> {
    this.#running ??= new AbortController()
    this.#connecting = this.#connectUntil(AbortSignal.any([this.#running.signal, signal]))
    await this.#connecting
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
      await this.#parts.clock.sleep(pause, { signal })
    }
  }

  async #connect(): Promise<void> {
    let connection: Connection
    try {
      connection = await Connection.open(this.#socketPath(), {
        clock: this.#parts.clock,
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
    const usual = socketPath(this.paths, undefined)
    if (!usual.short) return usual.path
    // Too long for a socket: the keeper wrote down where it listens.
    return readFileSync(this.paths.socketPointer, "utf8")
  }

  // One that was started lately may still be coming up.
  #spawn(): void {
    const { clock, directory, generation, command, logger } = this.#parts
    if (clock.boottime() - this.#spawnedAt < spawnAgainMs) return
    this.#spawnedAt = clock.boottime()
    logger.info("starting the keeper", { directory, generation })
    const more = generation === 1 ? [] : ["--generation", String(generation)]
    spawnKeeper({ directory, paths: this.paths, command: [...command(), ...more] }, () => {
      // It found another one there, or left, or fell over: the next may come soon, not at once.
      this.#spawnedAt = clock.boottime() - spawnAgainMs + respawnPauseMs
    })
  }

  #lost(connection: Connection | undefined): void {
    if (connection !== this.#connection || !this.#running) return
    this.#connection = undefined
    this.#parts.logger.warn("lost the keeper's connection", { generation: this.generation })
    this.#spawnedAt = Number.NEGATIVE_INFINITY
    this.#again(0)
  }

  #again(ms: number): void {
    this.#retry = this.#parts.clock.after(ms, () => {
      this.#connecting = this.#connect().catch((error: Error) => {
        if (!this.#running || this.#connection) return
        this.#failures++
        this.#parts.logger.debug("no keeper yet", { error: error.message })
        this.#again(Math.min(retryMs.first * 2 ** this.#failures, retryMs.max))
      })
    })
  }

  #take(attempt: KeeperAttempt): void {
    const key = keyOf(attempt)
    const before = this.#seen.get(key)
    if (before && rank[before.state] >= rank[attempt.state]) return
    this.#seen.set(key, attempt)
    this.#parts.changed(attempt)
  }

  /** Remembers an answer; what was told meanwhile is newer. */
  note(attempt: KeeperAttempt): void {
    const key = keyOf(attempt)
    if (!this.#seen.has(key)) this.#seen.set(key, attempt)
  }

  drop(target: Target): void {
    this.#seen.delete(keyOf(target))
  }

  async call<K extends Reply["kind"]>(
    request: Request,
    kind: K,
  ): Promise<Extract<Reply, { kind: K }>> {
    if (!this.#connection) throw keeperError("no connection to the keeper")
    return await this.#connection.call(request, kind)
  }

  async list(): Promise<readonly KeeperAttempt[]> {
    const all: KeeperAttempt[] = []
    for (let after = 0; ;) {
      const page = await this.call({ op: "list", after }, "page")
      all.push(...page.attempts)
      if (page.next === 0) return all
      after = page.next
    }
  }

  /** Asks it to leave, which it does when nothing runs; resolves when it is gone. Answers whether it left. */
  async dismiss(): Promise<boolean> {
    const connection = this.#connection
    if (!connection) throw keeperError("no connection to the keeper")
    const { leaving } = await connection.call({ op: "shutdown" }, "leaving")
    if (!leaving) return false
    this.#connection = undefined
    const limit = new Promise<void>((resolve) => this.#parts.clock.after(leaveTimeoutMs, resolve))
    await Promise.race([connection.closed, limit])
    await this.stop()
    return true
  }
}

function keyOf({ run, task, fence }: Target): string {
  return `${run}\n${task}\n${fence}`
}

/** A keeper without processes: scripted jobs under an injected clock, the same answers as the real one. */
import type { Keeper } from "../../src/node/index.ts"
import type { Clock, Timer } from "../../src/platform/index.ts"
import { type Ending, TroupeError } from "../../src/schema/index.ts"
import type { KeeperAttempt, LaunchSpec } from "../../src/wire/index.ts"

/** What a scripted job does. */
export interface FakeJob {
  /** Cannot be started, and why. */
  readonly problem?: string
  /** Until it ends by itself; undefined: runs until it is stopped. */
  readonly durationMs?: number
  readonly exitCode?: number
  readonly signal?: string
  readonly output?: readonly {
    readonly atMs: number
    readonly stream?: "stdout" | "stderr"
    readonly text: string
  }[]
  /** When its port answers, for readiness `tcp_connect`. */
  readonly listensAtMs?: number
  readonly onTerm?: "die" | "ignore" | { readonly exitCode: number }
  /** Files in its directory when it has ended. */
  readonly files?: Readonly<Record<string, string>>
}

interface Target {
  readonly run: string
  readonly task: string
  readonly fence: number
}

interface FakeAttempt {
  readonly spec: LaunchSpec
  readonly job: FakeJob
  readonly timers: Timer[]
  readonly text: { stdout: string; stderr: string }
  seen: KeeperAttempt
  stop?: { readonly reason: string; killAt: number }
  /** Ended here because its node was cut off. */
  isCutOff?: true
  /** Started under an earlier keeper: its exit status will not be known. */
  orphan: boolean
}

export interface FakeKeeperOptions {
  readonly clock: Clock
  /** What an order's command does. */
  readonly script: (spec: LaunchSpec) => FakeJob
  /** From the order to the process. */
  readonly spawnMs?: number
  /** From the keeper's death to the next one's answer. */
  readonly restartMs?: number
}

/** The keeper of one machine. It outlives the nodes: each `client()` is one node process's port. */
export class FakeKeeper {
  readonly #options: FakeKeeperOptions
  readonly #attempts = new Map<string, FakeAttempt>()
  readonly #fences = new Map<string, number>()
  readonly #clients = new Set<FakeClient>()
  readonly #launching = new Map<string, Promise<void>>()
  #clusterId: string | undefined
  #term = 0
  #pid = 100
  #alive = true
  /** Boot-time clock: when the node had a lease, as far as it said. */
  #renewedAt: number | undefined

  constructor(options: FakeKeeperOptions) {
    this.#options = options
  }

  get alive(): boolean {
    return this.#alive
  }

  /** A node process's port to it. */
  client(): Keeper {
    return new FakeClient(this, (client, connected) => {
      if (connected) this.#clients.add(client)
      else this.#clients.delete(client)
    })
  }

  /** Every attempt that was ever started, for checkers: none may stand here twice. */
  readonly starts: Target[] = []

  // ---------------------------------------------------------------- faults

  /** kill -9 of the keeper; the next one is up after `restartMs`. Jobs that must die with it do. */
  crash(): void {
    this.#alive = false
    for (const attempt of this.#live()) {
      attempt.orphan = true
      if (attempt.spec.onKeeperDeath === "die") this.#silence(attempt)
    }
    this.#options.clock.after(this.#options.restartMs ?? 50, () => {
      this.#alive = true
      for (const attempt of this.#live()) {
        const died = attempt.spec.onKeeperDeath === "die"
        if (!attempt.seen.pid || died) this.#endUnknown(attempt)
      }
    })
  }

  /** The machine goes down and comes back: what ran is lost. */
  reboot(): void {
    for (const attempt of this.#live()) {
      const reason = "the host was restarted while it ran"
      this.#end(attempt, { outcome: "lost", reason, stopped: false })
    }
  }

  #live(): FakeAttempt[] {
    return [...this.#attempts.values()].filter((attempt) => attempt.seen.state !== "ended")
  }

  #silence(attempt: FakeAttempt): void {
    for (const timer of attempt.timers.splice(0)) timer.cancel()
  }

  // ---------------------------------------------------------------- orders

  async launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    this.#checkCluster(spec)
    const key = keyOf(spec)
    if (!this.#attempts.has(key)) {
      this.#checkFence(spec)
      this.#accept(spec)
      this.#launching.set(key, this.#start(this.#attempts.get(key)!))
    }
    await this.#launching.get(key)
    return this.#attempts.get(key)!.seen
  }

  #checkCluster({ clusterId }: LaunchSpec): void {
    if (this.#clusterId === undefined || this.#clusterId === clusterId) return
    if (this.#live().length > 0) {
      throw new TroupeError("ERR_FORBIDDEN", "jobs of another cluster still run here", {
        what: `starting jobs for cluster ${clusterId}`,
      })
    }
    this.#attempts.clear()
    this.#fences.clear()
    this.#term = 0
  }

  #checkFence({ run, task, fence, attempt, term }: LaunchSpec): void {
    if (term >= this.#term && fence > (this.#fences.get(`${run}\n${task}`) ?? 0)) return
    throw new TroupeError("ERR_LEASE_LOST", `${task} is superseded`, { task, attempt })
  }

  #accept(spec: LaunchSpec): void {
    const { run, task, fence } = spec
    this.#clusterId = spec.clusterId
    this.#term = Math.max(this.#term, spec.term)
    this.#fences.set(`${run}\n${task}`, fence)
    const name = `/fake/${run}.${task}.${spec.attempt}`
    this.#attempts.set(keyOf(spec), {
      spec,
      job: this.#options.script(spec),
      timers: [],
      text: { stdout: "", stderr: "" },
      orphan: false,
      seen: {
        run,
        task,
        fence,
        attempt: spec.attempt,
        state: "accepted",
        stdout: `${name}.out`,
        stderr: `${name}.err`,
        ...(spec.directory && { directory: name }),
        outputBytesMax: spec.outputBytesMax,
        ...(spec.onKeeperDeath === "die" && { diesWithKeeper: true }),
      },
    })
  }

  async #start(attempt: FakeAttempt): Promise<void> {
    const { spec, job } = attempt
    for (const other of this.#live()) {
      const isOlder = other.spec.run === spec.run && other.spec.task === spec.task
      if (!isOlder || other.spec.fence >= spec.fence) continue
      this.end({ ...other.spec, reason: `superseded by attempt ${spec.attempt}` })
      while (other.seen.state !== "ended") await this.#options.clock.sleep(1)
    }
    await this.#options.clock.sleep(this.#options.spawnMs ?? 2)
    if (attempt.seen.state === "ended") return
    if (job.problem !== undefined) {
      return this.#end(attempt, { outcome: "not_started", reason: job.problem, stopped: false })
    }
    const { run, task, fence } = spec
    this.starts.push({ run, task, fence })
    this.#change(attempt, {
      state: "started",
      pid: this.#pid++,
      startedAt: this.#options.clock.now(),
    })
    this.#play(attempt)
  }

  #play(attempt: FakeAttempt): void {
    const { spec, job } = attempt
    const later = (ms: number, run: () => void) =>
      attempt.timers.push(this.#options.clock.after(ms, run))
    for (const { atMs, stream = "stdout", text } of job.output ?? []) {
      later(atMs, () => {
        attempt.text[stream] = cut(attempt.text[stream] + text, spec.outputBytesMax)
        if (stream === "stdout") this.#checkOutput(attempt)
      })
    }
    if (job.durationMs !== undefined) {
      later(job.durationMs, () => this.#exit(attempt, job))
    }
    if (spec.deadlineMs !== undefined) {
      later(spec.deadlineMs, () =>
        this.end({ ...spec, reason: `deadline of ${spec.deadlineMs! / 1000} s reached` }),
      )
    }
    this.#awaitReadiness(attempt, later)
    const { selfStopMs } = spec
    if (selfStopMs !== undefined) {
      this.#awaitCutOff(attempt, { selfStopMs, since: this.#options.clock.boottime() })
    }
  }

  #awaitCutOff(
    attempt: FakeAttempt,
    limit: { readonly selfStopMs: number; readonly since: number },
  ): void {
    const { clock } = this.#options
    const left = (this.#renewedAt ?? limit.since) + limit.selfStopMs - clock.boottime()
    if (left > 0) {
      attempt.timers.push(clock.after(left, () => this.#awaitCutOff(attempt, limit)))
      return
    }
    attempt.isCutOff = true
    const graceMs = Math.min(attempt.spec.graceMs, 1000)
    const reason = `its node had had no lease for ${limit.selfStopMs / 1000} s`
    this.end({ ...attempt.spec, graceMs, reason })
  }

  renew({ clusterId, ageMs }: { readonly clusterId: string; readonly ageMs: number }): void {
    if (this.#clusterId !== undefined && this.#clusterId !== clusterId) return
    const at = this.#options.clock.boottime() - ageMs
    this.#renewedAt = Math.max(this.#renewedAt ?? 0, at)
  }

  #awaitReadiness(attempt: FakeAttempt, later: (ms: number, run: () => void) => void): void {
    const { readiness } = attempt.spec
    if (!readiness) return
    if (readiness.method === "delay") later(readiness.delayMs, () => this.#ready(attempt))
    if (readiness.method === "tcp_connect" && attempt.job.listensAtMs !== undefined) {
      later(attempt.job.listensAtMs, () => this.#ready(attempt))
    }
    later(readiness.timeoutMs, () => {
      if (attempt.seen.state !== "started") return
      const reason = `not ready after ${readiness.timeoutMs / 1000} s: ${readiness.method}`
      this.end({ ...attempt.spec, reason })
    })
  }

  #checkOutput(attempt: FakeAttempt): void {
    const { readiness } = attempt.spec
    if (readiness?.method !== "structured_stdout" && readiness?.method !== "stdout_match") return
    const pattern =
      readiness.method === "stdout_match"
        ? new RegExp(readiness.pattern)
        : /"event"\s*:\s*"server_ready"/
    if (attempt.text.stdout.split("\n").some((line) => pattern.test(line))) this.#ready(attempt)
  }

  #ready(attempt: FakeAttempt): void {
    if (attempt.seen.state !== "started" || attempt.stop) return
    this.#change(attempt, { state: "ready", readyAt: this.#options.clock.now() })
  }

  end(target: Target & { readonly graceMs: number; readonly reason: string }): void {
    const attempt = this.#attempts.get(keyOf(target))
    if (!attempt) {
      const task = `${target.run}\n${target.task}`
      this.#fences.set(task, Math.max(target.fence, this.#fences.get(task) ?? 0))
      return
    }
    if (attempt.seen.state === "ended" || attempt.stop) return
    const { clock } = this.#options
    attempt.stop = { reason: target.reason, killAt: clock.boottime() + target.graceMs }
    if (!attempt.seen.pid) {
      const reason = `${target.reason} (before it was started)`
      return this.#end(attempt, { outcome: "not_started", reason, stopped: true })
    }
    const onTerm = attempt.job.onTerm ?? "die"
    const die = (exit: Exit, ms: number) =>
      attempt.timers.push(clock.after(ms, () => this.#exit(attempt, exit)))
    if (onTerm === "ignore") die({ signal: "SIGKILL" }, target.graceMs)
    else die(onTerm === "die" ? { signal: "SIGTERM" } : onTerm, 1)
  }

  #exit(attempt: FakeAttempt, { exitCode = 0, signal }: Exit): void {
    const { stop } = attempt
    if (attempt.orphan) return this.#endUnknown(attempt)
    const stopped = stop !== undefined
    if (stop && attempt.isCutOff) {
      const how = { outcome: "lost", reason: stop.reason, stopped } as const
      return this.#end(attempt, signal === undefined ? how : { ...how, signal })
    }
    if (signal !== undefined) {
      const reason = stop?.reason ?? `killed by ${signal}`
      return this.#end(attempt, { outcome: "signalled", signal, reason, stopped })
    }
    const reason = stop?.reason ?? (exitCode === 0 ? undefined : `exited with code ${exitCode}`)
    const ending = { outcome: "exited", exitCode, stopped } as const
    this.#end(attempt, reason === undefined ? ending : { ...ending, reason })
  }

  #endUnknown(attempt: FakeAttempt): void {
    const lost = "its exit status is not known: the keeper was restarted while it ran"
    const reason = attempt.stop ? `${attempt.stop.reason}; ${lost}` : lost
    this.#end(attempt, { outcome: "unknown", reason, stopped: attempt.stop !== undefined })
  }

  #end(attempt: FakeAttempt, ending: Ending): void {
    if (attempt.seen.state === "ended") return
    this.#silence(attempt)
    const { startedAt } = attempt.seen
    const times = {
      ...(startedAt !== undefined && { startedAt }),
      endedAt: this.#options.clock.now(),
    }
    this.#change(attempt, { state: "ended", ending: { ...ending, ...times } })
  }

  #change(attempt: FakeAttempt, news: Partial<KeeperAttempt>): void {
    attempt.seen = { ...attempt.seen, ...news }
    if (!this.#alive) return
    for (const client of this.#clients) client.take(attempt.seen)
  }

  list(): KeeperAttempt[] {
    return [...this.#attempts.values()].map((attempt) => attempt.seen)
  }

  forget(target: Target): void {
    const attempt = this.#attempts.get(keyOf(target))
    if (!attempt) return
    if (attempt.seen.state !== "ended") throw keeperError(`${target.task} has not ended`)
    this.#attempts.delete(keyOf(target))
  }

  read(
    target: Target,
    stream: "stdout" | "stderr",
    range: { offset: number; max: number },
  ): { data: Uint8Array; size: number; ended: boolean } {
    const attempt = this.#find(target)
    const bytes = new TextEncoder().encode(attempt.text[stream])
    const data = bytes.slice(range.offset, range.offset + range.max)
    return { data, size: bytes.length, ended: attempt.seen.state === "ended" }
  }

  artifacts(
    target: Target,
    globs: readonly string[],
  ): { path: string; file: string; bytes: number }[] {
    const { job, seen } = this.#find(target)
    return Object.entries(job.files ?? {})
      .filter(([path]) => globs.some((glob) => globPattern(glob).test(path)))
      .map(([path, text]) => ({
        path,
        file: `${seen.directory}/${path}`,
        bytes: new TextEncoder().encode(text).length,
      }))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1))
  }

  /** A file that `artifacts`, `stdout` or `stderr` named. */
  async *content(file: string): AsyncGenerator<Uint8Array> {
    const text = this.#fileText(file)
    if (text === undefined) {
      const reason = "no such file"
      throw new TroupeError("ERR_STORAGE", `an output cannot be read: ${reason}`, {
        path: file,
        reason,
      })
    }
    if (text !== "") yield new TextEncoder().encode(text)
  }

  #fileText(file: string): string | undefined {
    for (const { seen, text, job } of this.#attempts.values()) {
      if (file === seen.stdout) return text.stdout
      if (file === seen.stderr) return text.stderr
      const inside = `${seen.directory}/`
      if (seen.directory && file.startsWith(inside)) return job.files?.[file.slice(inside.length)]
    }
    return undefined
  }

  #find(target: Target): FakeAttempt {
    const attempt = this.#attempts.get(keyOf(target))
    if (attempt) return attempt
    const { run, task } = target
    throw new TroupeError("ERR_TASK_NOT_FOUND", `no attempt of ${task} is here`, { run, task })
  }

  get restartMs(): number {
    return this.#options.restartMs ?? 50
  }

  get clock(): Clock {
    return this.#options.clock
  }
}

interface Exit {
  readonly exitCode?: number
  readonly signal?: string
}

/** One node process's port; it ends with the node, the keeper does not. */
class FakeClient implements Keeper {
  readonly #keeper: FakeKeeper
  readonly #connected: (client: FakeClient, connected: boolean) => void
  readonly #handlers: ((attempt: KeeperAttempt) => void)[] = []
  readonly #told = new Map<string, KeeperAttempt["state"]>()
  #running = false
  #catchUp: Timer | undefined

  constructor(keeper: FakeKeeper, connected: (client: FakeClient, connected: boolean) => void) {
    this.#keeper = keeper
    this.#connected = connected
  }

  async start(): Promise<void> {
    while (!this.#keeper.alive) await this.#keeper.clock.sleep(5)
    this.#running = true
    for (const attempt of this.#keeper.list()) this.#told.set(keyOf(attempt), attempt.state)
    this.#connected(this, true)
  }

  async stop(): Promise<void> {
    this.#running = false
    this.#catchUp?.cancel()
    this.#connected(this, false)
  }

  take(attempt: KeeperAttempt): void {
    if (!this.#running || this.#told.get(keyOf(attempt)) === attempt.state) return
    this.#told.set(keyOf(attempt), attempt.state)
    for (const handler of this.#handlers) handler(attempt)
  }

  /** Fails while the keeper is down; when it is back, what changed meanwhile is told. */
  #up(): FakeKeeper {
    if (!this.#running) throw keeperError("the client is not started")
    if (this.#keeper.alive) return this.#keeper
    this.#catchUp ??= this.#keeper.clock.after(this.#keeper.restartMs, () => {
      this.#catchUp = undefined
      for (const attempt of this.#keeper.list()) this.take(attempt)
    })
    throw keeperError("no connection to the keeper")
  }

  async launch(spec: LaunchSpec): Promise<KeeperAttempt> {
    return await this.#up().launch(spec)
  }

  async end(target: Target & { graceMs: number; reason: string }): Promise<void> {
    this.#up().end(target)
  }

  async list(): Promise<readonly KeeperAttempt[]> {
    return this.#up().list()
  }

  async renew(lease: { readonly clusterId: string; readonly ageMs: number }): Promise<void> {
    this.#up().renew(lease)
  }

  onChange(handler: (attempt: KeeperAttempt) => void): void {
    this.#handlers.push(handler)
  }

  async forget(target: Target & { files: boolean }): Promise<void> {
    this.#up().forget(target)
  }

  async read(
    target: Target,
    stream: "stdout" | "stderr",
    range: { offset: number; max: number },
  ): Promise<{ data: Uint8Array; size: number; ended: boolean }> {
    return this.#up().read(target, stream, range)
  }

  content(file: string): AsyncIterable<Uint8Array> {
    return this.#keeper.content(file)
  }

  async artifacts(
    target: Target,
    globs: readonly string[],
  ): Promise<readonly { path: string; file: string; bytes: number }[]> {
    return this.#up().artifacts(target, globs)
  }
}

function keyOf({ run, task, fence }: Target): string {
  return `${run}\n${task}\n${fence}`
}

function keeperError(reason: string): TroupeError<"ERR_KEEPER"> {
  return new TroupeError("ERR_KEEPER", `keeper: ${reason}`, { reason })
}

function cut(text: string, max: number): string {
  return text.length <= max ? text : text.slice(0, max)
}

/** `*` within a folder, `**` across folders. */
function globPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\?]/g, "\\$&")
    .replace(/\*\*\/|\*/g, (star) => (star === "*" ? "[^/]*" : "(?:.*/)?"))
  return new RegExp(`^${source}$`)
}

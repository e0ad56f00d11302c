/** A keeper without processes: scripted jobs under an injected clock, the same answers as the real one. */
import type { Keeper } from "../../src/node/index.ts"
import type { Clock, Timer } from "../../src/platform/index.ts"
import { type Ending, TroupeError } from "../../src/schema/index.ts"
import type {
  KeeperAttempt,
  KeptOutput,
  LaunchSpec,
  OutputPiece,
  OutputStart,
} from "../../src/wire/index.ts"

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

interface StreamTarget extends Target {
  readonly attempt: number
  readonly stream: "stdout" | "stderr"
}

type TimePoint = OutputPiece["points"][number]

interface FakeAttempt {
  readonly spec: LaunchSpec
  readonly job: FakeJob
  /** What its keeper plans for it: gone with the keeper. */
  readonly timers: Timer[]
  readonly text: { stdout: string; stderr: string }
  readonly times: { stdout: TimePoint[]; stderr: TimePoint[] }
  seen: KeeperAttempt
  /** Its order is in the journal: before, a crash forgets it. */
  durable: boolean
  /** What the task's fence was before this order. */
  readonly fenceBefore: number
  process?: FakeProcess
  /** Its ending is on its way to the journal. */
  ending?: true
  stop?: { readonly reason: string; killAt: number }
  /** Ended here because its node was cut off. */
  isCutOff?: true
  /** Started under an earlier keeper: its exit status will not be known. */
  orphan: boolean
  /** Its host lost its power. */
  isLost?: true
}

/** What a script does, whatever any keeper knows of it. */
interface FakeProcess {
  alive: boolean
  readonly timers: Timer[]
  listens: boolean
}

/** What really happens to the process of an attempt. */
export interface ProcessEvent {
  readonly kind: "start" | "ready" | "stopping" | "end"
  readonly spec: LaunchSpec
  /** Of an end: how; both absent: exit code 0. */
  readonly exitCode?: number
  readonly signal?: string
  /** Of a stop: what its keeper was told. */
  readonly reason?: string
}

export interface FakeKeeperOptions {
  readonly clock: Clock
  /** By which scripts work; the keeper's own clock unless given. It stands still where the host sleeps. */
  readonly workClock?: Pick<Clock, "after">
  /** What an order's command does. */
  readonly script: (spec: LaunchSpec) => FakeJob
  readonly onProcess?: (event: ProcessEvent) => void
  /** From the order to the process. */
  readonly spawnMs?: number | (() => number)
  /** Until a line of the journal is durable; none: at once. */
  readonly syncMs?: () => number
  /** From the keeper's death to the next one's answer. */
  readonly restartMs?: number
}

/** The keeper of one machine. It outlives the nodes: each `client()` is one node process's port. */
export class FakeKeeper {
  readonly #options: FakeKeeperOptions
  readonly #attempts = new Map<string, FakeAttempt>()
  readonly #fences = new Map<string, number>()
  /** Forgotten, but for their output. */
  readonly #kept = new Map<string, FakeAttempt>()
  readonly #removed = new Map<string, number>()
  readonly #clients = new Set<FakeClient>()
  readonly #launching = new Map<string, Promise<void>>()
  #clusterId: string | undefined
  #term = 0
  #pid = 100
  #alive = true
  /** Counts deaths: what a dead keeper had begun does not go on. */
  #life = 0
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
    if (!this.#alive) return
    this.#die()
    for (const attempt of this.#live()) {
      if (attempt.spec.onKeeperDeath === "die") this.#processEnds(attempt, { signal: "SIGKILL" })
    }
    const life = this.#life
    this.#options.clock.after(this.restartMs, () => {
      if (life === this.#life) this.#recover()
    })
  }

  /** Its host was restarted and its journal is gone: it knows nothing of what ran. */
  loseAll(): void {
    this.halt()
    this.#attempts.clear()
    this.#fences.clear()
    this.boot()
  }

  /** The host loses its power: every process is gone. */
  halt(): void {
    this.#die()
    for (const attempt of this.#live()) {
      this.#processEnds(attempt, { signal: "SIGKILL" })
      attempt.isLost = true
    }
  }

  /** The host is up again, with a keeper. */
  boot(): void {
    if (!this.#alive) this.#recover()
  }

  #die(): void {
    this.#alive = false
    this.#life++
    this.#renewedAt = undefined
    this.#launching.clear()
    for (const attempt of this.#live()) {
      attempt.orphan = true
      delete attempt.ending
      this.#silence(attempt)
      if (attempt.durable) continue
      const { run, task } = attempt.spec
      this.#attempts.delete(keyOf(attempt.spec))
      this.#fences.set(`${run}\n${task}`, attempt.fenceBefore)
    }
  }

  #recover(): void {
    this.#alive = true
    for (const attempt of this.#live()) {
      if (attempt.isLost) {
        const reason = "the host was restarted while it ran"
        this.#end(attempt, { outcome: "lost", reason, stopped: false })
      } else if (attempt.process?.alive !== true) this.#endUnknown(attempt)
      else if (attempt.stop) this.#terminate(attempt)
      else this.#watch(attempt)
    }
  }

  #live(): FakeAttempt[] {
    return [...this.#attempts.values()].filter((attempt) => attempt.seen.state !== "ended")
  }

  #silence(attempt: FakeAttempt): void {
    for (const timer of attempt.timers.splice(0)) timer.cancel()
  }

  /** Whether the keeper that began something in this life is still there. */
  #isOver(life: number): boolean {
    return life !== this.#life
  }

  async #synced(): Promise<void> {
    const { syncMs, clock } = this.#options
    if (!syncMs) return
    const life = this.#life
    await clock.sleep(syncMs())
    if (this.#isOver(life)) throw keeperError("it died")
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
    const fenceBefore = this.#fences.get(`${run}\n${task}`) ?? 0
    this.#fences.set(`${run}\n${task}`, fence)
    const name = `/fake/${run}.${task}.${spec.attempt}`
    this.#attempts.set(keyOf(spec), {
      spec,
      job: this.#options.script(spec),
      timers: [],
      text: { stdout: "", stderr: "" },
      times: { stdout: [], stderr: [] },
      durable: false,
      fenceBefore,
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
    const { clock, spawnMs = 2 } = this.#options
    const life = this.#life
    await this.#synced()
    attempt.durable = true
    for (const other of this.#live()) {
      const isOlder = other.spec.run === spec.run && other.spec.task === spec.task
      if (!isOlder || other.spec.fence >= spec.fence) continue
      this.end({ ...other.spec, reason: `superseded by attempt ${spec.attempt}` })
      while (other.seen.state !== "ended") {
        await clock.sleep(1)
        if (this.#isOver(life)) throw keeperError("it died")
      }
    }
    await clock.sleep(typeof spawnMs === "number" ? spawnMs : spawnMs())
    if (this.#isOver(life)) throw keeperError("it died")
    const isStopped = attempt.seen.state === "ended" || attempt.ending
    if (!isStopped && job.problem === undefined) {
      this.#begin(attempt)
      this.#change(attempt, { state: "started", pid: this.#pid++, startedAt: clock.now() })
      this.#watch(attempt)
      return
    }
    const reason = job.problem ?? ""
    this.#end(attempt, { outcome: "not_started", reason, stopped: false })
    while (this.#attempts.get(keyOf(spec))?.seen.state === "accepted") {
      await clock.sleep(1)
      if (this.#isOver(life)) throw keeperError("it died")
    }
  }

  /** The process: it writes, listens and ends whether a keeper is there or not. */
  #begin(attempt: FakeAttempt): void {
    const { spec, job } = attempt
    const { run, task, fence } = spec
    this.starts.push({ run, task, fence })
    const process: FakeProcess = { alive: true, timers: [], listens: false }
    attempt.process = process
    this.#options.onProcess?.({ kind: "start", spec })
    for (const { atMs, stream = "stdout", text } of job.output ?? []) {
      this.#work(process, atMs, () => {
        attempt.text[stream] = cut(attempt.text[stream] + text, spec.outputBytesMax)
        const bytes = new TextEncoder().encode(attempt.text[stream]).length
        attempt.times[stream].push({ bytes, at: this.#options.clock.now() })
        if (stream === "stdout") this.#checkOutput(attempt)
      })
    }
    if (job.listensAtMs !== undefined) {
      this.#work(process, job.listensAtMs, () => {
        process.listens = true
        this.#checkPort(attempt)
      })
    }
    if (job.durationMs !== undefined) {
      this.#work(process, job.durationMs, () => this.#processEnds(attempt, job))
    }
  }

  #work(process: FakeProcess, ms: number, run: () => void): void {
    process.timers.push((this.#options.workClock ?? this.#options.clock).after(ms, run))
  }

  /** Noticed by the keeper, if there is one. */
  #processEnds(attempt: FakeAttempt, exit: Exit): void {
    const { process, spec } = attempt
    if (!process?.alive) return
    process.alive = false
    for (const timer of process.timers) timer.cancel()
    const { exitCode, signal } = exit
    const how = {
      ...(exitCode !== undefined && { exitCode }),
      ...(signal !== undefined && { signal }),
    }
    this.#options.onProcess?.({ kind: "end", spec, ...how })
    if (this.#alive) this.#exit(attempt, exit)
  }

  /** What the keeper does for one that runs: of this life, or found again. */
  #watch(attempt: FakeAttempt): void {
    const { spec, seen } = attempt
    const { clock } = this.#options
    const later = (ms: number, run: () => void) => attempt.timers.push(clock.after(ms, run))
    if (spec.deadlineMs !== undefined) {
      later(Math.max(0, seen.startedAt! + spec.deadlineMs - clock.now()), () =>
        this.end({ ...spec, reason: `deadline of ${spec.deadlineMs! / 1000} s reached` }),
      )
    }
    this.#awaitReadiness(attempt, later)
    const { selfStopMs } = spec
    if (selfStopMs !== undefined) {
      this.#awaitCutOff(attempt, { selfStopMs, since: clock.boottime() })
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
    if (!readiness || attempt.seen.state !== "started") return
    if (readiness.method === "delay") later(readiness.delayMs, () => this.#ready(attempt))
    later(readiness.timeoutMs, () => {
      if (attempt.seen.state !== "started") return
      const reason = `not ready after ${readiness.timeoutMs / 1000} s: ${readiness.method}`
      this.end({ ...attempt.spec, reason })
    })
    this.#checkOutput(attempt)
    this.#checkPort(attempt)
  }

  #checkPort(attempt: FakeAttempt): void {
    const isAsked = attempt.spec.readiness?.method === "tcp_connect"
    if (isAsked && attempt.process?.listens) this.#ready(attempt)
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
    if (!this.#alive || attempt.seen.state !== "started" || attempt.stop || attempt.ending) return
    this.#options.onProcess?.({ kind: "ready", spec: attempt.spec })
    this.#change(attempt, { state: "ready", readyAt: this.#options.clock.now() })
  }

  end(target: Target & { readonly graceMs: number; readonly reason: string }): void {
    const attempt = this.#attempts.get(keyOf(target))
    if (!attempt) {
      const task = `${target.run}\n${target.task}`
      this.#fences.set(task, Math.max(target.fence, this.#fences.get(task) ?? 0))
      return
    }
    if (attempt.seen.state === "ended" || attempt.stop || attempt.ending) return
    const { clock } = this.#options
    attempt.stop = { reason: target.reason, killAt: clock.boottime() + target.graceMs }
    if (!attempt.seen.pid) {
      const reason = `${target.reason} (before it was started)`
      return this.#end(attempt, { outcome: "not_started", reason, stopped: true })
    }
    this.#options.onProcess?.({ kind: "stopping", spec: attempt.spec, reason: target.reason })
    this.#terminate(attempt)
  }

  #terminate(attempt: FakeAttempt): void {
    const { clock } = this.#options
    const { process, stop } = attempt
    const onTerm = attempt.job.onTerm ?? "die"
    if (onTerm === "ignore") {
      const kill = (): void => this.#processEnds(attempt, { signal: "SIGKILL" })
      attempt.timers.push(clock.after(Math.max(0, stop!.killAt - clock.boottime()), kill))
    } else {
      const exit = onTerm === "die" ? { signal: "SIGTERM" } : onTerm
      this.#work(process!, 1, () => this.#processEnds(attempt, exit))
    }
  }

  /** The keeper has seen its own child end. */
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
    if (attempt.seen.state === "ended" || attempt.ending) return
    this.#silence(attempt)
    attempt.ending = true
    const { startedAt } = attempt.seen
    const times = {
      ...(startedAt !== undefined && { startedAt }),
      endedAt: this.#options.clock.now(),
    }
    const told = { state: "ended", ending: { ...ending, ...times } } as const
    const { syncMs, clock } = this.#options
    if (!syncMs) return this.#change(attempt, told)
    const life = this.#life
    clock.after(syncMs(), () => {
      if (!this.#isOver(life)) this.#change(attempt, told)
    })
  }

  #change(attempt: FakeAttempt, news: Partial<KeeperAttempt>): void {
    attempt.seen = { ...attempt.seen, ...news }
    if (!this.#alive) return
    for (const client of this.#clients) client.take(attempt.seen)
  }

  list(): KeeperAttempt[] {
    return [...this.#attempts.values()].map((attempt) => attempt.seen)
  }

  forget(target: Target & { readonly files: boolean }): void {
    const attempt = this.#attempts.get(keyOf(target))
    if (!attempt) return
    if (attempt.seen.state !== "ended") throw keeperError(`${target.task} has not ended`)
    this.#attempts.delete(keyOf(target))
    const { run, task, attempt: n } = attempt.spec
    if (!target.files) this.#kept.set(`${run}\n${task}\n${n}`, attempt)
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

  /** Its bytes come when the script says so. */
  tail(
    { run, task, fence, attempt, stream }: StreamTarget,
    { start, max }: { readonly start: OutputStart; readonly max: number },
  ): OutputPiece {
    const live = this.#attempts.get(keyOf({ run, task, fence }))
    const found = live ?? this.#kept.get(`${run}\n${task}\n${attempt}`)
    const offset = "offset" in start ? start.offset : 0
    if (!found) {
      const removedAt = this.#removed.get(run)
      const nothing = { offset, data: new Uint8Array(0), size: 0, points: [] }
      return removedAt === undefined
        ? { state: "absent", ...nothing }
        : { state: "removed", removedAt, ...nothing }
    }
    const bytes = new TextEncoder().encode(found.text[stream])
    const state = found.seen.state === "ended" ? "ended" : "live"
    const data = bytes.slice(offset, offset + max)
    return { state, offset, data, size: bytes.length, points: found.times[stream] }
  }

  kept(): KeptOutput[] {
    const known = new Set([...this.#attempts.values()].map(({ spec }) => spec.run))
    return [...this.#kept.values()]
      .filter(({ spec }) => !known.has(spec.run))
      .map(({ spec, text, seen }) => ({
        run: spec.run,
        bytes: text.stdout.length + text.stderr.length,
        changedAt: seen.ending?.endedAt ?? 0,
      }))
  }

  dropKept(runs: ReadonlySet<string>): void {
    for (const run of runs) this.#removed.set(run, this.#options.clock.now())
    for (const [key, { spec }] of this.#kept) if (runs.has(spec.run)) this.#kept.delete(key)
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

  async tail(
    target: StreamTarget,
    range: { readonly start: OutputStart; readonly max: number },
  ): Promise<OutputPiece> {
    return this.#up().tail(target, range)
  }

  async kept(): Promise<readonly KeptOutput[]> {
    return this.#up().kept()
  }

  async dropKept(runs: ReadonlySet<string>): Promise<void> {
    this.#up().dropKept(runs)
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

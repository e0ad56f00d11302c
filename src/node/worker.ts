/** Worker duties: obeys the leader's lease and orders, performs attempts, reports until it is heard. */
import { type Ending, type PeerRef, TroupeError } from "../schema/index.ts"
import {
  type AttemptSummary,
  type JobAnswer,
  type JobRequest,
  type KeeperAttempt,
  logBytesMax,
} from "../wire/index.ts"
import { type BuiltinResult, type BuiltinWork, performBuiltin } from "./builtins.ts"
import type { NodeContext } from "./context.ts"
import { factsOf } from "./facts.ts"
import type { RunRows } from "./launch.ts"
import { parseTaskName, StartOrder } from "./orders.ts"
import { replicateBlobs } from "./replication.ts"
import { Reports } from "./reports.ts"

type Order<T extends JobRequest["type"]> = Extract<JobRequest, { type: T }>

interface Lease {
  readonly term: number
  readonly lease: number
  readonly leader: PeerRef
  /** Boot-time clock. */
  readonly expiresAt: number
}

interface Builtin {
  readonly run: string
  readonly task: string
  readonly attempt: number
  readonly fence: number
  readonly abort: AbortController
  readonly startedAt: number
  ending?: Ending
}

const outputBytesMax = 1 << 30
const logPollMs = 50

export class Worker {
  readonly #context: NodeContext
  readonly #builtins = new Map<string, Builtin>()
  /** Attempts of the keeper that have not ended. */
  readonly #live = new Set<string>()
  readonly #reports: Reports
  /** Attempts whose progress (not only their end) somebody waits for; unknown ones report everything. */
  readonly #quiet = new Set<string>()
  /** Whose leases and terms these are. */
  #clusterId: string | undefined
  #lease: Lease | undefined
  #term = 0
  #leaderBoot: { readonly peerId: string; readonly boot: string } | undefined
  #stopped = false

  constructor(context: NodeContext) {
    this.#context = context
    this.#reports = new Reports(context, () => this.#lease?.leader)
  }

  /** Everything that the keeper still holds is reported again: the reports of a past life may not have been heard. */
  async start(): Promise<void> {
    const { keeper } = this.#context.parts
    keeper.onChange((attempt) => this.#note(attempt))
    for (const attempt of await keeper.list()) this.#note(attempt)
  }

  stop(): void {
    this.#stopped = true
    this.#reports.stop()
    for (const builtin of this.#builtins.values()) builtin.abort.abort(stopping())
  }

  /** The leader whose lease this node holds, if it is still good. */
  leader(): PeerRef | undefined {
    const lease = this.#lease
    const isGood =
      lease !== undefined &&
      this.#clusterId === this.#context.identity()?.clusterId &&
      lease.expiresAt > this.#context.parts.clock.boottime()
    return isGood ? lease.leader : undefined
  }

  /** The start of this peer that gave the last lease, if it was this one. */
  bootOf(peerId: string): string | undefined {
    return this.#leaderBoot?.peerId === peerId ? this.#leaderBoot.boot : undefined
  }

  /** The newest term that gave an order. */
  get term(): number {
    return this.#term
  }

  /** Attempts that run here now. */
  running(): number {
    const builtins = [...this.#builtins.values()].filter((one) => !one.ending)
    return this.#live.size + builtins.length
  }

  async handle(from: string, request: JobRequest): Promise<JobAnswer> {
    switch (request.type) {
      case "lease":
        return await this.#onLease(from, request)
      case "start":
        return await this.#onStart(request)
      case "stop":
        return await this.#onStop(request)
      case "forget":
        return await this.#onForget(request)
      case "readLog":
        return await this.#readLog(request)
      case "report":
        throw new Error("reports go to the leader")
      default:
        return unknownOrder(request)
    }
  }

  // ---------------------------------------------------------------- orders

  async #onLease(from: string, request: Order<"lease">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    if (from !== request.leaderPeer.peerId)
      return this.#refuse("a lease comes from the leader itself")
    const { clock } = this.#context.parts
    this.#lease = {
      term: request.term,
      lease: request.lease,
      leader: request.leaderPeer,
      expiresAt: clock.boottime() + request.ttlMs,
    }
    if (request.pace) {
      this.#leaderBoot = { peerId: from, boot: request.pace.boot }
      this.#context.replica()?.follow(request.term, request.pace)
    }
    this.#reports.kick()
    return {
      type: "lease",
      boot: this.#context.boot(),
      memberId: this.#context.identity()!.memberId,
      rosterIndex: request.rosterIndex,
      attempts: await this.#attempts(),
      facts: factsOf(this.#context, this.running()),
    }
  }

  async #attempts(): Promise<readonly AttemptSummary[]> {
    const kept = (await this.#context.parts.keeper.list()).map(summaryOf)
    const builtins = [...this.#builtins.values()].map((one): AttemptSummary => ({
      run: one.run,
      task: one.task,
      attempt: one.attempt,
      fence: one.fence,
      state: one.ending ? "ended" : "started",
      startedAt: one.startedAt,
      ending: one.ending,
    }))
    return [...kept, ...builtins]
  }

  async #onStart(request: Order<"start">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    const lease = this.#lease
    if (!lease || lease.lease !== request.lease || lease.lease === 0) {
      return this.#refuse(`no lease ${request.lease} here`)
    }
    if (lease.expiresAt <= this.#context.parts.clock.boottime())
      return this.#refuse("the lease has expired")
    const order = StartOrder.parse(request.launch)
    try {
      const attempt =
        order.driver === "process"
          ? await this.#launch(request, order)
          : this.#perform(request, order.work as BuiltinWork, order.deadlineMs)
      return { type: "start", attempt }
    } catch (error) {
      return this.#refuse(error instanceof Error ? error.message : String(error))
    }
  }

  async #launch(
    request: Order<"start">,
    order: Extract<StartOrder, { driver: "process" }>,
  ): Promise<AttemptSummary> {
    const { parts } = this.#context
    const signal = parts.clock.timeoutSignal(600_000, `staging files of ${request.task}`)
    for (const file of order.files) await this.#context.fetch(file.digest, signal)
    if (!order.progress) this.#quiet.add(keyOf(request))
    const attempt = await parts.keeper.launch({
      // A recovered node's jobs go on under the name that its keeper knows.
      clusterId: this.#context.identity()?.keeperCluster ?? request.clusterId,
      term: request.term,
      fence: request.fence,
      lease: request.lease,
      run: request.run,
      task: request.task,
      attempt: request.attempt,
      argv: order.argv,
      env: order.env,
      cwd: order.cwd,
      directory: order.directory,
      files: order.files.map((file) => ({ source: parts.blobFile(file.digest), path: file.path })),
      readiness: order.readiness,
      deadlineMs: order.deadlineMs,
      graceMs: order.graceMs,
      onKeeperDeath: order.onKeeperDeath,
      outputBytesMax,
      limits: order.limits,
    })
    this.#note(attempt)
    return summaryOf(attempt)
  }

  #perform(
    request: Order<"start">,
    work: BuiltinWork,
    deadlineMs: number | undefined,
  ): AttemptSummary {
    const key = keyOf(request)
    const known = this.#builtins.get(key)
    const builtin: Builtin = known ?? {
      run: request.run,
      task: request.task,
      attempt: request.attempt,
      fence: request.fence,
      abort: new AbortController(),
      startedAt: this.#context.parts.clock.now(),
    }
    if (!known) {
      this.#builtins.set(key, builtin)
      void this.#runBuiltin(builtin, work, deadlineMs ?? 600_000)
    }
    const { run, task, attempt, fence, startedAt, ending } = builtin
    return { run, task, attempt, fence, startedAt, ending, state: ending ? "ended" : "started" }
  }

  async #runBuiltin(builtin: Builtin, work: BuiltinWork, deadlineMs: number): Promise<void> {
    const { clock, logger } = this.#context.parts
    const signal = AbortSignal.any([
      builtin.abort.signal,
      clock.timeoutSignal(deadlineMs, builtin.task),
    ])
    let result: BuiltinResult = { outputs: [] }
    let ending: Ending = { outcome: "done", stopped: false }
    try {
      result = await this.#builtinWork(builtin, work, signal)
    } catch (error) {
      if (this.#stopped) return // The next life of this node is told to start it again.
      const reason = error instanceof Error ? error.message : String(error)
      logger.warn("a builtin task failed", { run: builtin.run, task: builtin.task, error: reason })
      ending = {
        outcome: "exited",
        exitCode: 1,
        reason,
        stopped: builtin.abort.signal.aborted,
      }
    }
    builtin.ending = { ...ending, startedAt: builtin.startedAt, endedAt: clock.now() }
    this.#reports.add({
      run: builtin.run,
      ...parseTaskName(builtin.task),
      attempt: builtin.attempt,
      fence: builtin.fence,
      state: "ended",
      at: clock.now(),
      ending: builtin.ending,
      outputs: result.outputs,
      ...(result.bundle && { bundle: result.bundle }),
    })
  }

  async #builtinWork(
    builtin: Builtin,
    work: BuiltinWork,
    signal: AbortSignal,
  ): Promise<BuiltinResult> {
    const context = this.#context
    const rows = (await context.call("runRows", { run: builtin.run }, { signal })) as RunRows
    const task = rows.run.tasks.find((one) => one.name === builtin.task)
    if (!task) {
      throw new TroupeError("ERR_TASK_NOT_FOUND", `${builtin.run} has no task ${builtin.task}`, {
        run: builtin.run,
        task: builtin.task,
      })
    }
    return await performBuiltin(work, task, {
      parts: context.parts,
      version: context.options.version,
      self: context.identity()!.memberId,
      rows,
      signal,
      fetch: (digest, fetchSignal) => context.fetch(digest, fetchSignal),
      replicate: (digests, copySignal) => replicateBlobs(context, digests, copySignal),
    })
  }

  async #onStop(request: Order<"stop">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    const builtin = this.#builtins.get(keyOf(request))
    if (builtin) {
      builtin.abort.abort(new Error(request.reason))
      return { type: "stop", known: true }
    }
    const { keeper } = this.#context.parts
    const known = (await keeper.list()).some((one) => keyOf(one) === keyOf(request))
    if (known) await keeper.end(request)
    return { type: "stop", known }
  }

  async #onForget(request: Order<"forget">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    const { keeper } = this.#context.parts
    for (const target of request.attempts) {
      this.#quiet.delete(keyOf(target))
      if (this.#builtins.delete(keyOf(target))) continue
      await keeper.forget({ ...target, files: request.files })
    }
    return { type: "forget" }
  }

  async #readLog(request: Order<"readLog">): Promise<JobAnswer> {
    const { keeper, clock } = this.#context.parts
    const deadline = clock.boottime() + request.waitMs
    const range = { offset: request.offset, max: Math.min(request.max, logBytesMax) }
    for (;;) {
      const { data, size, ended } = await keeper.read(request, request.stream, range)
      if (data.length > 0 || ended || clock.boottime() >= deadline || this.#stopped) {
        return { type: "readLog", data, size, ended: ended && request.offset + data.length >= size }
      }
      await clock.sleep(logPollMs)
    }
  }

  /** Why an order is not obeyed, or undefined. Terms only grow: a deposed leader is told so. */
  #refusal(order: { clusterId: string; term: number }): string | undefined {
    const identity = this.#context.identity()
    if (!identity) return "this node is no member yet"
    if (identity.clusterId !== order.clusterId) return "another cluster"
    if (this.#clusterId !== order.clusterId) this.#begin(order.clusterId)
    if (order.term < this.#term) return `term ${order.term} is over, ${this.#term} was seen`
    this.#term = order.term
    return undefined
  }

  /** Terms and leases are counted by each cluster for itself. */
  #begin(clusterId: string): void {
    this.#clusterId = clusterId
    this.#term = 0
    this.#lease = undefined
  }

  #refuse(reason: string): JobAnswer {
    return { type: "refused", reason, term: this.#term }
  }

  // ---------------------------------------------------------------- reports

  #note(attempt: KeeperAttempt): void {
    if (attempt.state === "ended") this.#live.delete(keyOf(attempt))
    else this.#live.add(keyOf(attempt))
    const { run, task, attempt: n, fence } = attempt
    const item = { run, ...parseTaskName(task), attempt: n, fence }
    const now = this.#context.parts.clock.now()
    const quiet = this.#quiet.has(keyOf(attempt))
    if (attempt.startedAt !== undefined && !quiet) {
      this.#reports.add({ ...item, state: "started", at: attempt.startedAt })
    }
    if (attempt.readyAt !== undefined && !quiet) {
      this.#reports.add({ ...item, state: "ready", at: attempt.readyAt })
    }
    if (attempt.state === "ended" && attempt.ending) {
      const at = attempt.ending.endedAt ?? now
      this.#reports.add({ ...item, state: "ended", at, ending: attempt.ending, outputs: [] })
    }
  }
}

function keyOf(ref: { run: string; task: string; fence: number }): string {
  return `${ref.run}/${ref.task}/${ref.fence}`
}

function summaryOf(attempt: KeeperAttempt): AttemptSummary {
  const { run, task, fence, state, startedAt, readyAt, ending } = attempt
  return { run, task, attempt: attempt.attempt, fence, state, startedAt, readyAt, ending }
}

function stopping(): TroupeError<"ERR_STOPPED"> {
  return new TroupeError("ERR_STOPPED", "this node is stopping", { what: "worker" })
}

function unknownOrder(request: never): never {
  throw new Error(`unknown order ${JSON.stringify(request)}`)
}

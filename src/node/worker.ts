/** Worker duties: obeys the leader's lease and orders, performs attempts, reports until it is heard. */
import { isTroupeError, type PeerRef } from "../schema/index.ts"
import {
  type AttemptSummary,
  type JobAnswer,
  type JobRequest,
  type KeeperAttempt,
  logBytesMax,
} from "../wire/index.ts"
import { BuiltinAttempts } from "./builtin-attempts.ts"
import type { BuiltinWork } from "./builtins.ts"
import type { NodeContext } from "./context.ts"
import { factsOf } from "./facts.ts"
import { type Lease, leaseFrom } from "./held-lease.ts"
import { attemptKey as keyOf, parseTaskName, StartOrder } from "./orders.ts"
import { Reports } from "./reports.ts"
import { answerTail } from "./tails.ts"

type Order<T extends JobRequest["type"]> = Extract<JobRequest, { type: T }>

const outputBytesMax = 256 << 20
const logPollMs = 50
const forgottenAtOnce = 256
/** How long a node that starts waits for a keeper that has died, and how often it looks. */
const keeperBackMs = 10_000
const keeperLookMs = 100

export class Worker {
  readonly #context: NodeContext
  readonly #builtins: BuiltinAttempts
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
    this.#builtins = new BuiltinAttempts(context, this.#reports)
  }

  /** Everything that the keeper still holds is reported again: the reports of a past life may not have been heard. */
  async start(): Promise<void> {
    const { keeper } = this.#context.parts
    keeper.onChange((attempt) => this.#note(attempt))
    for (const attempt of await this.#held()) this.#note(attempt)
  }

  /** A keeper that dies while this node starts is back in a moment. ERR_KEEPER when it is not. */
  async #held(): Promise<readonly KeeperAttempt[]> {
    const { keeper, clock } = this.#context.parts
    const deadline = clock.boottime() + keeperBackMs
    for (;;) {
      try {
        return await keeper.list()
      } catch (error) {
        const isAway = isTroupeError(error) && error.code === "ERR_KEEPER"
        if (!isAway || clock.boottime() >= deadline) throw error
        await clock.sleep(keeperLookMs)
      }
    }
  }

  stop(): void {
    this.#stopped = true
    this.#reports.stop()
    this.#builtins.stop()
  }

  /** The leader that was heard lately. */
  leader(): PeerRef | undefined {
    const lease = this.#lease
    const isGood =
      lease !== undefined &&
      this.#clusterId === this.#context.identity()?.clusterId &&
      lease.heardUntil > this.#context.parts.clock.boottime()
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
    return this.#live.size + this.#builtins.running
  }

  async handle(from: string, request: JobRequest): Promise<JobAnswer> {
    switch (request.type) {
      case "lease":
        return await this.#onLease(from, request)
      case "start":
        return await this.#onStart(request)
      case "starts":
        return await this.#onStarts(request)
      case "stop":
        return await this.#onStop(request)
      case "forget":
        return await this.#onForget(request)
      case "readLog":
        return await this.#readLog(request)
      case "tail": {
        const { keeper, clock } = this.#context.parts
        return await answerTail(request, { keeper, clock, isStopped: () => this.#stopped })
      }
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
    const at = this.#context.parts.clock.boottime()
    this.#lease = leaseFrom(request, { now: at, boot: this.#context.boot(), before: this.#lease })
    this.#renewKeeper(this.#lease, at)
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
      ...(request.heard && { at }),
    }
  }

  /** What must not run on without a lease is ended by the keeper: this process may be dead by then. */
  #renewKeeper(lease: Lease, now: number): void {
    const { keeper, logger } = this.#context.parts
    if (lease.lease === 0 || lease.expiresAt <= now) return
    const clusterId = this.#keeperCluster(this.#clusterId!)
    keeper.renew({ clusterId, ageMs: now - lease.renewedAt }).catch((error: unknown) => {
      logger.debug("the keeper did not hear of a lease", { error: String(error) })
    })
  }

  /** A recovered node's jobs go on under the name that its keeper knows. */
  #keeperCluster(clusterId: string): string {
    return this.#context.identity()?.keeperCluster ?? clusterId
  }

  async #attempts(): Promise<readonly AttemptSummary[]> {
    const kept = (await this.#context.parts.keeper.list()).map(summaryOf)
    return [...kept, ...this.#builtins.summaries()]
  }

  async #onStart(request: Order<"start">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    const unleased = this.#leaseProblem(request)
    if (unleased) return this.#refuse(unleased)
    const order = StartOrder.parse(request.launch)
    try {
      const attempt =
        order.driver === "process"
          ? await this.#launch(request, order)
          : this.#builtins.perform(request, order.work as BuiltinWork, order.deadlineMs)
      return { type: "start", attempt }
    } catch (error) {
      return this.#refuse(error instanceof Error ? error.message : String(error))
    }
  }

  async #onStarts({ starts, ...shared }: Order<"starts">): Promise<JobAnswer> {
    const problem = this.#refusal(shared)
    if (problem) return this.#refuse(problem)
    const answers = await Promise.all(
      starts.map(async (one) => await this.#onStart({ ...shared, ...one, type: "start" })),
    )
    const refused = answers.flatMap((answer, place) =>
      answer.type === "refused" ? { place, reason: answer.reason } : [],
    )
    return { type: "starts", refused }
  }

  /** Why there is no right to hold this attempt now, if there is none. */
  #leaseProblem(request: Order<"start">): string | undefined {
    const lease = this.#lease
    if (!lease || lease.lease !== request.lease || lease.lease === 0) {
      return `no lease ${request.lease} here`
    }
    if (lease.expiresAt <= this.#context.parts.clock.boottime()) return "the lease has expired"
    return undefined
  }

  async #launch(
    request: Order<"start">,
    order: Extract<StartOrder, { driver: "process" }>,
  ): Promise<AttemptSummary> {
    const { parts } = this.#context
    const signal = parts.clock.timeoutSignal(600_000, `staging files of ${request.task}`)
    for (const file of order.files) await this.#context.fetch(file.digest, signal)
    // That may have taken minutes: another leader may have moved it elsewhere meanwhile.
    const problem = this.#refusal(request) ?? this.#leaseProblem(request)
    if (problem) throw new Error(`${problem}, after its files had been fetched`)
    if (!order.progress) this.#quiet.add(keyOf(request))
    const attempt = await parts.keeper.launch({
      clusterId: this.#keeperCluster(request.clusterId),
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
      outputBytesMax: this.#context.options.streamBytesMax ?? outputBytesMax,
      limits: order.limits,
      ...(order.onKeeperDeath === "die" && {
        selfStopMs: Math.max(order.selfStopMs ?? 0, this.#lease!.ttlMs),
      }),
    })
    this.#note(attempt)
    return summaryOf(attempt)
  }

  async #onStop(request: Order<"stop">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    if (this.#builtins.end(request, request.reason)) return { type: "stop", known: true }
    const { keeper } = this.#context.parts
    const known = (await keeper.list()).some((one) => keyOf(one) === keyOf(request))
    // One that never came: its Start, should it come yet, is refused from now on.
    await keeper.end(request)
    return { type: "stop", known }
  }

  async #onForget(request: Order<"forget">): Promise<JobAnswer> {
    const problem = this.#refusal(request)
    if (problem) return this.#refuse(problem)
    const { keeper } = this.#context.parts
    const { files } = request
    const kept = request.attempts.filter((target) => {
      this.#quiet.delete(keyOf(target))
      return !this.#builtins.forget(target)
    })
    for (let at = 0; at < kept.length; at += forgottenAtOnce) {
      const some = kept.slice(at, at + forgottenAtOnce)
      // Together, so that they share one sync of the keeper's journal.
      await Promise.all(some.map(async (target) => await keeper.forget({ ...target, files })))
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
    this.#builtins.begin()
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

function summaryOf(attempt: KeeperAttempt): AttemptSummary {
  const { run, task, fence, state, startedAt, readyAt, ending } = attempt
  return { run, task, attempt: attempt.attempt, fence, state, startedAt, readyAt, ending }
}

function unknownOrder(request: never): never {
  throw new Error(`unknown order ${JSON.stringify(request)}`)
}

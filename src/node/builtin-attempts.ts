/** Attempts of builtin work on this node: begun once, told of until the leader lets them go. They end with the process. */
import { type Ending, TroupeError } from "../schema/index.ts"
import type { AttemptRef, AttemptSummary, JobRequest } from "../wire/index.ts"
import { type BuiltinResult, type BuiltinWork, performBuiltin } from "./builtins.ts"
import type { NodeContext } from "./context.ts"
import type { RunRows } from "./launch.ts"
import { attemptKey, parseTaskName } from "./orders.ts"
import { replicateBlobs } from "./replication.ts"
import type { Reports } from "./reports.ts"

interface Builtin {
  readonly run: string
  readonly task: string
  readonly attempt: number
  readonly fence: number
  readonly abort: AbortController
  readonly startedAt: number
  ending?: Ending
}

const deadlineMsUsual = 600_000
/** Tasks whose newest fence is remembered; the oldest go first. */
const fencesMax = 10_000

export class BuiltinAttempts {
  readonly #context: NodeContext
  readonly #reports: Reports
  readonly #attempts = new Map<string, Builtin>()
  /** Of every task, also when its attempt is let go: a Start that comes late, or twice, begins nothing. */
  readonly #fences = new Map<string, number>()
  #stopped = false

  constructor(context: NodeContext, reports: Reports) {
    this.#context = context
    this.#reports = reports
  }

  stop(): void {
    this.#stopped = true
    for (const { abort } of this.#attempts.values()) abort.abort(stopping())
  }

  get running(): number {
    let count = 0
    for (const { ending } of this.#attempts.values()) if (!ending) count++
    return count
  }

  summaries(): readonly AttemptSummary[] {
    return [...this.#attempts.values()].map(summaryOf)
  }

  /** The same fence again is the same attempt; ERR_LEASE_LOST for one that is over, or older than another of its task. */
  perform(
    request: Extract<JobRequest, { type: "start" }>,
    work: BuiltinWork,
    deadlineMs: number | undefined,
  ): AttemptSummary {
    const key = attemptKey(request)
    const known = this.#attempts.get(key)
    if (known) return summaryOf(known)
    const { task, attempt: n, fence } = request
    if (fence <= (this.#fences.get(taskKey(request)) ?? 0)) {
      const what = `fence ${fence} of ${task} is superseded`
      throw new TroupeError("ERR_LEASE_LOST", what, { task, attempt: n })
    }
    this.#seeFence(request)
    const builtin: Builtin = {
      run: request.run,
      task: request.task,
      attempt: request.attempt,
      fence: request.fence,
      abort: new AbortController(),
      startedAt: this.#context.parts.clock.now(),
    }
    this.#attempts.set(key, builtin)
    void this.#run(builtin, work, deadlineMs ?? deadlineMsUsual)
    return summaryOf(builtin)
  }

  /** False: it is not one of these, and will not become one. */
  end(ref: AttemptRef, reason: string): boolean {
    const builtin = this.#attempts.get(attemptKey(ref))
    builtin?.abort.abort(new Error(reason))
    this.#seeFence(ref)
    return builtin !== undefined
  }

  /** Another cluster counts its runs and fences anew. */
  begin(): void {
    this.#fences.clear()
  }

  #seeFence(ref: AttemptRef): void {
    const key = taskKey(ref)
    const fence = Math.max(ref.fence, this.#fences.get(key) ?? 0)
    this.#fences.delete(key)
    this.#fences.set(key, fence)
    if (this.#fences.size <= fencesMax) return
    const [oldest] = this.#fences.keys()
    if (oldest !== undefined) this.#fences.delete(oldest)
  }

  /** False: it is not one of these. */
  forget(ref: AttemptRef): boolean {
    return this.#attempts.delete(attemptKey(ref))
  }

  async #run(builtin: Builtin, work: BuiltinWork, deadlineMs: number): Promise<void> {
    const { clock, logger } = this.#context.parts
    const signal = AbortSignal.any([
      builtin.abort.signal,
      clock.timeoutSignal(deadlineMs, builtin.task),
    ])
    let result: BuiltinResult = { outputs: [] }
    let ending: Ending = { outcome: "done", stopped: false }
    try {
      result = await this.#work(builtin, work, signal)
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

  async #work(builtin: Builtin, work: BuiltinWork, signal: AbortSignal): Promise<BuiltinResult> {
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
}

function taskKey({ run, task }: Pick<AttemptRef, "run" | "task">): string {
  return `${run}/${task}`
}

function summaryOf(builtin: Builtin): AttemptSummary {
  const { run, task, attempt, fence, startedAt, ending } = builtin
  return { run, task, attempt, fence, startedAt, ending, state: ending ? "ended" : "started" }
}

function stopping(): TroupeError<"ERR_STOPPED"> {
  return new TroupeError("ERR_STOPPED", "this node is stopping", { what: "worker" })
}

/** Which attempts a run has: all at first, and those that begin while it is followed. */
import { isTroupeError, TroupeError } from "../schema/index.ts"
import { nearest } from "../lib/index.ts"
import type { NodeContext } from "./context.ts"
import type { EventPage } from "./face.ts"
import type { LogSource, LogSources } from "./log-operations.ts"
import { parseTaskName } from "./orders.ts"

export interface SourceParts {
  readonly context: Pick<NodeContext, "call" | "parts">
  readonly run: string
  /** Tasks or whole groups; none: all roles. */
  readonly tasks: readonly string[]
  readonly signal: AbortSignal
  /** `isLate`: it began after the list was made. */
  readonly found: (sources: readonly LogSource[], isLate: boolean) => void
  readonly notice: (message: string) => void
}

const eventsPage = 500
const eventsWaitMs = 10_000
const askMs = 15_000
const retryMs = { first: 200, most: 3000 }
const sayMs = 5000

export class SourceWatch {
  readonly #parts: SourceParts
  readonly #known = new Set<string>()
  #roles: ReadonlySet<string> = new Set()
  /** By id: a label may mean a newer run by the next question. */
  #run: string

  constructor(parts: SourceParts) {
    this.#parts = parts
    this.#run = parts.run
  }

  /** All attempts that there are; answers the run's id, and whether it is over. ERR_RUN_NOT_FOUND, ERR_TASK_NOT_FOUND. */
  async list(): Promise<{ run: string; finished: boolean }> {
    let first: LogSources | undefined
    for (let after: string | undefined; ;) {
      const page = await this.#ask({ run: this.#run, ...(after !== undefined && { after }) })
      if (!first) {
        first = page
        this.#run = page.run
        this.#roles = new Set(page.roles)
        this.#checkTasks(page)
      }
      this.#tell(page.sources, false)
      after = page.next
      if (after === undefined) return { run: page.run, finished: first.finished }
    }
  }

  #checkTasks({ label, run }: LogSources): void {
    for (const task of this.#parts.tasks) {
      if (this.#roles.has(task) || this.#roles.has(parseTaskName(task).group)) continue
      const roles = [...this.#roles]
      const meant = nearest(task, roles)
      const hint = meant === undefined ? "" : `; did you mean ${meant}?`
      const there = roles.slice(0, 20).join(", ")
      throw new TroupeError(
        "ERR_TASK_NOT_FOUND",
        `run ${label} has no task '${task}' with a log${hint} There are: ${there}`,
        { run, task },
      )
    }
  }

  /** Until the run is over. */
  async follow(): Promise<void> {
    const { signal } = this.#parts
    let after: string | undefined
    for (;;) {
      signal.throwIfAborted()
      const page = await this.#patiently(
        async (limit) =>
          (await this.#parts.context.call(
            "readEvents",
            { run: this.#run, after, limit: eventsPage, waitMs: eventsWaitMs },
            { signal: limit },
          )) as EventPage,
      )
      if (page.reset) await this.list()
      after = page.last ?? after
      const names = new Set<string>()
      for (const { task, attempt, type } of page.events) {
        const isNews = type === "task-assigned" || type === "task-started" || type === "task-ended"
        if (task === undefined || attempt === undefined || !isNews) continue
        if (!this.#known.has(`${task}/${attempt}`) && this.#isAsked(task)) names.add(task)
      }
      if (names.size > 0) this.#tell(await this.refresh([...names]), true)
      if (page.ended) return
    }
  }

  /** How these tasks stand now. */
  async refresh(tasks: readonly string[]): Promise<readonly LogSource[]> {
    return (await this.#ask({ run: this.#run, tasks })).sources
  }

  #tell(sources: readonly LogSource[], isLate: boolean): void {
    const fresh = sources.filter(
      ({ task, attempt }) => this.#isAsked(task) && !this.#known.has(`${task}/${attempt}`),
    )
    for (const { task, attempt } of fresh) this.#known.add(`${task}/${attempt}`)
    if (fresh.length > 0) this.#parts.found(fresh, isLate)
  }

  #isAsked(task: string): boolean {
    const { group } = parseTaskName(task)
    if (!this.#roles.has(group)) return false
    const { tasks } = this.#parts
    return tasks.length === 0 || tasks.includes(task) || tasks.includes(group)
  }

  async #ask(body: {
    run: string
    tasks?: readonly string[]
    after?: string
  }): Promise<LogSources> {
    return await this.#patiently(
      async (signal) =>
        (await this.#parts.context.call("logSources", body, { signal })) as LogSources,
    )
  }

  /** A change of leader passes. */
  async #patiently<T>(ask: (limit: AbortSignal) => Promise<T>): Promise<T> {
    const { context, signal, notice } = this.#parts
    const { clock } = context.parts
    const begun = clock.boottime()
    let isSaid = false
    for (let pause = retryMs.first; ; pause = Math.min(2 * pause, retryMs.most)) {
      const limit = clock.timeoutSignal(askMs, "asking which tasks run")
      try {
        const answer = await ask(AbortSignal.any([signal, limit]))
        if (isSaid) notice("the leader answers again")
        return answer
      } catch (error) {
        signal.throwIfAborted()
        if (!isTroupeError(error) || lasting.has(error.code)) throw error
        if (!isSaid && clock.boottime() - begun > sayMs) {
          isSaid = true
          notice(`no leader answers (${error.message}); tasks that begin are shown when one does`)
        }
      }
      await clock.sleep(pause, { signal })
    }
  }
}

const lasting: ReadonlySet<string> = new Set([
  "ERR_RUN_NOT_FOUND",
  "ERR_TASK_NOT_FOUND",
  "ERR_FORBIDDEN",
  "ERR_UNSUPPORTED",
  "ERR_STOPPED",
])

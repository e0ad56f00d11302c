/** `troupe job run`: one command on some node, its output as it comes, its verdict as the exit code. */
import { randomUUID } from "node:crypto"
import type { Client } from "../../client/index.ts"
import type { Timer } from "../../platform/index.ts"
import type { RunEvent, RunView, SubmitJobInput } from "../../schema/index.ts"
import { bringHome } from "../bring-home.ts"
import { connect } from "../connect.ts"
import { formatDuration } from "../duration.ts"
import { exitCodes, verdictExit } from "../exit.ts"
import { follow } from "../follow.ts"
import { onInterrupt } from "../interrupt.ts"
import { type JobOptions, jobRequest } from "../job-request.ts"
import { Left, stopOrLeave, tellHowToFollow } from "../leaving.ts"
import { type Format, printItem, printOne, runValue } from "../output.ts"
import { createPrinter } from "../output-printer.ts"
import { jobPlanText } from "../plan-text.ts"
import { countsText } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"
import { safeLine } from "../width.ts"
import { pourOutput } from "./logs.ts"

interface Options extends JobOptions {
  readonly detach?: true
  readonly dryRun?: true
  readonly printPlan?: true
  readonly bundleDir: string
  readonly key?: string
  readonly output?: string
  readonly api?: string
}

/** What the scheduler says of a task that a node fits. */
const placedSoon = "is about to be placed"
const dayMs = 24 * 3_600_000
/** A run ends by itself at its deadline; this is for a cluster that cannot even say so. */
const marginMs = 10 * 60_000
const timeoutMsDefault = 7 * dayMs
/** After its run is over, output that is silent for so long is not waited for. */
const outputMarginMs = 10_000

export async function jobRun(
  session: Session,
  command: readonly string[],
  options: Options,
): Promise<number> {
  const format = formatOf(session, options.output)
  const request = jobRequest(command, options, process.env)
  const client = connect(session, options)
  if (options.dryRun === true || options.printPlan === true) {
    return await printPlan(session, { client, request, format })
  }
  const interrupted = new AbortController()
  const job = new Job(session, { client, request, format, options, interrupted })
  const letGo = onInterrupt((signal) => job.interrupt(signal))
  try {
    return await job.perform()
  } catch (error) {
    if (!(error instanceof Left)) throw error
    return job.left(error)
  } finally {
    letGo()
  }
}

async function printPlan(
  session: Session,
  what: { readonly client: Client; readonly request: SubmitJobInput; readonly format: Format },
): Promise<number> {
  const { terminal } = session
  const plan = await what.client.planJob(what.request)
  for (const warning of plan.warnings) terminal.tell(`warning: ${warning}`)
  const { columns: width, paint } = terminal
  const text = () => jobPlanText(plan, { width, paint })
  await printOne(terminal, what.format, { kind: "Plan", value: plan, text })
  const isPlaceable = plan.placements.every(({ node }) => node !== undefined)
  return isPlaceable ? exitCodes.ok : exitCodes.unplaceable
}

interface Work {
  readonly client: Client
  readonly request: SubmitJobInput
  readonly format: Format
  readonly options: Options
  readonly interrupted: AbortController
}

/** One job from its submission to its verdict. */
class Job {
  readonly #session: Session
  readonly #work: Work
  #accepted: RunView | undefined
  /** What was said of waiting, each reason once. */
  readonly #told = new Set<string>()

  constructor(session: Session, work: Work) {
    this.#session = session
    this.#work = work
  }

  interrupt(signal: "SIGINT" | "SIGTERM"): void {
    const { client, interrupted } = this.#work
    const run = this.#accepted
    if (run === undefined) {
      interrupted.abort(new Left("before-accepted"))
      return
    }
    const screen = this.#session.terminal
    const notice = "cancelling; its processes are being stopped"
    void stopOrLeave(this.#session, { client, run, screen, signal, interrupted, notice })
  }

  left({ how }: Left): number {
    if (how === "detached" && this.#accepted) {
      tellHowToFollow(this.#session, this.#accepted)
      return exitCodes.ok
    }
    const notice = "stopped before the job was known to be accepted; see: troupe runs list"
    this.#session.terminal.tell(notice)
    return exitCodes.cancelled
  }

  async perform(): Promise<number> {
    const { client, request, options, interrupted, format } = this.#work
    const { terminal, clock } = this.#session
    const key = options.key ?? `cli-${randomUUID()}`
    const accepted = await client.submitJob(request, { key, signal: interrupted.signal })
    const { run, existing, warnings } = accepted
    this.#accepted = run
    for (const warning of warnings) terminal.tell(`warning: ${warning}`)
    const notice = `${existing ? "already accepted" : "accepted"} as ${run.id} (${run.label})`
    terminal.tell(terminal.paintError("gray", notice))
    if (options.detach === true) {
      tellHowToFollow(this.#session, run)
      await this.#print(run, () => run.id)
      return exitCodes.ok
    }
    const limitMs = (options.timeout ?? timeoutMsDefault) + marginMs
    const limit = clock.timeoutSignal(limitMs, `run ${run.label}`)
    const signal = AbortSignal.any([interrupted.signal, limit])
    // Data for programs has standard output for itself; the output of the job is read by `troupe logs`.
    const over = Promise.withResolvers<void>()
    const pouring = format === "table" ? this.#pour(run, signal, over.promise) : undefined
    const following = follow(client, run, {
      clock,
      signal,
      onEvent: (event) => this.#onEvent(event),
      onView: (view) => this.#onView(view),
    }).finally(() => over.resolve())
    const [last] = await Promise.all([following, pouring])
    return await this.#conclude(last)
  }

  /** Everything that its members write, in one stream; a single one's as if it ran here. */
  async #pour(run: RunView, signal: AbortSignal, over: Promise<void>): Promise<void> {
    const { client, request } = this.#work
    const { clock } = this.#session
    const count = request.count ?? 1
    const printer = createPrinter(this.#session.terminal, {
      timestamps: false,
      raw: count === 1,
      both: true,
      cells: `job[${count - 1}]`.length,
    })
    const enough = new AbortController()
    const until = AbortSignal.any([signal, enough.signal])
    const source = client.output(run.id, { tasks: ["job"], follow: true, signal: until })
    /** Boot-time clock; undefined while what came is being written. */
    let waitsSince: number | undefined = clock.boottime()
    const parts = async function* () {
      for await (const part of source) {
        waitsSince = undefined
        yield part
        waitsSince = clock.boottime()
      }
    }
    // The run has its verdict, and a node that is away may never come back with its share.
    let timer: Timer | undefined
    let isWritten = false
    void over.then(() => {
      if (isWritten) return
      const begun = clock.boottime()
      timer = clock.every(1000, () => {
        const since = waitsSince === undefined ? undefined : Math.max(waitsSince, begun)
        if (since !== undefined && clock.boottime() - since > outputMarginMs) enough.abort()
      })
    })
    try {
      await pourOutput(parts(), printer)
    } catch (error) {
      if (!enough.signal.aborted || signal.aborted) throw error
      printer.tell(`output that has not come by now is left out; see: troupe logs ${run.id}`)
    } finally {
      isWritten = true
      timer?.cancel()
    }
  }

  #onEvent(event: RunEvent): void {
    const { terminal } = this.#session
    const { type, task, attempt } = event
    if (this.#work.format === "jsonl") printItem(terminal, "RunEvent", event)
    if (type !== "task-assigned" || attempt === undefined || attempt === 1) return
    const node = event.node === undefined ? "" : ` on ${event.node}`
    terminal.tell(terminal.paintError("gray", `${task}: attempt ${attempt}${node}`))
  }

  /** While nothing runs: why, once for each reason. */
  #onView(view: RunView): void {
    const { terminal } = this.#session
    if (view.tasks.some(({ state }) => state === "active" || state === "stopping")) return
    for (const { name, state, waiting, notBefore } of view.tasks) {
      // A backoff is over soon, and by itself.
      if (state !== "pending" || waiting === undefined || notBefore !== undefined) continue
      if (waiting === placedSoon || this.#told.has(waiting)) continue
      this.#told.add(waiting)
      terminal.tell(terminal.paintError("yellow", `${name} waits: ${safeLine(waiting)}`))
    }
  }

  async #print(run: RunView, text: () => string): Promise<void> {
    const { format } = this.#work
    await printOne(this.#session.terminal, format, { kind: "Run", value: runValue(run), text })
  }

  async #conclude(view: RunView): Promise<number> {
    const { terminal } = this.#session
    const { format, client, options, interrupted } = this.#work
    const { verdict } = view
    if (format !== "table") await this.#print(view, () => view.id)
    const took = formatDuration((view.endedAt ?? view.createdAt) - view.createdAt)
    const [group] = view.groups ?? []
    const counts = group === undefined || group.count === 1 ? "" : ` (${countsText(group)})`
    const why = view.reason === undefined ? "" : `: ${safeLine(view.reason)}`
    const colour = verdict === "succeeded" ? "green" : "red"
    const word = terminal.paintError(colour, verdict ?? view.state)
    const isQuiet = verdict === "succeeded" && group?.count === 1
    if (!isQuiet) terminal.tell(`${word}${why}${counts} after ${took}`)
    if (view.bundle !== undefined) {
      const home = await bringHome(client, view, {
        session: this.#session,
        bundleDir: options.bundleDir,
        format: "dir",
        signal: interrupted.signal,
      })
      if (home.path !== undefined) terminal.tell(`artifacts: ${home.path}`)
      if (home.problem !== undefined) {
        terminal.tell(`${terminal.paintError("red", "error:")} ${home.problem}`)
        if (verdict === "succeeded") return home.exitCode
      }
    }
    return verdict === undefined ? exitCodes.internal : verdictExit[verdict]
  }
}

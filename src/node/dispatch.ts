/** Starts and stops: what the tables want of the nodes, sent to them until they hold it. */
import type { Attempt, Ending, Member, PeerRef, Plan, Task } from "../schema/index.ts"
import type { Scheduler } from "../scheduler/index.ts"
import {
  readMember,
  readPlan,
  readRun,
  readSession,
  readTask,
  type TaskRef,
} from "../state/index.ts"
import type { AttemptRef, AttemptSummary, JobAnswer, JobRequest } from "../wire/index.ts"
import { type Duty, proposeSoftly } from "./duty.ts"
import { groupOf, liveAttempt } from "./launch.ts"
import { parseTaskName } from "./orders.ts"
import { startOrder } from "./start-order.ts"
import { Starts } from "./starts.ts"

/** Answers in a row, a second apart. */
const absentRounds = 3

export class Dispatch {
  readonly #duty: Duty
  readonly #scheduler: Scheduler
  readonly #starts: Starts
  /** By member: attempts that its last answers did not name though they had been started there, and how many answers. */
  readonly #absent = new Map<number, ReadonlyMap<string, number>>()

  constructor(duty: Duty, scheduler: Scheduler) {
    this.#duty = duty
    this.#starts = new Starts(duty)
    this.#scheduler = scheduler
  }

  /** What a node holds against what the tables want of it: lost orders are sent again, leftovers stopped, results let go. */
  reconcile(member: Member, held: readonly AttemptSummary[]): void {
    const seen = new Set<string>()
    const forget = { all: [] as AttemptRef[], streams: [] as AttemptRef[] }
    for (const attempt of held) {
      seen.add(`${attempt.run}/${attempt.task}/${attempt.fence}`)
      const ref = { run: attempt.run, ...parseTaskName(attempt.task) }
      const task = readTask(this.#duty.replica.tables, ref)
      const live = task && liveAttempt(task)
      const current = live?.fence === attempt.fence && task?.state !== "finished"
      if (current) {
        if (task?.state === "stopping") this.stopAttempt(ref, "stopping")
        continue
      }
      if (attempt.state !== "ended") {
        this.#sendStop(member, attempt, { graceMs: 5000, reason: "superseded, or its run is over" })
      } else {
        const fate = this.#fateOf(attempt, task)
        if (fate === "held") continue
        forget[fate].push({ run: attempt.run, task: attempt.task, fence: attempt.fence })
      }
    }
    if (forget.all.length > 0) this.#sendForget(member, forget.all, { files: true })
    if (forget.streams.length > 0) this.#sendForget(member, forget.streams, { files: false })
    const absent = new Map<string, number>()
    for (const ref of this.#scheduler.attemptsOn(member.id)) {
      const task = readTask(this.#duty.replica.tables, ref)
      const live = task && liveAttempt(task)
      if (!task || !live || seen.has(`${ref.run}/${task.name}/${live.fence}`)) continue
      if (task.state === "stopping") this.stopAttempt(ref, "stopping")
      else if (live.state === "assigned") this.startAttempt(ref)
      else this.#missing(task, { member, absent })
    }
    this.#absent.set(member.id, absent)
  }

  /** It ran there, and its node knows nothing of it. An answer may be older than the report of a start; several in a row
   *  are not: then the node has lost it. */
  #missing(
    task: Task,
    { member, absent }: { readonly member: Member; readonly absent: Map<string, number> },
  ): void {
    const key = `${task.run}/${task.name}/${liveAttempt(task)!.fence}`
    const rounds = (this.#absent.get(member.id)?.get(key) ?? 0) + 1
    absent.set(key, rounds)
    if (rounds < absentRounds) return
    const reason = `${member.name} has no trace of it any more`
    this.#endFor(task, { outcome: "unknown", reason, stopped: false })
  }

  /** What becomes of an attempt that has ended: held while something may still collect its files; then all of it goes
   *  if a bundle has what it wrote, else its streams stay on the node until retention takes them. */
  #fateOf(attempt: AttemptSummary, task: Task | undefined): "held" | "all" | "streams" {
    const { tables } = this.#duty.replica
    const run = readRun(tables, attempt.run)
    if (!run) return "all"
    const isOver = (this.#scheduler.runState(run.id) ?? "finished") === "finished"
    if (isOver) return run.bundle ? "all" : "streams"
    if (!task || liveAttempt(task)?.fence !== attempt.fence) return "streams"
    const plan = readPlan(tables, run.id)
    return plan && !isCollected(plan, task.group) ? "streams" : "held"
  }

  startAttempt(ref: TaskRef): void {
    const { tables } = this.#duty.replica
    const task = readTask(tables, ref)
    const attempt = task && liveAttempt(task)
    if (!task || !attempt || attempt.state !== "assigned") return
    const start = { run: ref.run, task: task.name, fence: attempt.fence, attempt: attempt.n }
    if (this.#starts.isUnderWay(start)) return
    const member = readMember(tables, attempt.node)
    const session = readSession(tables, attempt.node)
    if (!member || session?.state !== "up") return
    const launch = startOrder(tables, task, member)
    if ("problem" in launch) this.#failToStart(task, launch.problem)
    else this.#starts.add({ member, lease: session.lease, start: { ...start, launch } })
  }

  #failToStart(task: Task, reason: string): void {
    this.#endFor(task, { outcome: "not_started", reason, stopped: false })
  }

  /** The end of the live attempt, where its node has none to tell. */
  #endFor(task: Task, ending: Ending): void {
    const attempt = liveAttempt(task)!
    const at = this.#duty.context.parts.clock.now()
    proposeSoftly(this.#duty, {
      type: "report",
      items: [
        {
          run: task.run,
          group: task.group,
          index: task.index,
          attempt: attempt.n,
          fence: attempt.fence,
          state: "ended",
          at,
          ending,
          outputs: [],
        },
      ],
    })
  }

  stopAttempt(ref: TaskRef, reason: string): void {
    const { tables } = this.#duty.replica
    const task = readTask(tables, ref)
    const attempt = task && liveAttempt(task)
    if (!task || !attempt || attempt.state === "ended") return
    const member = readMember(tables, attempt.node)
    const plan = readPlan(tables, ref.run)
    const graceMs = (plan && groupOf(plan, ref.group)?.graceMs) ?? 5000
    if (!member) return
    const target = { ...attempt, run: ref.run, task: task.name }
    this.#sendStop(member, target, { graceMs, reason }, () => this.#neverCame(ref, attempt))
  }

  /** Its node had nothing to stop, and takes no Start of this fence any more: nobody else can tell of its end. */
  #neverCame(ref: TaskRef, { fence, state }: Attempt): void {
    const task = readTask(this.#duty.replica.tables, ref)
    if (!task || liveAttempt(task)?.fence !== fence || task.state !== "stopping") return
    const isNew = state === "assigned"
    const reason = isNew ? "stopped before it was started" : "its node has no trace of it any more"
    this.#endFor(task, { outcome: isNew ? "not_started" : "unknown", reason, stopped: true })
  }

  #sendStop(
    member: PeerRef,
    attempt: { run: string; task: string; fence: number },
    how: { graceMs: number; reason: string },
    neverCame?: () => void,
  ): void {
    const { run, task, fence } = attempt
    const request = { type: "stop", ...this.#order(), run, task, fence, ...how } as const
    this.#send(member, request, (answer) => {
      if (answer.type === "stop" && !answer.known) neverCame?.()
    })
  }

  #sendForget(
    member: PeerRef,
    attempts: readonly AttemptRef[],
    { files }: { readonly files: boolean },
  ): void {
    this.#send(member, { type: "forget", ...this.#order(), attempts, files })
  }

  #order(): { clusterId: string; term: number } {
    return { clusterId: this.#duty.context.identity()!.clusterId, term: this.#duty.term }
  }

  /** Orders that are sent again by the next lease when they are lost. */
  #send(member: PeerRef, request: JobRequest, heard?: (answer: JobAnswer) => void): void {
    const { clock, logger } = this.#duty.context.parts
    const signal = AbortSignal.any([
      this.#duty.signal,
      clock.timeoutSignal(this.#duty.context.options.timing.requestMs, "an order"),
    ])
    this.#duty.context.job(member, request, { signal }).then(heard, (error: unknown) => {
      if (!this.#duty.signal.aborted)
        logger.debug("an order was not heard", { error: String(error) })
    })
  }
}

/** Whether a task of the plan brings home what this group's members wrote. */
function isCollected(plan: Plan, group: string): boolean {
  return plan.groups.some(
    ({ work }) => work.driver === "builtin" && work.verb === "collect" && work.group === group,
  )
}

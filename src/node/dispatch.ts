/** Starts and stops: what the tables want of the nodes, sent to them until they hold it. */
import type { Member, PeerRef, Plan, Task } from "../schema/index.ts"
import type { Scheduler } from "../scheduler/index.ts"
import {
  readMembers,
  readPlan,
  readRun,
  readSession,
  readTask,
  type TaskRef,
} from "../state/index.ts"
import type { AttemptRef, AttemptSummary, JobRequest } from "../wire/index.ts"
import { type Duty, proposeSoftly } from "./duty.ts"
import { groupOf, liveAttempt } from "./launch.ts"
import { parseTaskName } from "./orders.ts"
import { startOrder } from "./start-order.ts"

export class Dispatch {
  readonly #duty: Duty
  readonly #scheduler: Scheduler
  readonly #starting = new Set<string>()

  constructor(duty: Duty, scheduler: Scheduler) {
    this.#duty = duty
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
    for (const ref of this.#scheduler.attemptsOn(member.id)) {
      const task = readTask(this.#duty.replica.tables, ref)
      const live = task && liveAttempt(task)
      if (
        !task ||
        !live ||
        live.state === "ended" ||
        seen.has(`${ref.run}/${task.name}/${live.fence}`)
      ) {
        continue
      }
      this.startAttempt(ref)
    }
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
    const task = readTask(this.#duty.replica.tables, ref)
    const attempt = task && liveAttempt(task)
    if (!task || !attempt || attempt.state !== "assigned") return
    const key = `${ref.run}/${task.name}/${attempt.fence}`
    if (this.#starting.has(key)) return
    this.#starting.add(key)
    void this.#sendStart(task).finally(() => this.#starting.delete(key))
  }

  async #sendStart(task: Task): Promise<void> {
    const attempt = liveAttempt(task)!
    const { tables } = this.#duty.replica
    const member = readMembers(tables).find((one) => one.id === attempt.node)
    const session = readSession(tables, attempt.node)
    if (!member || session?.state !== "up") return
    const order = startOrder(tables, task)
    if ("problem" in order) {
      this.#failToStart(task, order.problem)
      return
    }
    const { clock, logger } = this.#duty.context.parts
    const signal = AbortSignal.any([this.#duty.signal, clock.timeoutSignal(600_000, "a start")])
    const request: JobRequest = {
      type: "start",
      clusterId: this.#duty.context.identity()!.clusterId,
      term: this.#duty.term,
      lease: session.lease,
      fence: attempt.fence,
      run: task.run,
      task: task.name,
      attempt: attempt.n,
      launch: order,
    }
    try {
      const answer = await this.#duty.context.job(member, request, { signal })
      if (answer.type === "refused") {
        logger.info("a start was refused", {
          node: member.name,
          task: task.name,
          reason: answer.reason,
        })
      }
    } catch (error) {
      // Sent again after the next lease that the node answers.
      if (!this.#duty.signal.aborted)
        logger.info("a start was not heard", { node: member.name, error: String(error) })
    }
  }

  #failToStart(task: Task, reason: string): void {
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
          ending: { outcome: "not_started", reason, stopped: false },
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
    const member = readMembers(tables).find((one) => one.id === attempt.node)
    const plan = readPlan(tables, ref.run)
    const graceMs = (plan && groupOf(plan, ref.group)?.graceMs) ?? 5000
    if (member)
      this.#sendStop(member, { ...attempt, run: ref.run, task: task.name }, { graceMs, reason })
  }

  #sendStop(
    member: PeerRef,
    attempt: { run: string; task: string; fence: number },
    how: { graceMs: number; reason: string },
  ): void {
    const { run, task, fence } = attempt
    this.#send(member, { type: "stop", ...this.#order(), run, task, fence, ...how })
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
  #send(member: PeerRef, request: JobRequest): void {
    const { clock, logger } = this.#duty.context.parts
    const signal = AbortSignal.any([
      this.#duty.signal,
      clock.timeoutSignal(this.#duty.context.options.timing.requestMs, "an order"),
    ])
    this.#duty.context.job(member, request, { signal }).catch((error: unknown) => {
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

/** Leader duties of one term: leases, placement, starts and stops, reports, voters. Ends with the term's signal. */
import type { Member, PeerRef, Task } from "../schema/index.ts"
import { createScheduler, type PlacementInput, type Scheduler } from "../scheduler/index.ts"
import {
  type Applied,
  type Command,
  readMembers,
  readPlan,
  readSession,
  readTask,
  type StateEvent,
  type TaskRef,
} from "../state/index.ts"
import type { AttemptSummary, JobRequest } from "../wire/index.ts"
import { findGhosts, planVoters } from "./autopilot.ts"
import type { NodeContext } from "./context.ts"
import { groupOf, liveAttempt } from "./launch.ts"
import { parseTaskName } from "./orders.ts"
import type { Replica } from "./replica.ts"
import { startOrder } from "./start-order.ts"

/** What the leader knows of a member beyond the tables. Soft: a new leader learns it again. */
export interface Contact {
  /** Boot-time clock of the last answer; of the term's start before any. */
  heardAt: number
  /** Since when every lease was answered. */
  steadySince: number
  answered: boolean
  asking: boolean
  rosterSent: number
  running: number
}

const decideBudget = 256
const schedulerWakeMaxMs = 1000

export class Leadership {
  readonly #context: NodeContext
  readonly #replica: Replica
  readonly #term: number
  readonly #signal: AbortSignal
  readonly #scheduler: Scheduler = createScheduler()
  readonly #contacts = new Map<number, Contact>()
  readonly #starting = new Set<string>()
  readonly #opening = new Set<number>()
  #rosterIndex = 0
  #deciding = false
  #again = false
  #wake: { cancel(): void } | undefined
  #changing = false

  constructor(context: NodeContext, replica: Replica, term: number, signal: AbortSignal) {
    this.#context = context
    this.#replica = replica
    this.#term = term
    this.#signal = signal
  }

  /** Takes up the duties: nothing is started, stopped or moved by the change of leader itself. */
  start(): void {
    const { clock } = this.#context.parts
    const { timing } = this.#context.options
    this.#scheduler.reset(this.#replica.tables)
    this.#rosterIndex = this.#replica.applied.index
    const leases = clock.every(timing.leaseRenewMs, () => this.#renewAll())
    const pilot = clock.every(timing.autopilotMs, () => this.#steer())
    this.#signal.addEventListener("abort", () => {
      leases.cancel()
      pilot.cancel()
      this.#wake?.cancel()
    })
    this.#renewAll()
    this.#decide()
  }

  get scheduler(): Scheduler {
    return this.#scheduler
  }

  contacts(): ReadonlyMap<number, Contact> {
    return this.#contacts
  }

  /** ms since the member was heard; 0 for this node. */
  silentMs(id: number): number {
    if (id === this.#replica.memberId) return 0
    const contact = this.#contacts.get(id)
    if (!contact || contact.answered) return 0
    return this.#context.parts.clock.boottime() - contact.heardAt
  }

  onApplied(index: number, applied: Applied): void {
    this.#scheduler.observe(applied.writes)
    for (const event of applied.events) this.#onEvent(event, index)
    this.#decide()
  }

  #onEvent(event: StateEvent, index: number): void {
    switch (event.type) {
      case "members-changed":
        this.#rosterIndex = index
        this.#renewAll()
        return
      case "session-changed":
        this.#opening.delete(event.node)
        this.#renew(event.node)
        return
      case "attempt-assigned":
        this.#startAttempt(event.task)
        return
      case "task-stopping":
        this.#stopAttempt(event.task, event.reason)
        return
      case "run-changed":
      case "dissolved":
        return
      default:
        unknownEvent(event)
    }
  }

  /** Results of attempts, from their nodes; a stale one is settled too: it must not be sent for ever. */
  async report(request: Extract<JobRequest, { type: "report" }>): Promise<readonly number[]> {
    if (request.items.length === 0) return []
    await this.#replica.propose({ type: "report", items: request.items })
    return request.items.map((item) => item.fence)
  }

  // ---------------------------------------------------------------- leases and sessions

  #renewAll(): void {
    for (const member of readMembers(this.#replica.tables)) this.#renew(member.id)
  }

  #contact(id: number): Contact {
    const known = this.#contacts.get(id)
    if (known) return known
    const now = this.#context.parts.clock.boottime()
    const contact: Contact = {
      heardAt: now,
      steadySince: now,
      answered: false,
      asking: false,
      rosterSent: -1,
      running: 0,
    }
    this.#contacts.set(id, contact)
    return contact
  }

  #renew(id: number): void {
    const member = readMembers(this.#replica.tables).find((one) => one.id === id)
    if (!member || this.#signal.aborted) return
    const contact = this.#contact(id)
    if (contact.asking) return
    contact.asking = true
    void this.#askLease(member, contact).finally(() => {
      contact.asking = false
    })
  }

  async #askLease(member: Member, contact: Contact): Promise<void> {
    const { parts, options } = this.#context
    const { clock, mesh } = parts
    const session = readSession(this.#replica.tables, member.id)
    const rosterIndex = this.#rosterIndex
    const signal = AbortSignal.any([
      this.#signal,
      clock.timeoutSignal(options.timing.leaseRenewMs * 2, "a lease"),
    ])
    try {
      const answer = await this.#context.job(
        member,
        {
          type: "lease",
          clusterId: this.#context.identity()!.clusterId,
          term: this.#term,
          leader: this.#replica.memberId,
          leaderPeer: { peerId: mesh.peerId, addresses: [...mesh.addresses()] },
          lease: session?.state === "up" ? session.lease : 0,
          ttlMs: options.timing.leaseMs,
          rosterIndex,
          ...(contact.rosterSent < rosterIndex && { members: readMembers(this.#replica.tables) }),
        },
        { signal },
      )
      if (answer.type !== "lease") return
      this.#heard(contact)
      contact.rosterSent = rosterIndex
      contact.running = answer.attempts.filter((one) => one.state !== "ended").length
      if (session?.state !== "up" || session.boot !== answer.boot) {
        this.#openSession(member.id, answer.boot)
        return
      }
      this.#reconcile(member, answer.attempts)
    } catch (error) {
      if (this.#signal.aborted) return
      this.#unheard(member, contact, error)
    }
  }

  #heard(contact: Contact): void {
    const now = this.#context.parts.clock.boottime()
    contact.heardAt = now
    if (contact.answered) return
    contact.steadySince = now
    contact.answered = true
    this.#decide()
  }

  #unheard(member: Member, contact: Contact, error: unknown): void {
    const { clock, logger } = this.#context.parts
    contact.answered = false
    const silent = clock.boottime() - contact.heardAt
    logger.debug("a member does not answer", { member: member.name, silent, error: String(error) })
    if (silent < this.#context.options.timing.sessionMs) return
    const session = readSession(this.#replica.tables, member.id)
    if (session?.state !== "up" || this.#opening.has(member.id)) return
    logger.warn("a member is silent; its session is lost", {
      member: member.name,
      silentMs: silent,
    })
    this.#propose({
      type: "session",
      items: [{ node: member.id, boot: session.boot, state: "lost" }],
    })
  }

  #openSession(node: number, boot: string): void {
    if (this.#opening.has(node)) return
    this.#opening.add(node)
    this.#replica
      .propose({ type: "session", items: [{ node, boot, state: "up" }] })
      .catch((error: unknown) => {
        this.#opening.delete(node)
        this.#logLost(error)
      })
  }

  // ---------------------------------------------------------------- starts and stops

  /** What a node holds against what the tables want of it: lost orders are sent again, leftovers stopped, results let go. */
  #reconcile(member: Member, held: readonly AttemptSummary[]): void {
    const seen = new Set<string>()
    const forget: { run: string; task: string; fence: number }[] = []
    for (const attempt of held) {
      seen.add(`${attempt.run}/${attempt.task}/${attempt.fence}`)
      const ref = { run: attempt.run, ...parseTaskName(attempt.task) }
      const task = readTask(this.#replica.tables, ref)
      const live = task && liveAttempt(task)
      const current = live?.fence === attempt.fence && task?.state !== "finished"
      if (current) {
        if (task?.state === "stopping") this.#stopAttempt(ref, "stopping")
        continue
      }
      if (attempt.state !== "ended") {
        this.#sendStop(member, attempt, { graceMs: 5000, reason: "superseded, or its run is over" })
      } else if (this.#mayForget(attempt.run, live?.fence === attempt.fence)) {
        forget.push({ run: attempt.run, task: attempt.task, fence: attempt.fence })
      }
    }
    if (forget.length > 0) this.#sendForget(member, forget)
    for (const ref of this.#scheduler.attemptsOn(member.id)) {
      const task = readTask(this.#replica.tables, ref)
      const live = task && liveAttempt(task)
      if (
        !task ||
        !live ||
        live.state === "ended" ||
        seen.has(`${ref.run}/${task.name}/${live.fence}`)
      ) {
        continue
      }
      this.#startAttempt(ref)
    }
  }

  /** Output files are kept until the run is finished: collect reads them. */
  #mayForget(run: string, current: boolean): boolean {
    const state = this.#scheduler.runState(run)
    return state === undefined || state === "finished" || !current
  }

  #startAttempt(ref: TaskRef): void {
    const task = readTask(this.#replica.tables, ref)
    const attempt = task && liveAttempt(task)
    if (!task || !attempt || attempt.state !== "assigned") return
    const key = `${ref.run}/${task.name}/${attempt.fence}`
    if (this.#starting.has(key)) return
    this.#starting.add(key)
    void this.#sendStart(task).finally(() => this.#starting.delete(key))
  }

  async #sendStart(task: Task): Promise<void> {
    const attempt = liveAttempt(task)!
    const { tables } = this.#replica
    const member = readMembers(tables).find((one) => one.id === attempt.node)
    const session = readSession(tables, attempt.node)
    if (!member || session?.state !== "up") return
    const order = startOrder(tables, task)
    if ("problem" in order) {
      this.#failToStart(task, order.problem)
      return
    }
    const { clock, logger } = this.#context.parts
    const signal = AbortSignal.any([this.#signal, clock.timeoutSignal(600_000, "a start")])
    const request: JobRequest = {
      type: "start",
      clusterId: this.#context.identity()!.clusterId,
      term: this.#term,
      lease: session.lease,
      fence: attempt.fence,
      run: task.run,
      task: task.name,
      attempt: attempt.n,
      launch: order,
    }
    try {
      const answer = await this.#context.job(member, request, { signal })
      if (answer.type === "refused") {
        logger.info("a start was refused", {
          node: member.name,
          task: task.name,
          reason: answer.reason,
        })
      }
    } catch (error) {
      // Sent again after the next lease that the node answers.
      if (!this.#signal.aborted)
        logger.info("a start was not heard", { node: member.name, error: String(error) })
    }
  }

  #failToStart(task: Task, reason: string): void {
    const attempt = liveAttempt(task)!
    const at = this.#context.parts.clock.now()
    this.#propose({
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

  #stopAttempt(ref: TaskRef, reason: string): void {
    const { tables } = this.#replica
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
    attempts: readonly { run: string; task: string; fence: number }[],
  ): void {
    this.#send(member, { type: "forget", ...this.#order(), attempts, files: true })
  }

  #order(): { clusterId: string; term: number } {
    return { clusterId: this.#context.identity()!.clusterId, term: this.#term }
  }

  /** Orders that are sent again by the next lease when they are lost. */
  #send(member: PeerRef, request: JobRequest): void {
    const { clock, logger } = this.#context.parts
    const signal = AbortSignal.any([
      this.#signal,
      clock.timeoutSignal(this.#context.options.timing.requestMs, "an order"),
    ])
    this.#context.job(member, request, { signal }).catch((error: unknown) => {
      if (!this.#signal.aborted) logger.debug("an order was not heard", { error: String(error) })
    })
  }

  // ---------------------------------------------------------------- deciding

  #decide(): void {
    if (this.#signal.aborted) return
    if (this.#deciding) {
      this.#again = true
      return
    }
    this.#deciding = true
    queueMicrotask(() => void this.#decideOnce())
  }

  async #decideOnce(): Promise<void> {
    this.#wake?.cancel()
    const { clock, hold } = this.#context.parts
    const now = clock.now()
    const commands = this.#signal.aborted
      ? []
      : this.#scheduler.decide({
          now,
          budget: decideBudget,
          ...this.placing(),
          ...(hold && { hold }),
        })
    const proposals = commands.map((command) => this.#replica.propose(command))
    for (const result of await Promise.allSettled(proposals)) {
      if (result.status === "rejected") this.#logLost(result.reason)
    }
    this.#deciding = false
    if (this.#signal.aborted) return
    if (this.#again) {
      this.#again = false
      this.#decide()
      return
    }
    // A held phase is looked at again soon; otherwise the scheduler knows when something is due.
    const next = hold ? now + 20 : this.#scheduler.nextWake(now)
    const wait = Math.min(schedulerWakeMaxMs, Math.max(1, (next ?? Number.POSITIVE_INFINITY) - now))
    this.#wake = clock.after(wait, () => this.#decide())
  }

  /** What placements depend on besides the rows. */
  placing(): PlacementInput {
    const silent = new Set(
      readMembers(this.#replica.tables)
        .map((member) => member.id)
        .filter((id) => id !== this.#replica.memberId && !this.#contacts.get(id)?.answered),
    )
    return { avoid: this.#replica.memberId, silent, addressOf: (id) => this.addressOf(id) }
  }

  /** The host of a member as its peers dial it: what `${roles.x.address}` becomes. */
  addressOf(id: number): string {
    const member = readMembers(this.#replica.tables).find((one) => one.id === id)
    for (const address of member?.addresses ?? []) {
      const [, family, host] = address.split("/")
      if ((family === "ip4" || family === "ip6") && host) return host
    }
    return "127.0.0.1"
  }

  // ---------------------------------------------------------------- voters

  #steer(): void {
    if (this.#changing || this.#signal.aborted) return
    const { clock, logger } = this.#context.parts
    const input = {
      now: clock.boottime(),
      self: this.#replica.memberId,
      timing: this.#context.options.timing,
      members: readMembers(this.#replica.tables),
      contacts: this.#contacts,
      status: this.#replica.status(),
    }
    const change = planVoters(input)
    if (!change) {
      this.#removeGhosts(findGhosts(input))
      return
    }
    logger.info("the configuration changes", { reason: change.reason })
    this.#changing = true
    const { confChange, command } = change
    if (this.#replica.proposeConfChange(confChange, command) === "dropped") {
      logger.debug("a configuration change was dropped", {})
    }
    // One change at a time: the next look comes after this one was applied or given up.
    clock.after(this.#context.options.timing.autopilotMs, () => {
      this.#changing = false
    })
  }

  /** Members that were wiped and came back as others: gone once nothing of theirs is waited for. */
  #removeGhosts(ghosts: readonly number[]): void {
    const { tables } = this.#replica
    const free = ghosts.filter(
      (id) =>
        readSession(tables, id)?.state !== "up" && this.#scheduler.attemptsOn(id).length === 0,
    )
    for (const id of free) this.#contacts.delete(id)
    if (free.length > 0) this.#propose({ type: "remove", items: free.map((id) => ({ id })) })
  }

  #propose(command: Command): void {
    this.#replica.propose(command).catch((error: unknown) => this.#logLost(error))
  }

  #logLost(error: unknown): void {
    if (this.#signal.aborted) return
    this.#context.parts.logger.info("a proposal was lost", { error: String(error) })
  }
}

function unknownEvent(event: never): never {
  throw new Error(`unknown state event ${JSON.stringify(event)}`)
}

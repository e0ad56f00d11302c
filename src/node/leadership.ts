/** Leader duties of one term, begun together and ended by the term's signal; and what the scheduler decides. */
import {
  createScheduler,
  type LossPatience,
  type PlacementInput,
  type Scheduler,
} from "../scheduler/index.ts"
import { TroupeError } from "../schema/index.ts"
import { type Applied, readMember, readMembers, readTask, type StateEvent } from "../state/index.ts"
import type { JobRequest } from "../wire/index.ts"
import { Checkpoints } from "./checkpoints.ts"
import type { NodeContext } from "./context.ts"
import { Dispatch } from "./dispatch.ts"
import { type Duty, noteLost } from "./duty.ts"
import { liveAttempt } from "./launch.ts"
import { type Contact, Leases } from "./leases.ts"
import type { Replica } from "./replica.ts"
import { Retaining } from "./retaining.ts"
import { Steering } from "./steering.ts"

const decideBudget = 256
const schedulerWakeMaxMs = 1000
/** The keeper looks four times a second, and gives a second between TERM and KILL; the rest is for a busy machine. */
const killMarginMs = 2500

export class Leadership {
  readonly #duty: Duty
  readonly #scheduler: Scheduler
  readonly #leases: Leases
  readonly #dispatch: Dispatch
  readonly #steering: Steering
  readonly #retaining: Retaining
  readonly #checkpoints: Checkpoints
  #deciding = false
  #unsure = false
  #again = false
  #wake: { cancel(): void } | undefined

  constructor(context: NodeContext, replica: Replica, term: number, signal: AbortSignal) {
    this.#duty = { context, replica, term, signal }
    this.#scheduler = createScheduler(patienceWith(context, replica.pace.electionMs))
    this.#dispatch = new Dispatch(this.#duty, this.#scheduler)
    this.#leases = new Leases(this.#duty, {
      held: (member, attempts) => this.#dispatch.reconcile(member, attempts),
      changed: () => this.#decide(),
      // One that was declared dead though it answers is alive again when what it ran has been given up.
      mayReturn: ({ id, dead }) =>
        dead === undefined || this.#scheduler.attemptsOn(id).length === 0,
      isSure: () => !this.#unsure,
    })
    this.#steering = new Steering(this.#duty, this.#leases, this.#scheduler)
    this.#retaining = new Retaining(this.#duty)
    this.#checkpoints = new Checkpoints(this.#duty)
  }

  /** Takes up the duties: nothing is started, stopped or moved by the change of leader itself. */
  start(): void {
    this.#scheduler.reset(this.#duty.replica.tables)
    this.#duty.signal.addEventListener("abort", () => this.#wake?.cancel())
    this.#leases.start()
    this.#steering.start()
    this.#retaining.start()
    this.#checkpoints.start()
    this.#decide()
  }

  get scheduler(): Scheduler {
    return this.#scheduler
  }

  disconnected(peerId: string): void {
    this.#leases.disconnected(peerId)
  }

  contacts(): ReadonlyMap<number, Contact> {
    return this.#leases.contacts
  }

  /** ms since the member was heard; 0 for this node. */
  silentMs(id: number): number {
    return this.#leases.silentMs(id)
  }

  /** How many attempts are in which state, of those that have not ended. */
  liveAttempts(): ReadonlyMap<string, number> {
    const { tables } = this.#duty.replica
    const counts = new Map<string, number>()
    for (const { id } of readMembers(tables)) {
      for (const ref of this.#scheduler.attemptsOn(id)) {
        const task = readTask(tables, ref)
        const state = task && liveAttempt(task)?.state
        if (state !== undefined) counts.set(state, (counts.get(state) ?? 0) + 1)
      }
    }
    return counts
  }

  /** What its duties have to say, for `cluster health`. */
  notes(): readonly string[] {
    return [...this.#retaining.notes(), ...this.#checkpoints.notes()]
  }

  /** Takes a member out of the cluster; answers why not, if it cannot. */
  retire(id: number, replacementMs: number): string | undefined {
    return this.#steering.retire(id, replacementMs)
  }

  /** After a standstill others may lead: nothing is decided before most voters have confirmed this one (C-45). */
  woke(gapMs: number): void {
    this.#leases.woke(gapMs)
    this.#unsure = true
    void this.#confirm()
  }

  async #confirm(): Promise<void> {
    const { replica, signal } = this.#duty
    try {
      await replica.readBarrier(signal)
    } catch (error) {
      // Deposed, or it stood still again: then the next round is under way.
      this.#duty.context.parts.logger.debug("not confirmed yet", { error: String(error) })
      return
    }
    this.#unsure = false
    this.#leases.renewAll()
    this.#decide()
  }

  onApplied(index: number, applied: Applied): void {
    this.#scheduler.observe(applied.writes)
    for (const event of applied.events) this.#onEvent(event, index)
    this.#decide()
  }

  #onEvent(event: StateEvent, index: number): void {
    switch (event.type) {
      case "members-changed":
        this.#leases.rosterChanged(index)
        return
      case "session-changed":
        this.#leases.sessionChanged(event.node)
        return
      case "attempt-assigned":
        this.#dispatch.startAttempt(event.task)
        return
      case "task-stopping":
        this.#dispatch.stopAttempt(event.task, event.reason)
        return
      case "run-changed":
      case "dissolved":
      case "measure":
      case "checkpoint":
        return
      default:
        unknownEvent(event)
    }
  }

  /** Results of attempts, from their nodes; a stale one is settled too: it must not be sent for ever. */
  async report(request: Extract<JobRequest, { type: "report" }>): Promise<readonly number[]> {
    if (request.items.length === 0) return []
    // Runs and fences of another cluster may have the same numbers.
    if (request.clusterId !== this.#duty.context.identity()?.clusterId) {
      const what = "a report of attempts of another cluster"
      throw new TroupeError("ERR_FORBIDDEN", what, { what })
    }
    await this.#duty.replica.propose({ type: "report", items: request.items })
    return request.items.map((item) => item.fence)
  }

  // ---------------------------------------------------------------- deciding

  #decide(): void {
    if (this.#duty.signal.aborted) return
    if (this.#deciding) {
      this.#again = true
      return
    }
    this.#deciding = true
    queueMicrotask(() => void this.#decideOnce())
  }

  async #decideOnce(): Promise<void> {
    this.#wake?.cancel()
    const { clock, hold } = this.#duty.context.parts
    const now = clock.now()
    const isIdle = this.#duty.signal.aborted || this.#unsure
    const commands = isIdle
      ? []
      : this.#scheduler.decide({
          now,
          budget: decideBudget,
          ...this.placing(),
          ...(hold && { hold }),
        })
    const proposals = commands.map((command) => this.#duty.replica.propose(command))
    for (const result of await Promise.allSettled(proposals)) {
      if (result.status === "rejected") noteLost(this.#duty, result.reason)
    }
    for (const command of commands) {
      if (command.type === "assign") this.#scheduler.settle(command.items)
    }
    this.#deciding = false
    if (this.#duty.signal.aborted) return
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
    const { replica } = this.#duty
    const { retiring } = this.#steering
    const isAway = (id: number): boolean =>
      retiring.has(id) || (id !== replica.memberId && !this.#leases.contacts.get(id)?.answered)
    const ids = readMembers(replica.tables).map((member) => member.id)
    const silent = new Set(ids.filter(isAway))
    return {
      avoid: this.#duty.replica.memberId,
      silent,
      full: this.#leases.full(),
      addressOf: (id) => this.addressOf(id),
    }
  }

  /** The host of a member as its peers dial it: what `${roles.x.address}` becomes. */
  addressOf(id: number): string {
    const member = readMember(this.#duty.replica.tables, id)
    for (const address of member?.addresses ?? []) {
      const [, family, host] = address.split("/")
      if ((family === "ip4" || family === "ip6") && host) return host
    }
    return "127.0.0.1"
  }
}

/**
 * A node that hears nobody ends what may be moved when its last lease is over; it may have got that from the leader before
 * this one, which led on for an election's time at most without knowing better. Then the node needs a moment to kill.
 */
function patienceWith({ options }: NodeContext, electionMs: number): LossPatience {
  const { leaseMs, sessionMs } = options.timing
  return { leaseMs, requeueMs: leaseMs + electionMs + killMarginMs - sessionMs }
}

function unknownEvent(event: never): never {
  throw new Error(`unknown state event ${JSON.stringify(event)}`)
}

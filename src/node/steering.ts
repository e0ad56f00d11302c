/** The leader's hand on the roster: voters as the autopilot plans them, members taken out, ghosts cleared away. */
import { knownVersions } from "../schema/index.ts"
import type { Scheduler } from "../scheduler/index.ts"
import { activeVersion, readMembers, readSession } from "../state/index.ts"
import { findGhosts, planHandover, planVoters } from "./autopilot.ts"
import { removedReason } from "./cluster-operations.ts"
import { type Duty, proposeAndWait, proposeSoftly } from "./duty.ts"
import type { Leases } from "./leases.ts"
import { planRaise } from "./raising.ts"
import { type AutopilotInput, countedIn } from "./voter-view.ts"

export class Steering {
  readonly #duty: Duty
  readonly #leases: Leases
  readonly #scheduler: Scheduler
  /** Taken out by hand: until when (boot-time clock) a standby may take the place. */
  readonly #retiring = new Map<number, number>()
  #changing = false

  constructor(duty: Duty, leases: Leases, scheduler: Scheduler) {
    this.#duty = duty
    this.#leases = leases
    this.#scheduler = scheduler
  }

  start(): void {
    const { parts, options } = this.#duty.context
    const timer = parts.clock.every(options.timing.autopilotMs, () => this.step())
    this.#duty.signal.addEventListener("abort", () => timer.cancel())
  }

  /** Members that get nothing new. */
  get retiring(): ReadonlySet<number> {
    return new Set(this.#retiring.keys())
  }

  /** Takes a member out, step by step; answers why not, if it cannot. */
  retire(id: number, replacementMs: number): string | undefined {
    const { replica, context } = this.#duty
    const { voters } = replica.status().confState
    if (voters.length === 1 && voters[0] === id) {
      return "the only voter cannot be removed: start more nodes first"
    }
    if (!this.#retiring.has(id)) {
      this.#retiring.set(id, context.parts.clock.boottime() + replacementMs)
    }
    this.step()
    return undefined
  }

  /** Who is drained, or says that its disk is full. */
  #loaded(): ReadonlySet<number> {
    const full = this.#leases.full()
    const members = readMembers(this.#duty.replica.tables)
    const drained = members.filter(({ cordon }) => cordon?.mode === "drain")
    return new Set([...full.keys(), ...drained.map(({ id }) => id)])
  }

  /** One change at a time. */
  step(): void {
    if (this.#changing || this.#duty.signal.aborted) return
    const { context, replica } = this.#duty
    const { clock, logger } = context.parts
    const input: AutopilotInput = {
      now: clock.boottime(),
      self: replica.memberId,
      timing: context.options.timing,
      members: readMembers(replica.tables),
      contacts: this.#leases.contacts,
      status: replica.status(),
      retiring: this.#retiring,
      loaded: this.#loaded(),
      version: activeVersion(replica.tables),
    }
    this.#expel(input)
    const change = planVoters(input)
    if (!change) {
      const own = context.options.versions ?? knownVersions
      const { confState } = input.status
      const version = planRaise(replica.tables, { own, confState })
      if (version !== undefined) {
        void this.#raise(version)
        return
      }
      this.#removeGhosts(findGhosts(input))
      this.#handOver(planHandover(input))
      return
    }
    logger.info("the configuration changes", { reason: change.reason })
    const { confChange, command } = change
    if (replica.proposeConfChange(confChange, command) === "dropped") {
      logger.debug("a configuration change was dropped", {})
    }
    this.#pause()
  }

  /** The next look comes after a change was applied or given up. */
  #pause(): void {
    const { clock } = this.#duty.context.parts
    this.#changing = true
    clock.after(this.#duty.context.options.timing.autopilotMs, () => {
      this.#changing = false
    })
  }

  /** No configuration change meanwhile: nobody becomes a voter who would not understand what follows. */
  async #raise(version: number): Promise<void> {
    const { logger } = this.#duty.context.parts
    this.#changing = true
    try {
      logger.info("the cluster's version is raised", { version })
      const outcome = await proposeAndWait(this.#duty, { type: "raise", items: [{ version }] })
      const result = outcome?.results[0]
      if (result?.ok === false) logger.info("the version stays", { reason: result.detail })
    } finally {
      this.#pause()
    }
  }

  #handOver(to: number | undefined): void {
    if (to === undefined) return
    this.#duty.context.parts.logger.info("this node should not lead: it hands over", { to })
    this.#duty.replica.transferLeadership(to)
    this.#pause()
  }

  /** Who is out of the configuration goes out of the roster. */
  #expel(input: AutopilotInput): void {
    const counted = countedIn(input.status.confState)
    for (const id of this.#retiring.keys()) {
      const member = input.members.find((one) => one.id === id)
      if (!member) {
        this.#retiring.delete(id)
        this.#leases.forget(id)
      } else if (!counted.has(id) && member.role === "worker") {
        proposeSoftly(this.#duty, { type: "expel", items: [{ id, reason: removedReason }] })
      }
    }
  }

  /** Members that were wiped and came back as others: gone once nothing of theirs is waited for. */
  #removeGhosts(ghosts: readonly number[]): void {
    const { tables } = this.#duty.replica
    const free = ghosts.filter(
      (id) =>
        readSession(tables, id)?.state !== "up" && this.#scheduler.attemptsOn(id).length === 0,
    )
    for (const id of free) this.#leases.forget(id)
    if (free.length === 0) return
    proposeSoftly(this.#duty, { type: "remove", items: free.map((id) => ({ id })) })
  }
}

/** Users of the simulated engine: each submits a plan at some node until it is acknowledged, and some change their mind. */
import { isTroupeError, type Plan } from "../../../src/schema/index.ts"
import { until } from "../../../src/platform/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Machine } from "../cluster/machine.ts"
import type { World } from "../cluster/world.ts"

export interface Submission {
  readonly plan: Plan
  readonly key: string
  /** Once acknowledged. */
  run: string | undefined
  isCancelled: boolean
}

const askMs = 12_000
/** What may pass, or be a consequence of a fault: asked again. */
const passing = new Set([
  "ERR_NO_LEADER",
  "ERR_NOT_LEADER",
  "ERR_UNKNOWN_OUTCOME",
  "ERR_PEER_UNREACHABLE",
  "ERR_TIMEOUT",
  "ERR_STOPPED",
  "ERR_FORBIDDEN",
  "ERR_UNSUPPORTED",
  "ERR_STORAGE",
])

export class Users {
  readonly #world: World
  readonly #random: SeededRandom
  readonly submissions: Submission[] = []
  #open = 0

  constructor(world: World) {
    this.#world = world
    this.#random = world.random.fork()
  }

  /** Everybody has an answer. */
  get areServed(): boolean {
    return this.#open === 0
  }

  submit(plan: Plan): void {
    const key = `key-${plan.label}`
    const submission: Submission = { plan, key, run: undefined, isCancelled: false }
    this.submissions.push(submission)
    this.#during(this.#insist(submission))
  }

  /** Until it is done; nobody waits for it but `areServed`. */
  #during(work: Promise<void>): void {
    this.#open++
    work
      .catch((error: unknown) => this.#world.fail(error as Error))
      .finally(() => {
        this.#open--
      })
  }

  async #insist(submission: Submission): Promise<void> {
    const { plan, key } = submission
    submission.run = await this.#ask(`submitting ${plan.label}`, async (machine, signal) => {
      const { id } = await machine.submitPlan(plan, { key, signal })
      return id
    })
    this.#world.note(`${plan.label} was accepted as ${submission.run}`)
    const services = plan.groups.some(({ life }) => life === "service")
    if (!services && !this.#random.chance(0.2)) return
    await this.#world.clock.sleep(this.#random.between(0, 30_000))
    submission.isCancelled = true
    const run = submission.run
    await this.#ask(`cancelling ${run}`, async (machine, signal) => {
      const { node } = machine
      if (!node) throw new Error("it does not run")
      return await node.cancelRun(run, "a user's wish", { principal: "anonymous" }, { signal })
    })
    this.#world.note(`${run} was cancelled`)
  }

  async #ask<T>(
    what: string,
    call: (machine: Machine, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, machines } = this.#world
    for (;;) {
      const up = machines.filter(({ node, isAsleep }) => node && !isAsleep)
      const machine = up.length > 0 ? this.#random.pick(up) : undefined
      if (machine) {
        const signal = clock.timeoutSignal(askMs, what)
        try {
          return await until(call(machine, signal), signal)
        } catch (error) {
          if (!isTroupeError(error) || !passing.has(error.code)) throw error
          this.#world.note(`${machine.name} did not answer ${what}: ${error.code}`)
        }
      }
      await clock.sleep(this.#random.between(50, 1000))
    }
  }
}

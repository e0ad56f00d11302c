/** Starts on their way to the nodes: what is assigned in one turn goes to a node together. */
import { type Member, understands, versionsOf } from "../schema/index.ts"
import { type JobRequest, type OneStart, startItemsMax } from "../wire/index.ts"
import type { Duty } from "./duty.ts"
import { attemptKey, type StartOrder } from "./orders.ts"

export interface Start {
  readonly member: Member
  readonly lease: number
  readonly start: OneStart & { readonly launch: StartOrder }
}

/** Members from before this state version know only single starts. */
const sinceVersion = 3
/** Files may take this long to come. */
const limitMs = 600_000
const smallBytes = 16 * 1024

export class Starts {
  readonly #duty: Duty
  readonly #underWay = new Set<string>()
  /** By member and lease. */
  readonly #waiting = new Map<string, Start[]>()

  constructor(duty: Duty) {
    this.#duty = duty
  }

  isUnderWay(start: Omit<OneStart, "launch">): boolean {
    return this.#underWay.has(attemptKey(start))
  }

  add(start: Start): void {
    this.#underWay.add(attemptKey(start.start))
    if (!isShared(start)) {
      void this.#send([start])
      return
    }
    if (this.#waiting.size === 0) queueMicrotask(() => this.#flush())
    const key = `${start.member.id}/${start.lease}`
    const waiting = this.#waiting.get(key)
    if (waiting) waiting.push(start)
    else this.#waiting.set(key, [start])
  }

  #flush(): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const starts of all) {
      for (let at = 0; at < starts.length; at += startItemsMax) {
        void this.#send(starts.slice(at, at + startItemsMax))
      }
    }
  }

  async #send(starts: readonly Start[]): Promise<void> {
    const { context, signal: over } = this.#duty
    const { clock, logger } = context.parts
    const [{ member }] = starts as readonly [Start]
    const signal = AbortSignal.any([over, clock.timeoutSignal(limitMs, "a start")])
    const refused = (place: number, reason: string): void => {
      const { task } = starts[place]!.start
      logger.info("a start was refused", { node: member.name, task, reason })
    }
    try {
      const answer = await context.job(member, this.#request(starts), { signal })
      if (answer.type === "refused") refused(0, answer.reason)
      if (answer.type === "starts") for (const one of answer.refused) refused(one.place, one.reason)
    } catch (error) {
      // Sent again after the next lease that the node answers.
      if (!over.aborted) {
        logger.info("a start was not heard", { node: member.name, error: String(error) })
      }
    } finally {
      for (const { start } of starts) this.#underWay.delete(attemptKey(start))
    }
  }

  #request(starts: readonly Start[]): JobRequest {
    const [{ lease, start }] = starts as readonly [Start]
    const shared = {
      clusterId: this.#duty.context.identity()!.clusterId,
      term: this.#duty.term,
      lease,
    }
    if (starts.length === 1) return { type: "start", ...shared, ...start }
    return { type: "starts", ...shared, starts: starts.map((one) => one.start) }
  }
}

/** Files may take minutes, and nobody waits for another one's. */
function isShared({ member, start }: Start): boolean {
  const { launch } = start
  if (launch.driver !== "process" || launch.files.length > 0) return false
  const words = [...launch.argv, ...Object.values(launch.env)]
  const isSmall = words.reduce((sum, word) => sum + word.length, 0) < smallBytes
  return isSmall && understands(versionsOf(member), sinceVersion)
}

/** Comparing the voters' tables (C-29): each measures at the same entry, the leader asks all, and what most of them
 *  have goes into the log. Who has something else puts its tables aside; a leader that does leads no longer. */
import { activeVersion, readMember } from "../state/index.ts"
import { type Duty, inRounds, proposeAndWait } from "./duty.ts"

const firstVersion = 2
const askMs = 5000

export class Checkpoints {
  readonly #duty: Duty
  /** Applied index of the last comparison. */
  #last: number
  #note: string | undefined

  constructor(duty: Duty) {
    this.#duty = duty
    this.#last = duty.replica.applied.index
  }

  start(): void {
    const { checkpointMs } = this.#duty.context.options.timing
    inRounds(this.#duty, checkpointMs, async () => await this.#round())
  }

  notes(): readonly string[] {
    return this.#note === undefined ? [] : [this.#note]
  }

  async #round(): Promise<void> {
    const { replica } = this.#duty
    const { voters, votersOutgoing } = replica.status().confState
    if (replica.applied.index <= this.#last) return
    // Nobody to compare with, or nobody who could say who is right.
    if (voters.length < 3 || votersOutgoing.length > 0) return
    if (activeVersion(replica.tables) < firstVersion) return
    await this.#compare(voters)
  }

  async #compare(voters: readonly number[]): Promise<void> {
    const measured = await proposeAndWait(this.#duty, {
      type: "checkpoint",
      items: [{ kind: "measure" }],
    })
    if (measured === undefined) return
    const { index } = measured
    const answers = await this.#ask(voters, index)
    const own = answers.get(this.#duty.replica.memberId)
    const agreed = majorityOf(answers, voters.length)
    const { logger } = this.#duty.context.parts
    this.#note = undefined
    if (agreed === undefined) {
      const hashes = new Set(answers.values())
      // Too few answered: nothing is known.
      if (hashes.size < 2) return
      this.#note = "the voters' tables differ, and no majority has the same: see their logs"
      logger.error("the voters' tables differ; no majority agrees", { index, hashes: [...hashes] })
      return
    }
    if (own !== undefined && own !== agreed.hash) {
      logger.error("this leader's tables differ from most voters'; another must lead", { index })
      const heir = agreed.members.find((id) => id !== this.#duty.replica.memberId)
      this.#duty.replica.transferLeadership(heir!)
      return
    }
    const outcome = await proposeAndWait(this.#duty, {
      type: "checkpoint",
      items: [{ kind: "agreed", index, hash: agreed.hash }],
    })
    if (outcome) this.#last = outcome.index
  }

  async #ask(voters: readonly number[], index: number): Promise<ReadonlyMap<number, string>> {
    const { context, replica } = this.#duty
    const answers = new Map<number, string>()
    const signal = AbortSignal.any([
      this.#duty.signal,
      context.parts.clock.timeoutSignal(askMs, "comparing tables"),
    ])
    const asked = voters.map(async (id) => {
      const member = readMember(replica.tables, id)
      const hash =
        id === replica.memberId
          ? await replica.hashAt(index, signal)
          : member && (await context.callPeer(member, "stateHash", { index }, { signal }))
      if (typeof hash === "string") answers.set(id, hash)
    })
    await Promise.allSettled(asked)
    return answers
  }
}

/** The hash that more than half of all voters have, and who has it. */
function majorityOf(
  answers: ReadonlyMap<number, string>,
  voters: number,
): { readonly hash: string; readonly members: readonly number[] } | undefined {
  const members = new Map<string, number[]>()
  for (const [id, hash] of answers) members.set(hash, [...(members.get(hash) ?? []), id])
  for (const [hash, ids] of members) if (ids.length > voters / 2) return { hash, members: ids }
  return undefined
}

/** What the duties of one leadership share, and how they propose. Everything ends with the term's signal. */
import { isTroupeError } from "../schema/index.ts"
import type { Command } from "../state/index.ts"
import type { NodeContext } from "./context.ts"
import type { Replica } from "./replica.ts"
import type { ProposalOutcome } from "./replica-proposals.ts"

export interface Duty {
  readonly context: NodeContext
  readonly replica: Replica
  readonly term: number
  readonly signal: AbortSignal
}

/** Proposes and forgets: what is lost is decided again from the rows. */
export function proposeSoftly(duty: Duty, command: Command): void {
  duty.replica.propose(command).catch((error: unknown) => noteLost(duty, error))
}

/** undefined when it was lost; then the caller looks at the rows again later. */
export async function proposeAndWait(
  duty: Duty,
  command: Command,
): Promise<ProposalOutcome | undefined> {
  try {
    return await duty.replica.propose(command)
  } catch (error) {
    if (!isTroupeError(error)) throw error
    noteLost(duty, error)
    return undefined
  }
}

/** A round every so often until the term is over, never two at once; what is lost is found again in a later one. */
export function inRounds(duty: Duty, everyMs: number, round: () => Promise<void>): void {
  let isWorking = false
  const begin = async (): Promise<void> => {
    if (isWorking || duty.signal.aborted) return
    isWorking = true
    try {
      await round()
    } finally {
      isWorking = false
    }
  }
  const timer = duty.context.parts.clock.every(everyMs, () => {
    begin().catch((error: unknown) => noteLost(duty, error))
  })
  duty.signal.addEventListener("abort", () => timer.cancel())
}

export function noteLost(duty: Duty, error: unknown): void {
  if (duty.signal.aborted) return
  duty.context.parts.logger.info("a proposal was lost", { error: String(error) })
}

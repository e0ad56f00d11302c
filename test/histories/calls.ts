/** What clients ask of runs and are told: the calls of a history, the same from a simulation and from real nodes. */
import type { HistoryEvent } from "../lincheck/index.ts"
import type { Run, RunView } from "../../src/schema/index.ts"

/** How far a run is; nothing of it ever goes back. */
export interface Sight {
  readonly run: string
  readonly state: Run["state"]
  /** Counted since it was accepted. */
  readonly events: number
  readonly verdict: string | undefined
  /** The reason of the cancellation that took effect. */
  readonly cancelled: string | undefined
}

/** `key` is the client's key and the run's label alike: one object for each. `body` tells requests apart. */
export type RunCall =
  | { readonly op: "submit"; readonly input: { readonly key: string; readonly body: string } }
  | { readonly op: "look"; readonly input: { readonly key: string } }
  /** Reasons are used once, so that what took effect is known by its own. */
  | { readonly op: "cancel"; readonly input: { readonly key: string; readonly reason: string } }

export type RunOutput =
  | { readonly type: "accepted"; readonly run: string; readonly existing: boolean }
  /** The key was used for another body, and made this run. */
  | { readonly type: "conflict"; readonly run: string }
  | { readonly type: "seen"; readonly sight: Sight }
  | { readonly type: "absent" }
  | { readonly type: "cancelling" }

export type RunHistory = readonly HistoryEvent<RunCall, RunOutput>[]

export const ranks: Readonly<Record<Run["state"], number>> = { active: 0, ending: 1, finished: 2 }

export function sightOf(run: Run): Sight {
  return {
    run: run.id,
    state: run.state,
    events: run.events,
    verdict: run.verdict,
    cancelled: run.cancelRequested,
  }
}

/** A page of the list of runs, newest first. */
export interface Page {
  readonly client: string | number
  readonly invokedAt: number
  readonly completedAt: number
  readonly items: readonly (Sight & { readonly key: string })[]
  /** Nothing is older than its last item. */
  readonly isWhole: boolean
}

/** An attempt as some answer showed it. */
export interface AttemptSight {
  readonly run: string
  readonly task: string
  readonly n: number
  readonly fence: number
  readonly node: number
}

export function attemptsOf(view: RunView): AttemptSight[] {
  return view.tasks.flatMap((task) =>
    task.attempts.map(({ n, fence, node }) => ({ run: view.id, task: task.name, n, fence, node })),
  )
}

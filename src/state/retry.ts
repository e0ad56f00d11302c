/** A new run of a finished run's plan: all of it, or only what did not succeed. */
import { notFound, stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import { accept, knownRequest } from "./runs.ts"
import type { ItemResult, RetryItem } from "./types.ts"

/** `item` is its place in the entry: it makes the run's id. Idempotent by key, as a submit. */
export function retry(draft: Draft, asked: RetryItem, item: number): ItemResult {
  const known = knownRequest(draft, asked)
  if (known !== undefined) return known
  const origin = draft.runRow(asked.run)
  if (origin === undefined) return notFound(`no run ${asked.run}`)
  if (origin.state !== "finished") return stale(`run ${asked.run} is ${origin.state}`)
  const plan = { ...asked.plan, origin: { run: origin.id, how: asked.how } }
  return accept(draft, { ...asked, plan, placements: [] }, item)
}

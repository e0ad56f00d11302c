/** What may go, and what may not: pins, and the collection of what a leader names by its id. */
import type { Run } from "../schema/index.ts"
import { notFound, stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import * as keys from "./keys.ts"
import type { CollectItem, ItemResult, TableRows } from "./types.ts"

export function pin(
  draft: Draft,
  item: { readonly run: string; readonly pinned: boolean },
): ItemResult {
  const row = draft.runRow(item.run)
  if (row === undefined) return notFound(`no run ${item.run}`)
  if ((row.pinned ?? false) === item.pinned) return { ok: true, run: row.id, existing: true }
  const { pinned: _, ...rest } = row
  const next: Run = item.pinned ? { ...rest, pinned: true } : rest
  const live = draft.run(item.run)
  if (live === undefined) {
    draft.put(keys.runKey(row.id), next)
    draft.caused.push({ type: "run-changed", run: row.id })
  } else live.replace(next)
  return { ok: true, run: row.id }
}

/** Checked again here: what was pinned or used again since it was proposed stays. */
export function collect(draft: Draft, item: CollectItem): ItemResult {
  switch (item.kind) {
    case "run":
      return collectRun(draft, item.run)
    case "row":
      return collectRow(draft, item)
    case "emptied":
      draft.put(keys.wasteKey(item.run), undefined)
      return { ok: true, run: item.run }
    case "key":
      return collectKey(draft, item)
    default:
      throw new Error(`unknown item ${JSON.stringify(item satisfies never)}`)
  }
}

function collectRun(draft: Draft, id: string): ItemResult {
  const run = draft.runRow(id)
  if (run === undefined) return { ok: true, run: id, existing: true }
  if (run.state !== "finished") return stale(`run ${id} is ${run.state}`)
  if (run.pinned) return stale(`run ${id} is pinned`)
  draft.put(keys.runKey(id), undefined)
  const label = draft.get(keys.labelKey(run.label)) as TableRows["label"] | undefined
  if (label?.run === id) draft.put(keys.labelKey(run.label), undefined)
  draft.put(keys.wasteKey(id), { run: id })
  draft.caused.push({ type: "run-changed", run: id })
  return { ok: true, run: id }
}

/** The row itself may be on disk only, so that it exists is not asked. */
function collectRow(
  draft: Draft,
  { run, key }: { readonly run: string; readonly key: string },
): ItemResult {
  if (draft.get(keys.wasteKey(run)) === undefined) return stale(`run ${run} is not being collected`)
  const isOwn = keys
    .rowPrefixesOf(run)
    .some((prefix) => (prefix.endsWith("/") ? key.startsWith(prefix) : key === prefix))
  if (!isOwn) return { ok: false, code: "invalid", detail: `${key} is no row of ${run}` }
  draft.put(key, undefined)
  return { ok: true, run }
}

function collectKey(
  draft: Draft,
  { key, at }: { readonly key: string; readonly at: number },
): ItemResult {
  if (!key.startsWith(keys.idempotencyPrefix)) {
    return { ok: false, code: "invalid", detail: `${key} is no idempotency key` }
  }
  const row = draft.get(key) as TableRows["key"] | undefined
  if (row === undefined) return { ok: true, existing: true }
  if (row.at !== at) return stale("the key was used again")
  draft.put(key, undefined)
  return { ok: true }
}

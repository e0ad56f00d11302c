/** The hash that most voters had of their rows at one index, kept in the log: who differs is wrong, and learns it. */
import { stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import * as keys from "./keys.ts"
import type { CheckpointItem, ItemResult, TableRows } from "./types.ts"

export function checkpoint(draft: Draft, item: CheckpointItem): ItemResult {
  if (item.kind === "measure") {
    draft.caused.push({ type: "measure" })
    return { ok: true, id: draft.index }
  }
  const { index, hash } = item
  const last = draft.get(keys.checkpointKey) as TableRows["checkpoint"] | undefined
  if (index >= draft.index || index <= (last?.index ?? 0)) {
    return stale(`a checkpoint of ${index} after one of ${last?.index ?? 0}`)
  }
  draft.put(keys.checkpointKey, { index, hash })
  draft.caused.push({ type: "checkpoint", index, hash })
  return { ok: true, id: index }
}

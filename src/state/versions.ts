/** Which version entries and rows have, how it is raised, and what becomes of the rows then. */
import { declarationFrom, type Member, understands, versionsOf } from "../schema/index.ts"
import { stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import * as keys from "./keys.ts"
import { memberRow } from "./members.ts"
import { readCluster, readMembers } from "./read.ts"
import type { ItemResult, View, Write } from "./types.ts"

/** Of the entries that a leader writes and of the rows. */
export function activeVersion(view: View): number {
  return readCluster(view)?.version ?? 1
}

/** From the version before to the one that it is listed under. A migration is part of applying one entry, so it may
 *  only touch tables that stay small; where rows are many, readers must understand both forms. */
const migrations: Readonly<Record<number, (view: View) => readonly Write[]>> = {
  2: membersSayVersions,
  // What is new are optional fields: rows of version 2 are rows of version 3.
  3: () => [],
}

/** The writes that make rows of version `from` rows of version `to`. Pure; throws for a step that there is none for. */
export function migrate(
  view: View,
  { from, to }: { readonly from: number; readonly to: number },
): readonly Write[] {
  if (to !== from + 1) throw new Error(`no migration from version ${from} to ${to}`)
  const step = migrations[to]
  if (step === undefined) throw new Error(`no migration to version ${to}`)
  return step(view)
}

/** What a member understands moves from a label, where version 1 had to put it, to a field. */
function membersSayVersions(view: View): readonly Write[] {
  return readMembers(view).map((member) => ({
    key: keys.memberKey(member.id),
    value: memberRow(member, declarationFrom(member), 2),
  }))
}

/** One step at a time. Checked again here: a member may have become a voter since it was proposed. */
export function raise(draft: Draft, { version }: { readonly version: number }): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (version <= draft.version) return { ok: true, existing: true }
  if (version !== draft.version + 1) return stale(`version ${draft.version + 1} comes first`)
  const behind = draft
    .members()
    .find((member) => member.role !== "worker" && !understands(versionsOf(member), version))
  if (behind !== undefined) return stale(`${behind.name} does not understand version ${version}`)
  for (const { key, value } of migrate(draft.before, { from: draft.version, to: version })) {
    draft.put(key, value)
  }
  draft.put(keys.clusterKey, { ...cluster, version })
  draft.caused.push({ type: "members-changed" })
  return { ok: true, id: version }
}

/** Voters and standbys that hold a version back, and workers that cannot become either while it is active. */
export function membersBehind(view: View, version: number): readonly Member[] {
  return readMembers(view).filter((member) => !understands(versionsOf(member), version))
}

/** When the cluster's version may be raised. Pure: the leader asks it every moment. */
import type { ConfState } from "../consensus/index.ts"
import { understands, type VersionRange, versionsOf } from "../schema/index.ts"
import { activeVersion, readMembers, type View } from "../state/index.ts"
import { countedIn } from "./voter-view.ts"

/** The next version, when this leader and every voter and standby understand it. */
export function planRaise(
  view: View,
  { own, confState }: { readonly own: VersionRange; readonly confState: ConfState },
): number | undefined {
  const next = activeVersion(view) + 1
  if (!understands(own, next)) return undefined
  const members = readMembers(view)
  const counted = new Set(countedIn(confState))
  for (const member of members) if (member.role !== "worker") counted.add(member.id)
  for (const id of counted) {
    const member = members.find((one) => one.id === id)
    if (member === undefined || !understands(versionsOf(member), next)) return undefined
  }
  return next
}

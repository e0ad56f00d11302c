/** The rows that make a new incarnation of a cluster, with one of its members and nobody else. */
import type { Member } from "../schema/index.ts"
import * as keys from "./keys.ts"
import { readCluster, readMember, readMembers } from "./read.ts"
import type { ClusterRow, View, Write } from "./types.ts"

/** The others are gone without a trace of their peer ids: who comes back is admitted as a new member. Their attempts are
 *  settled by the leader of the new incarnation, by each task's policy. */
export function recoveryWrites(
  view: View,
  recovery: { readonly clusterId: string; readonly memberId: number; readonly index: number },
): readonly Write[] {
  const cluster = readCluster(view)
  const self = readMember(view, recovery.memberId)
  if (!cluster || !self) throw new Error("the tables name neither cluster nor member")
  const { clusterId, index } = recovery
  const earlier = [...(cluster.earlier ?? []), { clusterId: cluster.clusterId, index }]
  const row: ClusterRow = { ...cluster, clusterId, earlier }
  const voter: Member = { ...self, role: "voter" }
  const others = readMembers(view).filter(({ id }) => id !== self.id)
  return [
    { key: keys.clusterKey, value: row },
    { key: keys.memberKey(self.id), value: voter },
    ...others.flatMap(({ id }) => [
      { key: keys.memberKey(id), value: undefined },
      { key: keys.sessionKey(id), value: undefined },
    ]),
  ]
}

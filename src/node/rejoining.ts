/** A member whose log is damaged, gone or old: whether its node can become another member, and what to say when not. */
import { type Identity, isTroupeError, type Member, TroupeError } from "../schema/index.ts"

/** The others decide who belongs to the cluster: without a voter among them nobody could take the node back. */
export function canRejoin(identity: Identity, members: readonly Member[]): boolean {
  return members.some(
    ({ id, peerId, role }) => id !== identity.memberId && peerId !== "" && role === "voter",
  )
}

/** Of errors of the log: the ones that mean that what this member promised is not there. */
export function lossOf(error: unknown): string | undefined {
  return isTroupeError(error) && error.code === "ERR_LOG_CORRUPT" ? error.message : undefined
}

/** Why the only voter does not start, with what can be done. */
export function onlyVoter(identity: Identity, reason: string): TroupeError<"ERR_LOG_CORRUPT"> {
  return new TroupeError(
    "ERR_LOG_CORRUPT",
    `${reason}. This node is the only voter of cluster '${identity.cluster}', so nobody else decides what was accepted. ` +
      "Nothing was changed here. If a standby of the cluster exists, run 'troupe cluster recover' there; " +
      "else put back a backup of the whole data directory, or start with an empty --data directory as a new cluster",
    { file: "raft", offset: 0, reason },
  )
}

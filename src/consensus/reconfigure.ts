/** The membership changes: at the moment when the change is applied (C-34). */
import type { Core } from "./core.ts"
import { changeMembership, confStateOf, type Membership, voterIds } from "./membership.ts"
import { broadcastAppend, maybeSendAppend } from "./replicate.ts"
import { type ConfChange, type ConfState, none } from "./types.ts"

export function applyConfChange(core: Core, change: ConfChange | undefined): ConfState {
  if (core.log.hasSnapshotPending()) return applyBehindSnapshot(core, change)
  if (change === undefined) return core.confState()
  const membership = changeMembership(
    { membership: core.membership, lastIndex: core.log.lastIndex(), limits: core.config },
    change,
  )
  return switchMembership(core, membership)
}

/** While a snapshot waits to be written, only entries before it are applied. Its membership, which the core already
 *  follows, covers them; but the answer is stored beside the applied index, and a crash may still lose the snapshot
 *  (C-30, C-31). */
function applyBehindSnapshot(core: Core, change: ConfChange | undefined): ConfState {
  const membership = core.membershipApplied ?? core.membership
  if (change === undefined) return confStateOf(membership.config)
  const from = { membership, lastIndex: core.log.lastIndex(), limits: core.config }
  core.membershipApplied = changeMembership(from, change)
  return confStateOf(core.membershipApplied.config)
}

export function switchMembership(core: Core, membership: Membership): ConfState {
  core.adoptMembership(membership)
  const state = core.confState()
  const own = core.progressOf(core.id)
  if (core.isLeader && (!own || own.isLearner)) {
    // Removed or demoted: the entry that says so is committed (C-36).
    if (core.config.stepDownOnRemoval) core.becomeFollower(core.term, none)
    return state
  }
  if (!core.isLeader || state.voters.length === 0) return state
  if (core.maybeCommit()) {
    // A smaller quorum may have committed more.
    broadcastAppend(core)
  } else {
    for (const id of core.others()) maybeSendAppend(core, id, false)
  }
  if (core.leadTransferee !== none && !voterIds(membership.config).includes(core.leadTransferee)) {
    core.leadTransferee = none
  }
  return state
}

/** What the leader says of the nodes and of the cluster's health. */
import { knownVersions, type NodeView, understands, versionsOf } from "../schema/index.ts"
import { activeVersion, readMembers } from "../state/index.ts"
import { factsOf } from "./facts.ts"
import { assessHealth, type LeaderHealth } from "./health.ts"
import { holdings } from "./node-operations.ts"
import type { OperationParts } from "./operations.ts"

export function nodeViews(parts: OperationParts): readonly NodeView[] {
  const { replica, leadership, context } = parts
  return readMembers(replica.tables).map((member) => {
    const contact = leadership.contacts().get(member.id)
    const isSelf = member.id === replica.memberId
    const here = isSelf || contact?.answered
    const isHeard = isSelf || contact !== undefined
    return {
      member,
      leader: isSelf,
      state: here ? "connected" : "silent",
      ...(isHeard && { silentMs: Math.round(leadership.silentMs(member.id)) }),
      self: member.peerId === context.parts.mesh.peerId,
      ...(member.cordon
        ? holdings(parts, member.id)
        : { attempts: leadership.scheduler.attemptsOn(member.id).length }),
    }
  })
}

export function leaderHealth(parts: OperationParts): LeaderHealth {
  const { replica, leadership, context } = parts
  const { clock } = context.parts
  const trips = new Map(replica.roundTrips.view(clock.boottime()).map((trip) => [trip.id, trip]))
  const known = readMembers(replica.tables).map((member) => {
    const isSelf = member.id === replica.memberId
    const contact = leadership.contacts().get(member.id)
    return {
      member,
      answers: isSelf || contact?.answered === true,
      silentMs: isSelf || contact ? leadership.silentMs(member.id) : undefined,
      facts: isSelf ? factsOf(context, contact?.running ?? 0) : contact?.facts,
      clockOffsetMs: isSelf ? 0 : contact?.clockOffsetMs,
      roundTripP99Ms: trips.get(member.id)?.p99Ms,
      attempts: leadership.scheduler.attemptsOn(member.id).length,
    }
  })
  const { memberId: self } = replica
  const health = assessHealth({
    self,
    status: replica.status(),
    known,
    conflicts: parts.conflicts(),
  })
  return { ...health, notes: [...health.notes, ...versionNotes(parts), ...leadership.notes()] }
}

/** Who cannot vote as it is, and who holds the next version back. */
function versionNotes({ replica, context }: OperationParts): readonly string[] {
  const active = activeVersion(replica.tables)
  const { newest } = context.options.versions ?? knownVersions
  const notes: string[] = []
  for (const member of readMembers(replica.tables)) {
    const range = versionsOf(member)
    if (!understands(range, active)) {
      notes.push(
        `${member.name} understands versions ${range.oldest} to ${range.newest}, this cluster is at ${active}: it works, but cannot vote before it is updated`,
      )
    } else if (member.role !== "worker" && newest > active && range.newest < newest) {
      notes.push(
        `${member.name} understands no version above ${range.newest}: the cluster stays at ${active} until it is updated`,
      )
    }
  }
  return notes
}

/** The roster: who belongs to the cluster, in which role, with which session, and where a dissolved one went. */
import { type Member, type MemberDeclaration, versionsLabel, versionsOf } from "../schema/index.ts"
import { notFound, stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import * as keys from "./keys.ts"
import type { ClusterRow, Command, ItemResult, RemovedRow, Session } from "./types.ts"

type Item<Type extends Command["type"]> = Extract<Command, { type: Type }>["items"][number]

const founderId = 1
/** Of a member whose node is another member now: no peer has this id. */
const nobody = ""

/** Only what a declaration holds: whatever else an object carries stays outside. */
export function memberRow(
  own: Pick<Member, "id" | "role" | "cordon" | "dead">,
  declared: MemberDeclaration,
  version: number,
): Member {
  const { peerId, name, addresses, voter, os, arch, cores, memoryBytes, labels, tools, capacity } =
    declared
  const machine = { os, arch, cores, memoryBytes, labels, tools, capacity }
  const row: Member = { id: own.id, peerId, name, addresses, role: own.role, voter, ...machine }
  if (version < 2) return row
  const { [versionsLabel]: _, ...rest } = labels
  return {
    ...row,
    labels: rest,
    versions: versionsOf(declared),
    ...(own.cordon !== undefined && { cordon: own.cordon }),
    ...(own.dead !== undefined && { dead: own.dead }),
  }
}

function putMember(draft: Draft, row: Member): void {
  draft.put(keys.memberKey(row.id), row)
  if (!draft.caused.some((event) => event.type === "members-changed")) {
    draft.caused.push({ type: "members-changed" })
  }
}

export function found(draft: Draft, item: Item<"genesis">): ItemResult {
  if (draft.cluster !== undefined) return stale("the cluster is founded already")
  draft.put(keys.clusterKey, {
    cluster: item.cluster,
    clusterId: item.clusterId,
    pristine: true,
    time: draft.time,
  })
  putMember(draft, memberRow({ id: founderId, role: "voter" }, item.founder, 1))
  return { ok: true, id: founderId }
}

export function admit(draft: Draft, declared: MemberDeclaration): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (cluster.dissolvedInto !== undefined) {
    return { ok: false, code: "dissolved", detail: cluster.dissolvedInto }
  }
  const gone = draft.get(keys.removedKey(declared.peerId)) as RemovedRow | undefined
  if (gone !== undefined) return { ok: false, code: "removed", detail: gone.reason }
  const known = draft.members().find((member) => member.peerId === declared.peerId)
  if (known !== undefined) {
    putMember(draft, memberRow(known, declared, draft.version))
    return { ok: true, id: known.id, existing: true }
  }
  // An id is the index of the entry that admitted it, so an entry has room for one new member.
  if (draft.member(draft.index) !== undefined) return stale("another member has this entry's id")
  putMember(draft, memberRow({ id: draft.index, role: "worker" }, declared, draft.version))
  return { ok: true, id: draft.index }
}

/** The log decides which id a peer has: what the old one promised, nobody keeps any more. */
export function readmit(draft: Draft, item: Item<"readmit">): ItemResult {
  const { instead, declaration } = item
  const old = draft.member(instead)
  const isGone = draft.get(keys.removedKey(declaration.peerId)) !== undefined
  const isOpen = draft.cluster !== undefined && draft.cluster.dissolvedInto === undefined && !isGone
  if (isOpen && old?.peerId === declaration.peerId) putMember(draft, { ...old, peerId: nobody })
  return admit(draft, declaration)
}

export function declare(draft: Draft, item: Item<"declare">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return notFound(`no member ${item.id}`)
  if (member.peerId !== item.declaration.peerId) {
    return stale(`member ${item.id} has another peer id`)
  }
  putMember(draft, memberRow(member, item.declaration, draft.version))
  return { ok: true, id: item.id }
}

export function setRole(draft: Draft, item: Item<"role">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return notFound(`no member ${item.id}`)
  if (member.role !== item.role) putMember(draft, { ...member, role: item.role })
  return { ok: true, id: item.id }
}

/** Only a worker without a standing session: a voter or standby leaves the configuration first. */
export function remove(draft: Draft, item: Item<"remove">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return { ok: true, id: item.id, existing: true }
  if (member.role !== "worker") return stale(`member ${item.id} is a ${member.role}`)
  if (draft.session(item.id)?.state === "up") return stale(`member ${item.id} answers`)
  draft.put(keys.memberKey(item.id), undefined)
  draft.put(keys.sessionKey(item.id), undefined)
  draft.caused.push({ type: "members-changed" })
  return { ok: true, id: item.id }
}

/** A voter or standby leaves the configuration first; a standing session does not hold it. */
export function expel(draft: Draft, item: Item<"expel">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return { ok: true, id: item.id, existing: true }
  if (member.role !== "worker") return stale(`member ${item.id} is a ${member.role}`)
  const { id, peerId, name } = member
  const row: RemovedRow = { id, peerId, name, reason: item.reason, at: draft.time }
  draft.put(keys.removedKey(peerId), row)
  draft.put(keys.memberKey(id), undefined)
  draft.put(keys.sessionKey(id), undefined)
  draft.caused.push({ type: "members-changed" })
  return { ok: true, id }
}

export function setSession(draft: Draft, item: Item<"session">): ItemResult {
  if (draft.member(item.node) === undefined) return notFound(`no member ${item.node}`)
  const session = draft.session(item.node)
  if (item.state === "lost") {
    if (session === undefined || session.boot !== item.boot) {
      return stale(`member ${item.node} has no session of boot ${item.boot}`)
    }
    if (session.state === "lost") return { ok: true, id: session.lease, existing: true }
  }
  const next: Session =
    item.state === "up" || session === undefined
      ? { node: item.node, lease: draft.index, boot: item.boot, state: item.state, at: draft.time }
      : { ...session, state: "lost", at: draft.time }
  draft.put(keys.sessionKey(item.node), next)
  if (item.state === "up") revive(draft, item.node)
  draft.caused.push({ type: "session-changed", node: item.node })
  return { ok: true, id: next.lease }
}

/** Who answers is not dead. */
function revive(draft: Draft, node: number): void {
  const member = draft.member(node)
  if (member?.dead === undefined) return
  const { dead: _, ...rest } = member
  putMember(draft, rest)
}

/** Nothing new is placed there; a later word replaces an earlier one. */
export function cordon(draft: Draft, item: Item<"cordon">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return notFound(`no member ${item.id}`)
  const { cordon: before, ...rest } = member
  if (item.mode === "open") {
    if (before === undefined) return { ok: true, id: item.id, existing: true }
    putMember(draft, rest)
    return { ok: true, id: item.id }
  }
  const { mode, reason, deadlineAt } = item
  const row = { mode, reason, at: draft.time, ...(deadlineAt !== undefined && { deadlineAt }) }
  putMember(draft, { ...rest, cordon: row })
  return { ok: true, id: item.id }
}

/** Its attempts are given up by decisions of their own; that it answers now is for the leader to find out before. */
export function declareDead(draft: Draft, item: Item<"dead">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return notFound(`no member ${item.id}`)
  if (member.dead !== undefined) return { ok: true, id: item.id, existing: true }
  putMember(draft, { ...member, dead: { at: draft.time, reason: item.reason } })
  const session = draft.session(item.id)
  if (session?.state === "up") {
    draft.put(keys.sessionKey(item.id), { ...session, state: "lost", at: draft.time })
    draft.caused.push({ type: "session-changed", node: item.id })
  }
  return { ok: true, id: item.id }
}

export function dissolve(draft: Draft, item: Item<"dissolve">): ItemResult {
  return goInto(draft, item, (cluster) => {
    if (!cluster.pristine) return "this cluster has accepted work"
    return undefined
  })
}

export function supersede(draft: Draft, item: Item<"supersede">): ItemResult {
  return goInto(draft, item, () => {
    if (draft.hasRunAfter(item.index)) return `runs were accepted after entry ${item.index}`
    return undefined
  })
}

/** The end of this cluster, unless `refusal` has a reason against it. The first of several wins. */
function goInto(
  draft: Draft,
  item: Item<"dissolve">,
  refusal: (cluster: ClusterRow) => string | undefined,
): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (cluster.dissolvedInto !== undefined) {
    if (cluster.dissolvedInto === item.into) return { ok: true, existing: true }
    return { ok: false, code: "dissolved", detail: cluster.dissolvedInto }
  }
  const reason = refusal(cluster)
  if (reason !== undefined) return { ok: false, code: "not-pristine", detail: reason }
  draft.put(keys.clusterKey, { ...cluster, dissolvedInto: item.into, dissolvedPeers: item.peers })
  draft.caused.push({ type: "dissolved", into: item.into })
  return { ok: true }
}

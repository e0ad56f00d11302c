/** The roster: who belongs to the cluster, in which role, with which session, and where a dissolved one went. */
import type { Member, MemberDeclaration } from "../schema/index.ts"
import { notFound, stale } from "./attempts.ts"
import type { Draft } from "./draft.ts"
import * as keys from "./keys.ts"
import type { Command, ItemResult, Session } from "./types.ts"

type Item<Type extends Command["type"]> = Extract<Command, { type: Type }>["items"][number]

const founderId = 1

/** Only what a declaration holds: whatever else an object carries stays outside. */
function memberRow(own: Pick<Member, "id" | "role">, declared: MemberDeclaration): Member {
  const { peerId, name, addresses, voter, os, arch, cores, memoryBytes, labels, tools, capacity } =
    declared
  const machine = { os, arch, cores, memoryBytes, labels, tools, capacity }
  return { id: own.id, peerId, name, addresses, role: own.role, voter, ...machine }
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
  putMember(draft, memberRow({ id: founderId, role: "voter" }, item.founder))
  return { ok: true, id: founderId }
}

export function admit(draft: Draft, declared: MemberDeclaration): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (cluster.dissolvedInto !== undefined) {
    return { ok: false, code: "dissolved", detail: cluster.dissolvedInto }
  }
  const known = draft.members().find((member) => member.peerId === declared.peerId)
  if (known !== undefined) {
    putMember(draft, memberRow(known, declared))
    return { ok: true, id: known.id, existing: true }
  }
  // An id is the index of the entry that admitted it, so an entry has room for one new member.
  if (draft.member(draft.index) !== undefined) return stale("another member has this entry's id")
  putMember(draft, memberRow({ id: draft.index, role: "worker" }, declared))
  return { ok: true, id: draft.index }
}

export function declare(draft: Draft, item: Item<"declare">): ItemResult {
  const member = draft.member(item.id)
  if (member === undefined) return notFound(`no member ${item.id}`)
  if (member.peerId !== item.declaration.peerId) {
    return stale(`member ${item.id} has another peer id`)
  }
  putMember(draft, memberRow(member, item.declaration))
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
  draft.caused.push({ type: "session-changed", node: item.node })
  return { ok: true, id: next.lease }
}

export function dissolve(draft: Draft, item: Item<"dissolve">): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (cluster.dissolvedInto !== undefined) {
    if (cluster.dissolvedInto === item.into) return { ok: true, existing: true }
    return { ok: false, code: "dissolved", detail: cluster.dissolvedInto }
  }
  if (!cluster.pristine) {
    return { ok: false, code: "not-pristine", detail: "this cluster has accepted work" }
  }
  draft.put(keys.clusterKey, { ...cluster, dissolvedInto: item.into, dissolvedPeers: item.peers })
  draft.caused.push({ type: "dissolved", into: item.into })
  return { ok: true }
}

/** What only the leader does to the cluster itself: admit, hear, remove, hand over, give way to another cluster. */
import { nearest } from "../lib/index.ts"
import {
  type LeaderTransferred,
  type Member,
  type MemberDeclaration,
  type NodeRemoved,
  type PeerRef,
  type RemoveNode,
  type TransferLeader,
  TroupeError,
} from "../schema/index.ts"
import { type Command, readCluster, readMembers } from "../state/index.ts"
import type { Hello, JoinAnswer } from "../wire/index.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"

/** A removal waits this long for a standby to take the voter's place; then the cluster goes on with fewer. */
const replacementMs = 10_000
const removalMs = 25_000
const lookMs = 50

export async function admit(
  parts: OperationParts,
  declaration: MemberDeclaration,
): Promise<JoinAnswer> {
  return await answerAs(parts, { type: "admit", items: [declaration] })
}

/** Of a member that lost its log: its node comes back under another id, and its old one dies out. */
export async function readmit(
  parts: OperationParts,
  body: { readonly declaration: MemberDeclaration; readonly instead: number },
): Promise<JoinAnswer> {
  const { peerId } = body.declaration
  const present = readMembers(parts.replica.tables).find((member) => member.peerId === peerId)
  // A disk from before an earlier loss names an id that is gone. The present one has voted or may have: nor is that on it.
  const instead = present && present.role !== "worker" ? present.id : body.instead
  return await answerAs(parts, { type: "readmit", items: [{ ...body, instead }] })
}

async function answerAs(parts: OperationParts, command: Command): Promise<JoinAnswer> {
  const { replica, context } = parts
  const { results } = await replica.propose(command)
  const result = results[0]
  const row = readCluster(replica.tables)!
  if (result?.ok && result.id !== undefined) {
    return {
      type: "admitted",
      clusterId: row.clusterId,
      cluster: row.cluster,
      memberId: result.id,
      members: readMembers(replica.tables),
      leader: context.identity()!.memberId,
    }
  }
  if (result && !result.ok) {
    if (result.code === "removed") return { type: "removed", reason: result.detail }
    if (result.code === "dissolved") return { type: "redirect", peers: row.dissolvedPeers ?? [] }
    return { type: "refused", reason: result.detail }
  }
  return { type: "refused", reason: "not admitted" }
}

export async function declare(
  parts: OperationParts,
  declaration: MemberDeclaration,
): Promise<undefined> {
  const row = readMembers(parts.replica.tables).find(
    (member: Member) => member.peerId === declaration.peerId,
  )
  if (row) {
    await parts.replica.propose({ type: "declare", items: [{ id: row.id, declaration }] })
  }
  return undefined
}

/** The log decides between a submission and giving way: whichever is first. */
export async function meet(
  parts: OperationParts,
  body: { hello: Hello; peer: PeerRef },
): Promise<undefined> {
  const { hello, peer } = body
  const verdict = parts.weigh(hello)
  if (verdict.do === "stay") return undefined
  const into = hello.clusterId!
  const peers = peersOf(hello, peer)
  if (verdict.do === "dissolve") {
    await parts.replica.propose({ type: "dissolve", items: [{ into, peers }] })
    return undefined
  }
  const { index } = verdict
  const { results } = await parts.replica.propose({
    type: "supersede",
    items: [{ into, index, peers }],
  })
  if (results[0] && !results[0].ok) parts.conflict(hello)
  return undefined
}

/** Whom to ask in the other cluster: who said hello, and its leader. */
function peersOf(hello: Hello, peer: PeerRef): { peerId: string; addresses: readonly string[] }[] {
  const { declaration, leaderPeer } = hello
  const own = new Set([...peer.addresses, ...declaration.addresses])
  const peers = [{ peerId: peer.peerId, addresses: [...own] }]
  if (leaderPeer && leaderPeer.peerId !== peer.peerId) {
    peers.push({ peerId: leaderPeer.peerId, addresses: [...leaderPeer.addresses] })
  }
  return peers
}

// ---------------------------------------------------------------- by hand

export function conflict(reason: string): TroupeError<"ERR_CONFLICT"> {
  return new TroupeError("ERR_CONFLICT", reason, { reason })
}

/** By name or member id. */
export function findMember(parts: OperationParts, node: string): Member {
  const members = readMembers(parts.replica.tables)
  const found = members.filter(({ name, id }) => name === node || String(id) === node)
  if (found.length === 1) return found[0]!
  if (found.length > 1) {
    const ids = found.map(({ id }) => id).join(", ")
    throw conflict(`several nodes are called ${node}: name one by its member id (${ids})`)
  }
  const near = nearest(
    node,
    members.map(({ name }) => name),
  )
  const known = members.map(({ name }) => name).join(", ")
  throw new TroupeError("ERR_NODE_NOT_FOUND", `there is no node ${node}; there are: ${known}`, {
    node,
    nearest: near,
  })
}

/** Hands leadership to a voter, or to the one that is closest behind; answers when it leads. */
export async function transferLeader(
  parts: OperationParts,
  body: TransferLeader,
  options: CallOptions,
): Promise<LeaderTransferred> {
  const { replica, context } = parts
  const self = readMembers(replica.tables).find(({ id }) => id === replica.memberId)
  const from = self?.name ?? context.options.name
  const wanted = body.to === undefined ? undefined : findMember(parts, body.to)
  if (wanted?.id === replica.memberId) return { from, leader: from, term: replica.term }
  const successor = findSuccessor(parts, wanted)
  replica.transferLeadership(successor.id)
  const { electionTicks, tickMs } = context.options.timing
  const limitMs = 2 * electionTicks * tickMs
  const { clock } = context.parts
  const end = clock.boottime() + limitMs
  while (replica.leader === replica.memberId || replica.leader === 0) {
    const left = end - clock.boottime()
    if (left <= 0) {
      throw new TroupeError(
        "ERR_TIMEOUT",
        `${successor.name} did not take over within ${limitMs} ms; see 'troupe cluster status'`,
        { what: "a transfer of leadership", afterMs: limitMs },
      )
    }
    await parts.changed(Math.min(left, lookMs), options.signal)
  }
  const leader = readMembers(replica.tables).find(({ id }) => id === replica.leader)
  return { from, leader: leader?.name ?? String(replica.leader), term: replica.term }
}

function findSuccessor(parts: OperationParts, wanted: Member | undefined): Member {
  const { replica, leadership } = parts
  const { confState, progress } = replica.status()
  const members = readMembers(replica.tables)
  const answers = (id: number): boolean => leadership.contacts().get(id)?.answered === true
  if (confState.voters.length === 1) {
    throw conflict("there is only one voter: nobody else can lead")
  }
  if (wanted) {
    if (!confState.voters.includes(wanted.id)) {
      throw conflict(`${wanted.name} is a ${wanted.role}: only a voter can lead`)
    }
    if (!answers(wanted.id)) throw conflict(`${wanted.name} does not answer`)
    return wanted
  }
  const [best] = progress
    .filter(({ id }) => id !== replica.memberId && confState.voters.includes(id) && answers(id))
    .filter(({ id }) => members.find((member) => member.id === id)?.voter === "auto")
    .toSorted((a, b) => b.match - a.match)
  const member = members.find(({ id }) => id === best?.id)
  if (!member) throw conflict("no other voter answers")
  return member
}

/** Takes a node out of the cluster, whether it answers or not; its attempts are settled by each task's policy. */
export async function removeNode(
  parts: OperationParts,
  body: RemoveNode,
  options: CallOptions,
): Promise<NodeRemoved> {
  const { replica, leadership, context } = parts
  const member = findMember(parts, body.node)
  const { id, name } = member
  if (readMembers(replica.tables).length === 1) {
    throw conflict(`${name} is the only node; stop it with 'troupe node stop'`)
  }
  if (id === replica.memberId) {
    await transferLeader(parts, {}, options)
    // The next leader is asked the same.
    throw new TroupeError("ERR_NOT_LEADER", "this node hands over, to be removed", {
      leader: context.leaderPeer()?.peerId,
    })
  }
  const refusal = leadership.retire(id, replacementMs)
  if (refusal !== undefined) throw conflict(refusal)
  const { clock } = context.parts
  const end = clock.boottime() + removalMs
  const isCounted = (): boolean => readMembers(replica.tables).some((one) => one.id === id)
  while (isCounted()) {
    if (!replica.isLeading()) {
      throw new TroupeError("ERR_NOT_LEADER", "the leader changed during the removal", {
        leader: context.leaderPeer()?.peerId,
      })
    }
    const left = end - clock.boottime()
    if (left <= 0) {
      throw new TroupeError("ERR_TIMEOUT", `${name} is not out after ${removalMs} ms; ask again`, {
        what: "the removal of a node",
        afterMs: removalMs,
      })
    }
    await parts.changed(Math.min(left, lookMs), options.signal)
  }
  await tellRemoved(parts, member, options)
  return { node: name, id }
}

/** So that it leaves at once. One that does not hear it now asks by itself when it has no leader. */
async function tellRemoved(
  parts: OperationParts,
  member: Member,
  options: CallOptions,
): Promise<void> {
  const { context } = parts
  const signal = AbortSignal.any([
    options.signal,
    context.parts.clock.timeoutSignal(1000, "telling a node that it was removed"),
  ])
  try {
    await context.callPeer(
      member,
      "removed",
      { memberId: member.id, reason: removedReason },
      { signal },
    )
  } catch (error) {
    options.signal.throwIfAborted()
    context.parts.logger.info("a removed node was not told", {
      node: member.name,
      error: String(error),
    })
  }
}

export const removedReason = "somebody removed it (troupe cluster remove)"

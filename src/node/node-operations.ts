/** What somebody says of one node by hand: it takes no new work, it is drained, it is dead. */
import {
  type CordonNode,
  type DeclareDead,
  type Member,
  type NodeCordoned,
  type NodeDeclaredDead,
  TroupeError,
} from "../schema/index.ts"
import { type Command, readMembers, readSession, readTask } from "../state/index.ts"
import { conflict, findMember } from "./cluster-operations.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"

/** A leader that has just begun asks every member within this time. */
const askedMs = 3000
const lookMs = 50
/** Tasks that an answer names. */
const namesMax = 20

export async function cordonNode(
  parts: OperationParts,
  body: CordonNode & { readonly node: string },
): Promise<NodeCordoned> {
  const { mode, reason, deadlineMs } = body
  const member = findMember(parts, body.node)
  const { id, name } = member
  const others = takers(parts).filter((one) => one.id !== id)
  if (mode === "drain" && others.length === 0) {
    throw conflict(
      `no node but ${name} takes work: what runs there could go nowhere. Start or uncordon another one first`,
    )
  }
  if (deadlineMs !== undefined && mode !== "drain") {
    const issue = { path: "deadlineMs", message: `goes with mode drain, not ${mode}` }
    throw new TroupeError("ERR_REQUEST_INVALID", "the request has one mistake", { issues: [issue] })
  }
  const deadlineAt = parts.context.parts.clock.now() + (deadlineMs ?? 0)
  const until = deadlineMs === undefined ? {} : { deadlineAt }
  await decree(parts, member, { type: "cordon", items: [{ id, mode, reason, ...until }] })
  const warnings = mode === "open" ? [] : warningsOf(parts, member, others)
  return { node: name, id, mode, ...holdings(parts, id), warnings }
}

/** Nodes that new work may be placed on. */
function takers({ replica, leadership }: OperationParts): readonly Member[] {
  return readMembers(replica.tables).filter((member) => {
    const isHere =
      member.id === replica.memberId || leadership.contacts().get(member.id)?.answered === true
    const isUp = readSession(replica.tables, member.id)?.state === "up"
    return isHere && isUp && member.cordon === undefined && member.dead === undefined
  })
}

function warningsOf(
  { replica }: OperationParts,
  { id, name }: Member,
  others: readonly Member[],
): string[] {
  const warnings: string[] = []
  if (others.length === 0) warnings.push("no node takes new work now: what is submitted waits")
  const { voters } = replica.status().confState
  if (id === replica.memberId && voters.length < 2) {
    warnings.push(`${name} is the only voter: it leads on`)
  } else if (voters.includes(id)) {
    warnings.push(`${name} goes on voting: 'troupe cluster remove' would end that`)
  }
  return warnings
}

/** Proposes what is said of one member, and answers when it holds. */
async function decree(parts: OperationParts, member: Member, command: Command): Promise<void> {
  const { results } = await parts.replica.propose(command)
  const [result] = results
  if (result?.ok === false) throw conflict(`${member.name}: ${result.detail}`)
}

/** What runs on a node by the rows. */
export function holdings(
  { replica, leadership }: Pick<OperationParts, "replica" | "leadership">,
  id: number,
): { attempts: number; holds: string[] } {
  const tasks = leadership.scheduler.attemptsOn(id)
  const holds = tasks.slice(0, namesMax).map((ref) => {
    const name = readTask(replica.tables, ref)?.name ?? ref.group
    return `${ref.run}/${name}`
  })
  return { attempts: tasks.length, holds }
}

/** What runs there is given up by decisions that follow at once; when it answers again, what it still runs is stopped. */
export async function declareDead(
  parts: OperationParts,
  body: DeclareDead & { readonly node: string },
  options: CallOptions,
): Promise<NodeDeclaredDead> {
  const { replica } = parts
  const member = findMember(parts, body.node)
  const { id, name } = member
  if (readMembers(replica.tables).length === 1) throw conflict(`${name} is the only node`)
  if (id === replica.memberId) {
    throw conflict(`${name} leads the cluster, so it is alive; to move its work: drain it`)
  }
  if (!body.force && (await isHeard(parts, id, options))) {
    throw conflict(
      `${name} answers, so it is not dead: drain it, or say so with --force, and what runs there may run twice for a moment`,
    )
  }
  const { attempts } = holdings(parts, id)
  await decree(parts, member, { type: "dead", items: [{ id, reason: body.reason }] })
  return { node: name, id, attempts }
}

/** Whether it answers; a leader that has not asked it yet does so first. */
async function isHeard(parts: OperationParts, id: number, options: CallOptions): Promise<boolean> {
  const { leadership, context } = parts
  const { clock } = context.parts
  const { leaseRenewMs } = context.options.timing
  const end = clock.boottime() + askedMs
  for (;;) {
    if (leadership.contacts().get(id)?.answered) return true
    if (leadership.silentMs(id) > 2 * leaseRenewMs || clock.boottime() >= end) return false
    await parts.changed(lookMs, options.signal)
  }
}

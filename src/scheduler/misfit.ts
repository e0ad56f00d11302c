/** Why a node does not take a task now: the first thing that stands against it, as people read it. */
import { type Member, taskName } from "../schema/index.ts"
import { firstUnmet, gib, type Unmet } from "../state/index.ts"
import type { Ask } from "./ask.ts"
import type { Board } from "./board.ts"
import type { Lane } from "./lane.ts"
import type { Lack, NodeBoard } from "./node-board.ts"
import { isKeptFrom } from "./pick.ts"
import type { Rejection } from "./types.ts"

/** What of a group is looked at, the same for a live run and for a dry run. */
export interface Case {
  readonly ask: Ask
  readonly lane: Lane
  /** The group that `with` names, and its node: "none" while it is nowhere. */
  readonly tie: { readonly to: string; readonly node: number | "none" } | undefined
}

/** A constraint that a member fails: the later in the order, the nearer it was to fitting. */
export interface Misfit {
  readonly member: Member
  readonly rank: number
  readonly reason: string
  /** The need that it does not meet, whatever else happens. */
  readonly unmet: Unmet | undefined
}

/** After the steps of the needs; a node that `with` rules out is as far from fitting as one that is not named. */
const ranks = { with: -1, closed: 100, session: 101, room: 102, kept: 103 }

export function misfit(board: Board, asked: Case, node: NodeBoard): Misfit | undefined {
  const { member } = node
  if (member === undefined) return undefined
  const unmet = firstUnmet(asked.ask.needs, member)
  if (unmet !== undefined) return { member, rank: unmet.step, reason: unmet.reason, unmet }
  const found = closed(node, asked.ask) ?? room(board, asked, node)
  if (found !== undefined) return { member, ...found, unmet: undefined }
  const { tie } = asked
  if (tie === undefined || tie.node === node.id) return undefined
  const where = tie.node === "none" ? "which is not placed yet" : "which is elsewhere"
  const reason = `must be the node of ${tie.to}, ${where}`
  return { member, rank: ranks.with, reason, unmet: undefined }
}

interface Found {
  readonly rank: number
  readonly reason: string
}

function because(reason: string): string {
  return reason === "" ? "" : ` (${reason})`
}

function closed({ member, session, isSilent, full }: NodeBoard, ask: Ask): Found | undefined {
  const { cordon, dead } = member!
  if (dead !== undefined) {
    return { rank: ranks.closed, reason: `was declared dead${because(dead.reason)}` }
  }
  if (cordon !== undefined && !ask.isTied) {
    const what = cordon.mode === "drain" ? "is being drained" : "is cordoned"
    return { rank: ranks.closed, reason: `${what}${because(cordon.reason)}` }
  }
  if (full !== undefined && !ask.isTied) return { rank: ranks.closed, reason: full }
  if (session?.state === "up" && !isSilent) return undefined
  const reason = session === undefined ? "has not reported yet" : "does not answer"
  return { rank: ranks.session, reason }
}

function room(board: Board, { ask, lane }: Case, node: NodeBoard): Found | undefined {
  const lack = node.lack(ask.use)
  if (lack !== undefined)
    return { rank: ranks.room, reason: lackClause(board, ask, { node, lack }) }
  const { hold } = board.queue
  if (!isKeptFrom(lane, node, hold)) return undefined
  const first = hold!.lane.first
  const waits =
    first === undefined ? "another task" : `${first.run.id}/${first.groups[0]!.definition.name}`
  return { rank: ranks.kept, reason: `is kept free for ${waits}, which waits for it` }
}

function lackClause(
  board: Board,
  { use, needs }: Ask,
  { node, lack }: { readonly node: NodeBoard; readonly lack: Lack },
): string {
  const { used, member } = node
  switch (lack) {
    case "alone":
      return used.alone > 0
        ? `runs ${runningThere(board, node, "node")}, which is to be alone`
        : `runs ${used.slots === 1 ? "another task" : `${used.slots} other tasks`}, and this one is to be alone`
    case "exclusive":
      return `runs ${runningThere(board, node, "network")}, which is exclusive too`
    case "slots": {
      const { capacity } = node
      return `has ${capacity === 1 ? "its only slot" : `all ${capacity} of its slots`} taken`
    }
    case "cores":
      return `has ${member!.cores - used.cores} of ${member!.cores} cores free, ${needs.cores} ${are(needs.cores)} needed`
    case "memoryBytes": {
      const free = gib(member!.memoryBytes - used.memoryBytes)
      return `has ${free} of ${gib(member!.memoryBytes)} of memory free, ${gib(use.memoryBytes)} is needed`
    }
    case "gpus":
      return `has ${node.gpus - used.gpus} of ${node.gpus} GPUs free, ${needs.gpus} ${are(needs.gpus)} needed`
    default:
      return lack satisfies never
  }
}

function are(count: number | undefined): string {
  return count === 1 ? "is" : "are"
}

/** `r-5/shard[3]`: an exclusive attempt on the node, in the order of names. */
function runningThere(board: Board, node: NodeBoard, how: "node" | "network"): string {
  const found = [...node.live].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const isSuch = (exclusive: string | undefined): boolean =>
    how === "node" ? exclusive === "node" : exclusive !== undefined
  const ref = found.find(([, { use }]) => isSuch(use.exclusive))?.[1].ref
  const group = ref && board.runs.get(ref.run)?.groups.get(ref.group)?.definition
  return ref && group ? `${ref.run}/${taskName(group, ref.index)}` : "another task"
}

/** Every member that cannot take it now, with the first constraint that it fails, by id. */
export function misfits(board: Board, asked: Case): readonly Misfit[] {
  return [...board.nodes.members()].flatMap((node) => misfit(board, asked, node) ?? [])
}

/** The one that came furthest. */
export function nearest(all: readonly Misfit[]): Misfit | undefined {
  return all.toSorted((a, b) => b.rank - a.rank || a.member.id - b.member.id)[0]
}

export function rejection({ member, reason }: Misfit): Rejection {
  return { id: member.id, node: member.name, reason }
}

/** Which node takes a task: of those that have room the best by preference, then the one with the lowest id. */
import type { TaskGroup } from "../schema/index.ts"
import { lowestBit } from "./bits.ts"
import type { Lane } from "./lane.ts"
import type { NodeBoard } from "./node-board.ts"
import type { Nodes } from "./nodes.ts"

/** A run on more nodes than this is spread by the nodes' load alone, so that a choice never costs more. */
const spreadNodesMax = 32

/** A node that is kept for the first of a lane, which has waited too long. */
export interface Hold {
  readonly lane: Lane
  readonly node: NodeBoard
  /** It has waited longer still, and has room now. */
  readonly except: Lane | undefined
}

/** What one placement asks, the same for a live run and for a dry run. */
export interface Wish {
  readonly lane: Lane
  readonly group: TaskGroup
  /** Attempts of the run by node, if it is to be spread. */
  readonly places: ReadonlyMap<number, number> | undefined
  /** For nearOutputs: bytes by node. */
  readonly outputs: ReadonlyMap<number, number> | undefined
}

/** Whether a lane must leave a node alone because another waits for it longer. */
export function isKeptFrom(lane: Lane, node: NodeBoard, hold: Hold | undefined): boolean {
  if (hold?.node !== node || hold.lane === lane || hold.except === lane) return false
  if (lane.priority > hold.lane.priority) return false
  return !node.leavesRoom(lane.ask.use, hold.lane.ask.use)
}

class Choice {
  readonly #nodes: Nodes
  readonly #wish: Wish
  readonly #hold: Hold | undefined
  readonly #places: ReadonlyMap<number, number> | undefined
  /** The best of those that are only second choice. */
  #second: NodeBoard | undefined
  wasDenied = false

  constructor(nodes: Nodes, wish: Wish, hold: Hold | undefined) {
    this.#nodes = nodes
    this.#wish = wish
    this.#hold = hold
    const { places, group } = wish
    const isSpread = places !== undefined && places.size <= spreadNodesMax
    this.#places = isSpread && group.placing !== "pack" ? places : undefined
  }

  #admits(node: NodeBoard): boolean {
    const { lane } = this.#wish
    if (node.lack(lane.ask.use) !== undefined) {
      // Until it improves, nobody needs to look at it again.
      lane.maybe.delete(node.position)
      return false
    }
    const isKept = isKeptFrom(lane, node, this.#hold)
    this.wasDenied ||= isKept
    return !isKept
  }

  nearOutputs(): NodeBoard | undefined {
    let best: NodeBoard | undefined
    let most = 0
    for (const [id, bytes] of this.#wish.outputs ?? []) {
      const node = this.#nodes.get(id)
      if (node === undefined || bytes < most || !this.#isCandidate(node)) continue
      if (best === undefined || bytes > most || this.#isBetter(node, best)) {
        best = node
        most = bytes
      }
    }
    return best
  }

  #isCandidate(node: NodeBoard): boolean {
    return node.position >= 0 && this.#wish.lane.maybe.has(node.position) && this.#admits(node)
  }

  /** The first difference decides: spread over nodes, not the leader, few attempts (or many), low id. */
  #isBetter(one: NodeBoard, other: NodeBoard): boolean {
    const spread = (this.#places?.get(one.id) ?? 0) - (this.#places?.get(other.id) ?? 0)
    if (spread !== 0) return spread < 0
    if (one.isAvoided !== other.isAvoided) return other.isAvoided
    const taken = one.taken - other.taken
    if (taken !== 0) return this.#wish.group.placing === "pack" ? taken > 0 : taken < 0
    return one.id < other.id
  }

  /** Level by level: the first that nothing speaks against is the best of all. */
  best(): NodeBoard | undefined {
    const { highestLevel } = this.#nodes
    const packs = this.#wish.group.placing === "pack"
    for (let step = 0; step <= highestLevel; step++) {
      const found = this.#inLevel(packs ? highestLevel - step : step)
      if (found !== undefined) return found
    }
    return this.#second
  }

  #inLevel(taken: number): NodeBoard | undefined {
    const level = this.#nodes.level(taken)
    if (level === undefined) return undefined
    const { maybe } = this.#wish.lane
    const words = Math.min(level.length, maybe.length)
    for (let at = 0; at < words; at++) {
      for (let word = level.word(at) & maybe.word(at); word !== 0; word &= word - 1) {
        const node = this.#nodes.at(at * 32 + lowestBit(word))
        if (node === undefined || !this.#admits(node)) continue
        if (!node.isAvoided && this.#places?.has(node.id) !== true) return node
        if (this.#second === undefined || this.#isBetter(node, this.#second)) this.#second = node
      }
    }
    return undefined
  }
}

/** "denied": only a node that is kept for another has room. */
export function pick(
  nodes: Nodes,
  wish: Wish,
  hold: Hold | undefined,
): NodeBoard | "denied" | undefined {
  const choice = new Choice(nodes, wish, hold)
  const found = choice.nearOutputs() ?? choice.best()
  return found ?? (choice.wasDenied ? "denied" : undefined)
}

/** Whether any node has room, whoever it is kept for. */
export function fitsSomewhere(nodes: Nodes, { ask, maybe }: Lane): boolean {
  for (let at = 0; at < maybe.length; at++) {
    for (let word = maybe.word(at); word !== 0; word &= word - 1) {
      const position = at * 32 + lowestBit(word)
      if (nodes.at(position)?.lack(ask.use) === undefined && nodes.at(position)) return true
      maybe.delete(position)
    }
  }
  return false
}

/** The eligible node on which the least must end before this fits; undefined when waiting would not help anywhere. */
export function nearestToFit(nodes: Nodes, { ask, eligible }: Lane): NodeBoard | undefined {
  let best: NodeBoard | undefined
  let least = Infinity
  for (let at = 0; at < eligible.length; at++) {
    for (let word = eligible.word(at); word !== 0; word &= word - 1) {
      const node = nodes.at(at * 32 + lowestBit(word))
      if (node === undefined || node.lackForGood(ask.use) !== undefined) continue
      const share = node.drainShare(ask.use)
      const isNearer = share < least || (share === least && node.taken < best!.taken)
      if (best === undefined || isNearer) {
        best = node
        least = share
      }
    }
  }
  return best
}

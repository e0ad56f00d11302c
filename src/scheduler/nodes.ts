/** All nodes, and those with equally many attempts together, so that the emptiest is found without looking at all. */
import type { Member } from "../schema/index.ts"
import type { Session } from "../state/index.ts"
import type { Use } from "./ask.ts"
import { Bits } from "./bits.ts"
import { NodeBoard } from "./node-board.ts"
import type { PlacementInput } from "./types.ts"

export class Nodes {
  readonly #byId = new Map<number, NodeBoard>()
  /** By position: members in the order of their ids; nobody where one was removed. */
  #places: (NodeBoard | undefined)[] = []
  /** By attempts on them: positions. */
  #levels: Bits[] = []
  readonly #levelSizes: number[] = []
  /** The level that a node stands in. */
  readonly #levelOf = new Map<NodeBoard, number>()
  /** Nodes that have more room than when lanes looked last. */
  readonly improved = new Set<NodeBoard>()
  /** Nodes that are another, or are to be looked at as if they were. */
  readonly changed = new Set<NodeBoard>()
  /** Positions do not mean what they meant: every lane must begin anew. */
  isReordered = false
  /** Counts changes of any kind. */
  version = 0

  get size(): number {
    return this.#places.length
  }

  get highestLevel(): number {
    return this.#levels.length - 1
  }

  /** Undefined when no node has so many attempts. */
  level(taken: number): Bits | undefined {
    return (this.#levelSizes[taken] ?? 0) > 0 ? this.#levels[taken] : undefined
  }

  at(position: number): NodeBoard | undefined {
    return this.#places[position]
  }

  get(id: number): NodeBoard | undefined {
    return this.#byId.get(id)
  }

  /** Members in the order of their ids. */
  *members(): Generator<NodeBoard & { readonly member: Member }> {
    for (const node of this.#places) {
      if (node?.member !== undefined) yield node as NodeBoard & { readonly member: Member }
    }
  }

  clear(): void {
    this.#byId.clear()
    this.#places = []
    this.#levels = []
    this.#levelSizes.length = 0
    this.#levelOf.clear()
    this.improved.clear()
    this.changed.clear()
    this.isReordered = true
    this.version++
  }

  /** Also of an id that is no member. */
  of(id: number): NodeBoard {
    const known = this.#byId.get(id)
    if (known !== undefined) return known
    const node = new NodeBoard(id)
    this.#byId.set(id, node)
    return node
  }

  setMember(id: number, member: Member | undefined): NodeBoard {
    const node = this.of(id)
    node.become(member)
    if (member === undefined) this.#unplace(node)
    else if (node.position < 0) this.#place(node)
    this.touch(node)
    return node
  }

  setSession(id: number, session: Session | undefined): NodeBoard {
    const node = this.of(id)
    node.session = session
    this.touch(node)
    return node
  }

  touch(node: NodeBoard): void {
    this.changed.add(node)
    this.#settle(node)
  }

  add(node: NodeBoard, use: Use, sign: 1 | -1): void {
    this.version++
    if (use.slots === 0) return
    node.add(use, sign)
    if (sign < 0) this.improved.add(node)
    this.#settle(node)
  }

  addClaim(node: NodeBoard, use: Use, sign: 1 | -1): void {
    node.claimedSlots += sign * use.slots
    this.add(node, use, sign)
  }

  /** A placement under way has become an attempt. */
  keepClaim(node: NodeBoard, use: Use): void {
    node.claimedSlots -= use.slots
    this.#settle(node)
  }

  /** Takes in what is no row. */
  sync({ facts, silent, full, avoid }: Partial<PlacementInput>): void {
    for (const node of this.members()) {
      const isSilent = silent?.has(node.id) === true
      const isFull = full?.get(node.id)
      const isOther = node.isSilent !== isSilent || node.full !== isFull
      if (node.setLoad(facts?.get(node.id)) || isOther) {
        node.isSilent = isSilent
        node.full = isFull
        this.touch(node)
      }
      node.isAvoided = node.id === avoid
    }
  }

  #place(node: NodeBoard): void {
    const last = this.#places.findLast((one) => one !== undefined)
    if (last === undefined || last.id < node.id) {
      node.position = this.#places.length
      this.#places.push(node)
      return
    }
    // Ids grow, so this happens only where rows come in another order than that of the log.
    const all = [...this.members(), node].toSorted((a, b) => a.id - b.id)
    this.#places = all
    this.#levels = []
    this.#levelSizes.length = 0
    this.#levelOf.clear()
    for (const [position, one] of all.entries()) {
      one.position = position
      this.#settle(one)
    }
    this.isReordered = true
  }

  #unplace(node: NodeBoard): void {
    if (node.position < 0) return
    this.#leaveLevel(node)
    this.#places[node.position] = undefined
    node.position = -1
  }

  #leaveLevel(node: NodeBoard): void {
    const level = this.#levelOf.get(node)
    if (level === undefined) return
    this.#levelOf.delete(node)
    this.#levels[level]!.delete(node.position)
    this.#levelSizes[level]!--
  }

  /** To the level of its attempts. */
  #settle(node: NodeBoard): void {
    this.version++
    if (node.position < 0) return
    const level = node.taken
    if (this.#levelOf.get(node) === level) return
    this.#leaveLevel(node)
    while (this.#levels.length <= level) {
      this.#levels.push(new Bits())
      this.#levelSizes.push(0)
    }
    this.#levelOf.set(node, level)
    this.#levels[level]!.add(node.position)
    this.#levelSizes[level]!++
  }
}

/** One node as the scheduler sees it: what it is, what runs there, what is left. */
import { gpusOf, type Member } from "../schema/index.ts"
import { firstUnmet, type Session, type TaskRef } from "../state/index.ts"
import type { Ask, Use } from "./ask.ts"
import type { NodeLoad } from "./types.ts"

/** What attempts take together. */
class Sum {
  slots = 0
  cores = 0
  memoryBytes = 0
  gpus = 0
  /** Attempts that want the node for themselves, and all that are exclusive in one way or the other. */
  alone = 0
  exclusive = 0

  add(use: Use, sign: 1 | -1): void {
    this.slots += sign * use.slots
    this.cores += sign * use.cores
    this.memoryBytes += sign * use.memoryBytes
    this.gpus += sign * use.gpus
    if (use.exclusive !== undefined) this.exclusive += sign
    if (use.exclusive === "node") this.alone += sign
  }
}

export interface LiveTask {
  readonly ref: TaskRef
  readonly use: Use
}

/** Why a node takes an attempt not now, in the order of looking. */
export type Lack = "alone" | "exclusive" | "slots" | "cores" | "memoryBytes" | "gpus"

export class NodeBoard {
  readonly id: number
  /** Among all members, by id; -1: no member (any more). */
  position = -1
  member: Member | undefined
  gpus = 0
  session: Session | undefined
  /** By the rows' key. */
  readonly live = new Map<string, LiveTask>()
  /** Of live attempts and of placements under way. */
  readonly used = new Sum()
  /** Only of placements under way. */
  claimedSlots = 0
  /** Of attempts that nobody waits for to end. */
  readonly #lasting = new Sum()
  // What is no row: given with each question.
  isSilent = false
  full: string | undefined
  isAvoided = false
  #load: NodeLoad | undefined

  constructor(id: number) {
    this.id = id
  }

  get name(): string {
    return this.member?.name ?? `member ${this.id}`
  }

  get capacity(): number {
    return this.#load?.capacity ?? this.member?.capacity ?? 0
  }

  /** Slots that are taken: by rows and placements under way, or more, by the node's own word. */
  get taken(): number {
    const { slots } = this.used
    return this.#load === undefined
      ? slots
      : Math.max(slots - this.claimedSlots, this.#load.running) + this.claimedSlots
  }

  become(member: Member | undefined): void {
    this.member = member
    this.gpus = member === undefined ? 0 : gpusOf(member.labels)
  }

  /** Answers whether it was another. */
  setLoad(load: NodeLoad | undefined): boolean {
    const before = this.#load
    this.#load = load
    return before?.running !== load?.running || before?.capacity !== load?.capacity
  }

  add(use: Use, sign: 1 | -1): void {
    this.used.add(use, sign)
    if (use.isLasting) this.#lasting.add(use, sign)
  }

  /** Whether what an attempt asks for in general is there: everything but room. */
  isEligible(ask: Ask): boolean {
    const { member, session } = this
    if (member === undefined || member.dead !== undefined) return false
    if (session?.state !== "up" || this.isSilent) return false
    if ((member.cordon !== undefined || this.full !== undefined) && !ask.isTied) return false
    return firstUnmet(ask.needs, member) === undefined
  }

  /** The first thing that is lacking for one more attempt. */
  lack(use: Use): Lack | undefined {
    return this.#lack(use, { sum: this.used, taken: this.taken })
  }

  /** The same once all has ended that ends by itself. */
  lackForGood(use: Use): Lack | undefined {
    return this.#lack(use, { sum: this.#lasting, taken: this.#lasting.slots })
  }

  #lack(use: Use, { sum, taken }: { readonly sum: Sum; readonly taken: number }): Lack | undefined {
    if (use.slots === 0) return undefined
    const { member } = this
    if (member === undefined) return "slots"
    if (sum.alone > 0 || (use.exclusive === "node" && sum.slots > 0)) return "alone"
    if (use.exclusive !== undefined && sum.exclusive > 0) return "exclusive"
    if (taken >= this.capacity) return "slots"
    if (use.cores > 0 && sum.cores + use.cores > member.cores) return "cores"
    if (use.memoryBytes > 0 && sum.memoryBytes + use.memoryBytes > member.memoryBytes) {
      return "memoryBytes"
    }
    return use.gpus > 0 && sum.gpus + use.gpus > this.gpus ? "gpus" : undefined
  }

  /** Which share of what runs here must end before it fits: what is nearest has the least. */
  drainShare({ exclusive, cores, memoryBytes, gpus }: Use): number {
    const { used, member } = this
    if (member === undefined) return Infinity
    if (exclusive === "node" || used.alone > 0) return 1
    const shares = [
      share(this.taken + 1 - this.capacity, this.taken),
      exclusive !== undefined && used.exclusive > 0 ? 1 : 0,
      cores > 0 ? share(used.cores + cores - member.cores, used.cores) : 0,
      memoryBytes > 0
        ? share(used.memoryBytes + memoryBytes - member.memoryBytes, used.memoryBytes)
        : 0,
      gpus > 0 ? share(used.gpus + gpus - this.gpus, used.gpus) : 0,
    ]
    return Math.max(...shares)
  }

  /** Whether `other` may still come here without keeping `head`, for which the node is held, waiting longer: it takes
   *  nothing that the head lacks, and leaves what it needs. */
  leavesRoom(other: Use, head: Use): boolean {
    const { member } = this
    if (other.slots === 0) return true
    if (member === undefined || other.exclusive === "node" || head.exclusive === "node")
      return false
    if (other.exclusive !== undefined && head.exclusive !== undefined) return false
    const { used } = this
    return (
      leaves(1, 1, this.capacity - this.taken) &&
      leaves(other.cores, head.cores, member.cores - used.cores) &&
      leaves(other.memoryBytes, head.memoryBytes, member.memoryBytes - used.memoryBytes) &&
      leaves(other.gpus, head.gpus, this.gpus - used.gpus)
    )
  }
}

/** Whether so much is left for the other. */
function leaves(own: number, wanted: number, free: number): boolean {
  return own === 0 || wanted === 0 || free - own >= wanted
}

function share(missing: number, used: number): number {
  return missing <= 0 ? 0 : missing / Math.max(used, missing)
}

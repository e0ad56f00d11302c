/** What waits for a node, in the order in which it is to be placed: priority, then the run with the fewest slots, then
 *  the oldest. Lanes for which no node has room rest until one improves. */
import { asksMore, leastUse, type Use } from "./ask.ts"
import { Heap } from "./heap.ts"
import { type Entry, Lane, type LaneAsk, laneKey } from "./lane.ts"
import type { NodeBoard } from "./node-board.ts"
import type { Nodes } from "./nodes.ts"
import { fitsSomewhere, type Hold, nearestToFit } from "./pick.ts"
import type { GroupBoard, RunBoard } from "./run-board.ts"

/** Who has got nothing for so long, although it waits, has a node kept for it. State time. */
export const patienceMs = 10_000
/** Lanes without work that are kept, since the same is often asked again. */
const idleLanesMax = 64

function isBefore(one: Lane, other: Lane): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority
  const [a, b] = [one.first!, other.first!]
  if (a.slots !== b.slots) return a.slots < b.slots
  return isOlder(a, b)
}

function isOlder(a: Entry, b: Entry): boolean {
  if (a.run.age !== b.run.age) return a.run.age < b.run.age
  return a.groups[0]!.position < b.groups[0]!.position
}

function waitsLonger(one: Lane, other: Lane): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority
  if (one.since !== other.since) return one.since < other.since
  return isOlder(one.first!, other.first!)
}

/** The least that anybody who waits asks, of each kind. */
function leastOf(lanes: Iterable<Lane>): Use {
  const uses: Use[] = []
  for (const { ask, first } of lanes) {
    if (first !== undefined && ask.use.slots > 0) uses.push(ask.use)
  }
  return leastUse(uses)
}

function longest(one: Lane | undefined, other: Lane): Lane {
  return one === undefined || waitsLonger(other, one) ? other : one
}

export class Queue {
  readonly #nodes: Nodes
  readonly #lanes = new Map<string, Lane>()
  readonly #idle = new Set<Lane>()
  readonly #open = new Heap<Lane>(isBefore)
  /** No node has room; without those that would not fit even if all ended that ends by itself. */
  readonly #stuck = new Set<Lane>()
  readonly #entryOf = new Map<GroupBoard, Entry>()
  readonly #entriesOf = new Map<RunBoard, Set<Entry>>()
  /** Runs that hold more or fewer slots than when they were ranked. */
  readonly #moved = new Set<RunBoard>()
  /** Lanes that found room only on a node that is kept for another. */
  readonly #denied = new Set<Lane>()
  readonly #aside: Entry[] = []
  #hold: Hold | undefined
  /** Goes before others of its priority, once. */
  #turn: Lane | undefined

  constructor(nodes: Nodes) {
    this.#nodes = nodes
  }

  /** Chosen at the last decision. */
  get hold(): Hold | undefined {
    return this.#hold
  }

  clear(): void {
    this.#lanes.clear()
    this.#idle.clear()
    this.#open.clear()
    this.#stuck.clear()
    this.#entryOf.clear()
    this.#entriesOf.clear()
    this.#moved.clear()
    this.#denied.clear()
    this.#aside.length = 0
    this.#hold = undefined
    this.#turn = undefined
  }

  // ---------------------------------------------------------------- in and out

  /** Puts a group where it belongs after something of it has changed. */
  place(group: GroupBoard): void {
    const { run, definition } = group
    const anchor = definition.with === undefined ? undefined : run.anchor(definition.with)
    const isAnchored = definition.with === undefined || anchor !== undefined
    const waits = run.run !== undefined && group.available > 0 && !group.isFull && isAnchored
    const entry = this.#entryOf.get(group)
    if (entry !== undefined && waits && entry.lane.anchor === anchor) return
    if (entry !== undefined) this.#leave(group, entry)
    if (waits) this.#join(group, { ask: group.ask, priority: run.priority, anchor })
  }

  #join(group: GroupBoard, asked: LaneAsk): void {
    const { run } = group
    const lane = this.laneOf(asked)
    this.#idle.delete(lane)
    let entry = lane.byRun.get(run)
    if (entry === undefined) {
      entry = { place: -1, lane, run, groups: [], slots: run.slots }
      lane.byRun.set(run, entry)
      const entries = this.#entriesOf.get(run) ?? new Set()
      this.#entriesOf.set(run, entries.add(entry))
    }
    const after = entry.groups.findIndex((other) => other.position > group.position)
    entry.groups.splice(after < 0 ? entry.groups.length : after, 0, group)
    this.#entryOf.set(group, entry)
    entry.slots = run.slots
    lane.entries.put(entry)
    this.#rank(lane)
  }

  #leave(group: GroupBoard, entry: Entry): void {
    const { lane, run, groups } = entry
    this.#entryOf.delete(group)
    groups.splice(groups.indexOf(group), 1)
    if (groups.length === 0) {
      lane.entries.delete(entry)
      lane.byRun.delete(run)
      const entries = this.#entriesOf.get(run)
      entries?.delete(entry)
      if (entries?.size === 0) this.#entriesOf.delete(run)
    }
    this.#rank(lane)
  }

  drop(run: RunBoard): void {
    for (const entry of this.#entriesOf.get(run) ?? []) {
      for (const group of entry.groups.slice()) this.#leave(group, entry)
    }
    this.#moved.delete(run)
  }

  /** Its share is another. */
  moved(run: RunBoard): void {
    if (this.#entriesOf.has(run)) this.#moved.add(run)
  }

  /** Also when nothing waits in it. */
  laneOf(asked: LaneAsk): Lane {
    const key = laneKey(asked)
    const known = this.#lanes.get(key)
    if (known !== undefined) return known
    const lane = new Lane(key, asked)
    lane.survey(this.#nodes)
    this.#lanes.set(key, lane)
    this.#rest(lane)
    return lane
  }

  #rest(lane: Lane): void {
    this.#idle.add(lane)
    if (this.#idle.size <= idleLanesMax) return
    const [oldest] = this.#idle
    this.#idle.delete(oldest!)
    this.#lanes.delete(oldest!.key)
  }

  #rank(lane: Lane): void {
    if (lane.first === undefined) {
      this.#open.delete(lane)
      this.#stuck.delete(lane)
      this.#denied.delete(lane)
      lane.isOpen = true
      this.#rest(lane)
    } else if (lane.isOpen) this.#open.put(lane)
  }

  #reopen(lane: Lane): void {
    this.#denied.delete(lane)
    if (lane.isOpen) return
    lane.isOpen = true
    this.#stuck.delete(lane)
    if (lane.first !== undefined) this.#open.put(lane)
  }

  // ---------------------------------------------------------------- at a decision

  /** Takes in what has changed since the last question. */
  refresh(): void {
    const { changed, improved } = this.#nodes
    if (this.#nodes.isReordered) {
      for (const lane of this.#lanes.values()) {
        lane.survey(this.#nodes)
        this.#reopen(lane)
      }
      this.#nodes.isReordered = false
    } else {
      for (const lane of this.#lanes.values()) this.#look(lane, { changed, improved })
    }
    changed.clear()
    improved.clear()
    for (const run of this.#moved) {
      for (const entry of this.#entriesOf.get(run) ?? []) {
        entry.slots = run.slots
        entry.lane.entries.put(entry)
        this.#rank(entry.lane)
      }
    }
    this.#moved.clear()
  }

  #look(
    lane: Lane,
    nodes: { readonly changed: Iterable<NodeBoard>; readonly improved: Iterable<NodeBoard> },
  ): void {
    let isBetter = false
    for (const node of nodes.changed) isBetter = lane.look(node) || isBetter
    for (const { position } of nodes.improved) {
      if (position < 0 || !lane.eligible.has(position)) continue
      lane.maybe.add(position)
      isBetter = true
    }
    if (isBetter) this.#reopen(lane)
  }

  /** Whom patience helps: a node is kept for the lane that has waited longest of those for which none has room; and the
   *  one that has room now is placed first where others would take it piece by piece. Follows from the rows alone. */
  chooseHold(now: number): void {
    this.#hold = undefined
    this.#turn = undefined
    for (const lane of this.#denied) this.#reopen(lane)
    const least = leastOf(this.#lanes.values())
    for (const lane of this.#open.items().slice()) {
      if (lane.ask.use.slots === 0) continue
      lane.since = lane.first!.groups[0]!.waitingSince()
      if (now - lane.since < patienceMs) continue
      if (!fitsSomewhere(this.#nodes, lane)) this.block(lane)
      else if (asksMore(lane.ask.use, least)) this.#turn = longest(this.#turn, lane)
    }
    const overdue: Lane[] = []
    for (const lane of this.#stuck) {
      lane.since = lane.first!.groups[0]!.waitingSince()
      if (now - lane.since >= patienceMs) overdue.push(lane)
    }
    for (const lane of overdue.toSorted((a, b) => (waitsLonger(a, b) ? -1 : 1))) {
      const node = nearestToFit(this.#nodes, lane)
      if (node !== undefined) {
        const isLast = this.#turn !== undefined && waitsLonger(this.#turn, lane)
        this.#hold = { lane, node, except: isLast ? this.#turn : undefined }
        return
      }
      // Not before a node improves or changes.
      this.#stuck.delete(lane)
    }
  }

  /** What is to be placed next. */
  best(): Entry | undefined {
    for (;;) {
      const lane = this.#open.first()
      const entry = lane?.first
      if (lane === undefined || entry === undefined) return undefined
      const turn = this.#turn
      if (turn?.isOpen === true && turn.priority >= lane.priority) {
        this.#turn = undefined
        if (turn.first !== undefined) return turn.first
      }
      if (entry.slots === entry.run.slots) return entry
      entry.slots = entry.run.slots
      lane.entries.put(entry)
      this.#rank(lane)
    }
  }

  /** No node has room for anything of the lane now. */
  block(lane: Lane, isDenied = false): void {
    this.#open.delete(lane)
    lane.isOpen = false
    if (isDenied) this.#denied.add(lane)
    if (lane.first !== undefined) this.#stuck.add(lane)
  }

  /** Not to be placed in this decision, whoever has room. */
  setAside(entry: Entry): void {
    entry.lane.entries.delete(entry)
    this.#aside.push(entry)
    if (entry.lane.first === undefined) this.#open.delete(entry.lane)
    else this.#rank(entry.lane)
  }

  /** Ends a decision. */
  restore(): void {
    for (const entry of this.#aside.splice(0)) {
      if (entry.groups.length === 0) continue
      this.#idle.delete(entry.lane)
      this.#lanes.set(entry.lane.key, entry.lane)
      entry.slots = entry.run.slots
      entry.lane.entries.put(entry)
      this.#rank(entry.lane)
    }
  }
}

/** What all tasks of a run write, from all of its nodes, as one stream in the order of time. Everything lies on disks, so
 *  whoever reads slowly holds nothing but his own reading up. */
import { Bell } from "./bell.ts"
import type { NodeContext } from "./context.ts"
import { BlobFeed } from "./log-blobs.ts"
import { type FedLane, NodeFeed, titleOf } from "./log-feed.ts"
import { Lane, type Stretch, type StreamWord } from "./log-lane.ts"
import { Merge } from "./log-merge.ts"
import type { LogSource } from "./log-operations.ts"
import { SourceWatch } from "./log-sources.ts"

export interface MergedQuery {
  /** Tasks or whole groups; none: all roles. */
  readonly tasks: readonly string[]
  readonly streams: readonly StreamWord[]
  readonly follow: boolean
  /** Only what came since (wall clock of this node, ms), and of each stream at most so many last lines. */
  readonly since?: number | undefined
  readonly lines?: number | undefined
  /** What the reader has already: the next byte of each stream. */
  readonly positions: readonly Position[]
}

export interface Position {
  readonly task: string
  readonly attempt: number
  readonly stream: StreamWord
  readonly next: number
}

export type MergedRecord =
  | ({ readonly type: "output" } & Stretch)
  /** A sentence: a node is away, or something is gone. */
  | {
      readonly type: "notice"
      readonly at: number
      readonly message: string
      readonly node?: string
    }
  /** All is said. `lost`: of so many attempts something is missing. */
  | { readonly type: "end"; readonly at: number; readonly run: string; readonly lost: number }

/** All lanes together hold about this. */
const bufferBytes = 8 << 20
const laneBytes = { least: 4 << 10, most: 256 << 10 }
/** Streams that are read at once; those that began later wait. */
const lanesMax = 512
/** What begins so much later than the oldest line need not be opened yet, ms. */
const openAheadMs = 2000
const idleMs = 1000

type Feed = Pick<NodeFeed, "drained">

interface Waiting {
  readonly source: LogSource
  readonly isLate: boolean
  /** By our clock, ms. */
  readonly startedAt: number
}

export class MergedLog {
  readonly #context: NodeContext
  readonly #query: MergedQuery
  readonly #signal: AbortSignal
  readonly #bell: Bell
  readonly #merge: Merge
  readonly #watch: SourceWatch
  readonly #nodes = new Map<string, NodeFeed>()
  readonly #feeds = new Map<Lane, Feed>()
  readonly #positions: ReadonlyMap<string, number>
  /** Found, and not yet placed in time. */
  readonly #found: { readonly source: LogSource; readonly isLate: boolean }[] = []
  /** Not yet opened; the latest first. */
  #waiting: Waiting[] = []
  #records: MergedRecord[] = []
  #listed = false
  #failure: { readonly error: unknown } | undefined
  #id: string
  #lost = 0

  constructor(context: NodeContext, run: string, query: MergedQuery, signal: AbortSignal) {
    this.#context = context
    this.#query = query
    this.#signal = signal
    this.#id = run
    this.#bell = new Bell(context.parts.clock)
    this.#merge = new Merge({ patient: !query.follow })
    this.#positions = new Map(query.positions.map((one) => [keyOf(one), one.next]))
    this.#watch = new SourceWatch({
      context,
      run,
      tasks: query.tasks,
      signal,
      found: (sources, isLate) => {
        for (const source of sources) this.#found.push({ source, isLate })
        this.#bell.ring()
      },
      notice: (message) => this.#notice(message, {}),
    })
  }

  /** ERR_RUN_NOT_FOUND, ERR_TASK_NOT_FOUND. Answers the run's id. */
  async begin(): Promise<string> {
    const { run, finished } = await this.#watch.list()
    this.#id = run
    if (!this.#query.follow || finished) this.#listed = true
    else void this.#follow()
    return run
  }

  async #follow(): Promise<void> {
    try {
      await this.#watch.follow()
      this.#listed = true
    } catch (error) {
      this.#failure = { error }
    }
    this.#bell.ring()
  }

  async *records(): AsyncGenerator<MergedRecord, void, undefined> {
    const { clock } = this.#context.parts
    for (;;) {
      this.#signal.throwIfAborted()
      if (this.#failure) throw this.#failure.error
      await this.#place()
      this.#open()
      yield* this.#records.splice(0)
      const next = this.#merge.next(clock.boottime())
      if ("stretch" in next) {
        yield { type: "output", ...next.stretch }
        if (next.lane.buffered <= this.#laneBytes() / 2) this.#feeds.get(next.lane)?.drained()
        continue
      }
      this.#sweep()
      const isOver = this.#merge.lanes.size === 0 && this.#waiting.length + this.#found.length === 0
      if (isOver && this.#listed && this.#records.length === 0) break
      if (!isOver && this.#waiting.length > 0 && this.#merge.lanes.size === 0) continue
      await this.#bell.next(Math.min(next.waitMs, idleMs), this.#signal)
    }
    yield { type: "end", at: clock.now(), run: this.#id, lost: this.#lost }
  }

  /** Where they stand in time is known when their node's clock is. */
  async #place(): Promise<void> {
    if (this.#found.length === 0) return
    const found = this.#found.splice(0)
    const names = new Map(found.map(({ source }) => [source.node, source]))
    // All at once: one that does not answer costs a moment, not one for each.
    await Promise.all(
      [...names.values()].map(async (source) => await this.#feedOf(source).aheadMs()),
    )
    for (const { source, isLate } of found) {
      const aheadMs = await this.#feedOf(source).aheadMs()
      const { since } = this.#query
      const endedAt = source.endedAt === undefined ? undefined : source.endedAt - aheadMs
      if (since !== undefined && source.ended && endedAt !== undefined && endedAt < since) continue
      // Nothing was started, so nothing was written.
      if (source.ended && source.startedAt === undefined) continue
      const startedAt = (source.startedAt ?? this.#context.parts.clock.now() + aheadMs) - aheadMs
      this.#waiting.push({ source, isLate, startedAt })
    }
    this.#waiting.sort((a, b) => b.startedAt - a.startedAt)
  }

  #feedOf({ node, peer }: LogSource): NodeFeed {
    const known = this.#nodes.get(node)
    if (known) return known
    const feed = new NodeFeed(
      { name: node, peer },
      {
        context: this.#context,
        run: this.#id,
        follow: this.#query.follow,
        signal: this.#signal,
        bell: this.#bell,
        laneBytes: () => this.#laneBytes(),
        notice: (message, about) => this.#notice(message, about),
        absent: async (fed) => await this.#absent(fed),
        renew: async (fed) => await this.#renew(fed),
      },
    )
    this.#nodes.set(node, feed)
    return feed
  }

  #laneBytes(): number {
    const share = bufferBytes / Math.max(1, this.#merge.lanes.size)
    return Math.round(Math.min(Math.max(share, laneBytes.least), laneBytes.most))
  }

  #open(): void {
    for (let next = this.#waiting.at(-1); next; next = this.#waiting.at(-1)) {
      if (this.#merge.lanes.size >= lanesMax) this.#sweep()
      if (this.#merge.lanes.size >= lanesMax) return
      const oldest = this.#merge.oldest()
      const isFar = oldest !== undefined && next.startedAt > oldest + openAheadMs
      // Of lanes without a head nobody knows yet where in time they are: they come first.
      if (!this.#query.follow && (isFar || (oldest === undefined && this.#isBusy(next)))) return
      this.#waiting.pop()
      for (const stream of this.#query.streams) this.#openLane(next, stream)
    }
  }

  #isBusy(next: Waiting): boolean {
    for (const lane of this.#merge.lanes) {
      if (!lane.complete && lane.seenAt + openAheadMs < next.startedAt) return true
    }
    return false
  }

  #openLane({ source, isLate, startedAt }: Waiting, stream: StreamWord): void {
    const { task, attempt, node } = source
    const next = this.#positions.get(keyOf({ task, attempt, stream }))
    const { since, lines } = this.#query
    const begins = next === undefined && !isLate
    const whole = begins && since === undefined && lines === undefined
    const lane = new Lane(
      { task, attempt, node, stream },
      { next: whole || (next === undefined && isLate) ? 0 : next, at: startedAt },
    )
    this.#merge.add(lane)
    const fed: FedLane = { lane, source, ...(begins && { since, lines }) }
    const log = source.collected.find(({ path }) => path === `${stream}.log`)
    if (log) return void this.#pour(fed, log)
    const feed = this.#feedOf(source)
    this.#feeds.set(lane, feed)
    feed.add(fed)
  }

  async #pour(fed: FedLane, log: LogSource["collected"][number]): Promise<void> {
    try {
      const aheadMs = await this.#feedOf(fed.source).aheadMs()
      const feed = new BlobFeed(fed, log, {
        context: this.#context,
        signal: this.#signal,
        bell: this.#bell,
        laneBytes: () => this.#laneBytes(),
        aheadMs,
      })
      this.#feeds.set(fed.lane, feed)
      await feed.pour()
    } catch (error) {
      if (this.#signal.aborted) return
      fed.lane.complete = true
      const reason = error instanceof Error ? error.message : String(error)
      this.#notice(`what ${titleOf(fed.lane)} wrote is left out: ${reason}`, { lost: 1 })
    }
  }

  async #renew(fed: FedLane): Promise<void> {
    const { task, attempt } = fed.lane.name
    const now = (await this.#watch.refresh([task])).find((one) => one.attempt === attempt)
    if (now !== undefined) fed.source = now
  }

  /** It may have been collected since; else it is gone. */
  async #absent(fed: FedLane): Promise<void> {
    const { lane } = fed
    const { task, attempt, stream } = lane.name
    const now = (await this.#watch.refresh([task])).find((one) => one.attempt === attempt)
    const log = now?.collected.find(({ path }) => path === `${stream}.log`)
    if (now && log) {
      // Its node has nothing more to say of it, and must not ask again.
      const other = new Lane(lane.name, { next: lane.next, at: lane.seenAt })
      lane.complete = true
      this.#merge.add(other)
      return void this.#pour({ ...fed, lane: other, source: now }, log)
    }
    // A stream that nobody wrote to leaves no file; of one that retention took the node would have said so.
    lane.complete = true
  }

  #notice(message: string, about: { readonly node?: string; readonly lost?: number }): void {
    this.#lost += about.lost ?? 0
    const { node } = about
    const at = this.#context.parts.clock.now()
    this.#records.push({ type: "notice", at, message, ...(node !== undefined && { node }) })
    this.#bell.ring()
  }

  #sweep(): void {
    this.#merge.sweep()
    for (const lane of this.#feeds.keys()) {
      if (!this.#merge.lanes.has(lane)) this.#feeds.delete(lane)
    }
  }
}

function keyOf({ task, attempt, stream }: Omit<Position, "next">): string {
  return `${task}\n${attempt}\n${stream}`
}

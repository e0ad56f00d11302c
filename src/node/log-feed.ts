/** Fills lanes: asks a node for all streams that are open there at once, as fast as they are read and no faster. */
import { isTroupeError, type PeerRef } from "../schema/index.ts"
import { type TailPiece, type TailStream, tailStreamsMax } from "../wire/index.ts"
import { Bell } from "./bell.ts"
import type { NodeContext } from "./context.ts"
import type { Lane } from "./log-lane.ts"
import type { LogSource } from "./log-operations.ts"

/** A stream that is read from the node where it was written. */
export interface FedLane {
  readonly lane: Lane
  source: LogSource
  /** Boot-time clock: not before is the leader asked how its attempt stands. */
  askAgainAt?: number
  /** Where it begins, until the first answer. */
  readonly since?: number | undefined
  readonly lines?: number | undefined
}

export interface FeedParts {
  readonly context: Pick<NodeContext, "job" | "parts" | "options">
  readonly run: string
  readonly follow: boolean
  readonly signal: AbortSignal
  /** Something came, or will not come. */
  readonly bell: Bell
  /** Bytes that one lane may hold. */
  readonly laneBytes: () => number
  readonly notice: (
    message: string,
    about: { readonly node: string; readonly lost?: number },
  ) => void
  /** Its node has nothing of it, though it has ended. */
  readonly absent: (fed: FedLane) => Promise<void>
  /** Brings its source up to date. */
  readonly renew: (fed: FedLane) => Promise<void>
}

/** Silence of a node that is followed is looked into this often. */
const waitMs = 1000
/** So long a node may be away before it is said. */
const sayAwayMs = 2000
/** So long is waited for one whose past is read. */
const giveUpMs = 10_000
const retryMs = { first: 100, most: 2000 }
/** An attempt of which its node has nothing is looked up this often. */
const renewMs = 250
const measureMs = 1500

export class NodeFeed {
  readonly #node: string
  readonly #peer: PeerRef
  readonly #parts: FeedParts
  readonly #fed = new Set<FedLane>()
  readonly #drained: Bell
  /** Attempts of which it was said that they were removed: both streams were. */
  readonly #told = new Set<string>()
  /** By which its clock is ahead of ours, ms. */
  #aheadMs = 0
  #measured: Promise<number> | undefined
  #isRunning = false
  #failingSince: number | undefined
  #isAway = false
  /** Of what a lane may hold, that is asked for at once. */
  #share = 1

  constructor(node: { readonly name: string; readonly peer: PeerRef }, parts: FeedParts) {
    this.#node = node.name
    this.#peer = node.peer
    this.#parts = parts
    this.#drained = new Bell(parts.context.parts.clock)
  }

  /** A lane has room again. */
  drained(): void {
    this.#drained.ring()
  }

  /** Half of the way there and back is as good a guess as any. 0 when it does not answer. */
  async aheadMs(): Promise<number> {
    this.#measured ??= this.#measure().then(
      (ms) => (this.#aheadMs = ms),
      () => 0,
    )
    return await this.#measured
  }

  async #measure(): Promise<number> {
    const { context, run, signal } = this.#parts
    const { clock, mesh } = context.parts
    if (this.#peer.peerId === mesh.peerId || this.#peer.peerId === "") return 0
    const limit = AbortSignal.any([signal, clock.timeoutSignal(measureMs, "asking for the time")])
    const request = { type: "tail", run, streams: [], max: 0, waitMs: 0 } as const
    const before = clock.now()
    const answer = await context.job(this.#peer, request, { signal: limit })
    return answer.type === "tail" ? answer.at - (before + clock.now()) / 2 : 0
  }

  add(fed: FedLane): void {
    fed.lane.away = this.#isAway
    this.#fed.add(fed)
    if (this.#isRunning) return
    this.#isRunning = true
    void this.#work()
  }

  async #work(): Promise<void> {
    const { signal, context } = this.#parts
    const { clock } = context.parts
    let pause = retryMs.first
    try {
      await this.aheadMs()
      while (!signal.aborted && this.#fed.size > 0) {
        const outcome = await this.#ask()
        if (outcome === "failed") {
          await clock.sleep(pause, { signal })
          pause = Math.min(pause * 2, retryMs.most)
          continue
        }
        pause = retryMs.first
        // All are full, or the rest is silent: whoever reads rings.
        if (outcome === "idle") await this.#drained.next(waitMs / 4, signal)
      }
    } catch (error) {
      if (!signal.aborted) this.#giveUp(error instanceof Error ? error.message : String(error))
    } finally {
      this.#isRunning = false
    }
  }

  async #ask(): Promise<"came" | "idle" | "failed"> {
    for (const fed of this.#fed) if (fed.lane.complete) this.#fed.delete(fed)
    const most = this.#parts.laneBytes()
    const wanting = [...this.#fed].filter(({ lane }) => lane.buffered <= most / 2)
    if (wanting.length === 0) return "idle"
    const asked = wanting.slice(0, tailStreamsMax)
    const isAll = asked.length === this.#fed.size
    const { context, run, follow, signal } = this.#parts
    const { clock } = context.parts
    const patience = follow && isAll && !this.#isAway ? waitMs : 0
    const limitMs = context.options.timing.requestMs + patience
    const limit = AbortSignal.any([signal, clock.timeoutSignal(limitMs, `logs of ${this.#node}`)])
    const streams = asked.map((fed) => streamOf(fed, this.#aheadMs))
    const max = Math.ceil(most * this.#share)
    const request = { type: "tail", run, streams, max, waitMs: patience } as const
    // An answer may take long; that it does is said before it is given up.
    const silent = clock.after(patience + sayAwayMs, () => this.#goAway("no answer yet"))
    try {
      if (this.#peer.peerId === "") throw new Error("it is no member any more")
      const answer = await context.job(this.#peer, request, { signal: limit })
      if (answer.type !== "tail") throw new Error("it answers something else")
      this.#heard()
      let bytes = 0
      for (const piece of answer.pieces) {
        bytes += piece.data.length
        const fed = asked[piece.place]
        if (fed) await this.#take(fed, piece, answer.at)
      }
      // Asked first next time: whoever did not fit into this answer.
      for (const fed of asked.slice(0, answer.pieces.length)) {
        if (this.#fed.delete(fed) && !fed.lane.complete) this.#fed.add(fed)
      }
      this.#parts.bell.ring()
      return bytes > 0 || patience > 0 ? "came" : "idle"
    } catch (error) {
      signal.throwIfAborted()
      this.#failed(error)
      return "failed"
    } finally {
      silent.cancel()
    }
  }

  async #take(fed: FedLane, piece: TailPiece, at: number): Promise<void> {
    const { lane, source } = fed
    const { follow, notice, absent } = this.#parts
    if (piece.state === "removed") {
      const when = new Date(piece.removedAt ?? at).toISOString()
      const key = `${lane.name.task}/${lane.name.attempt}`
      if (source.startedAt !== undefined && !this.#told.has(key)) {
        this.#told.add(key)
        notice(
          `what ${titleOf(lane)} wrote was removed from ${this.#node} by retention at ${when}`,
          {
            node: this.#node,
            lost: 1,
          },
        )
      }
      lane.complete = true
      return
    }
    if (piece.state === "absent") {
      // What is known of the attempt may be old: it may have ended, and its node let go of it, since.
      if (!source.ended && follow && this.#isTimeToAsk(fed)) await this.#parts.renew(fed)
      if (fed.source.ended) await absent(fed)
      else if (!follow) lane.complete = true
      return
    }
    const isEnd = piece.state === "ended" || !follow
    const points = withStart(piece.points, source.startedAt)
    const { offset, data, size } = piece
    const state = isEnd ? "ended" : "live"
    lane.put({ state, offset, data, size, points }, { at, aheadMs: this.#aheadMs })
  }

  #isTimeToAsk(fed: FedLane): boolean {
    const now = this.#parts.context.parts.clock.boottime()
    if (now < (fed.askAgainAt ?? 0)) return false
    fed.askAgainAt = now + renewMs
    return true
  }

  #heard(): void {
    this.#failingSince = undefined
    this.#share = Math.min(1, this.#share * 2)
    if (!this.#isAway) return
    this.#isAway = false
    for (const { lane } of this.#fed) lane.away = false
    this.#parts.notice(`${this.#node} answers again`, { node: this.#node })
  }

  #failed(error: unknown): void {
    const { context, follow } = this.#parts
    const now = context.parts.clock.boottime()
    this.#failingSince ??= now
    const reason = error instanceof Error ? error.message : String(error)
    const forMs = now - this.#failingSince
    const isOlder = isTroupeError(error) && error.code === "ERR_PROTOCOL"
    if (this.#peer.peerId === "" || isOlder || (!follow && forMs > giveUpMs)) {
      return this.#giveUp(isOlder ? "it is of another version" : reason)
    }
    // A slow way takes less at a time.
    this.#share = Math.max(this.#share / 2, 1 / 64)
    if (forMs >= sayAwayMs) this.#goAway(reason)
  }

  #goAway(reason: string): void {
    const { follow, notice, bell } = this.#parts
    if (this.#isAway) return
    this.#isAway = true
    for (const { lane } of this.#fed) lane.away = true
    const then = follow ? "what its tasks write follows when it does" : "waiting for it"
    notice(`${this.#node} does not answer (${reason}); ${then}`, { node: this.#node })
    bell.ring()
  }

  #giveUp(reason: string): void {
    const { notice, bell } = this.#parts
    const tasks = [...new Set([...this.#fed].map(({ lane }) => titleOf(lane)))]
    for (const { lane } of this.#fed) lane.complete = true
    this.#fed.clear()
    const named =
      tasks.length > 5
        ? `${tasks.slice(0, 5).join(", ")} and ${tasks.length - 5} more`
        : tasks.join(", ")
    notice(`what ${named} wrote on ${this.#node} is left out: ${reason}`, {
      node: this.#node,
      lost: tasks.length,
    })
    bell.ring()
  }
}

/** Before the first point nothing was there when it was started. */
export function withStart(
  points: TailPiece["points"],
  startedAt: number | undefined,
): TailPiece["points"] {
  const first = points[0]
  if (!first || first.bytes === 0 || startedAt === undefined) return points
  return [{ bytes: 0, at: Math.min(startedAt, first.at) }, ...points]
}

export function titleOf({ name }: Lane): string {
  return name.attempt === 1 ? name.task : `${name.task} (attempt ${name.attempt})`
}

function streamOf({ lane, source, since, lines }: FedLane, aheadMs: number): TailStream {
  const { task, attempt, stream } = lane.name
  const who = { task, attempt, fence: source.fence, stream }
  if (lane.next !== undefined) return { ...who, offset: lane.next }
  return {
    ...who,
    ...(since !== undefined && { since: since + aheadMs }),
    ...(lines !== undefined && { lines }),
  }
}

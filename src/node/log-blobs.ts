/** Fills lanes from what was collected: the bytes are a blob, their times another one. */
import type { Output } from "../schema/index.ts"
import type { OutputPiece } from "../wire/index.ts"
import { Bell } from "./bell.ts"
import type { NodeContext } from "./context.ts"
import { type FedLane, withStart } from "./log-feed.ts"
import { decodeTimes } from "./log-times.ts"

export interface BlobFeedParts {
  readonly context: Pick<NodeContext, "fetch" | "parts">
  readonly signal: AbortSignal
  readonly bell: Bell
  readonly laneBytes: () => number
  readonly aheadMs: number
}

const readMs = 600_000
/** Lines that are counted from the end stand within this. */
const scanBytesMax = 1 << 20
const timesBytesMax = 1 << 20

export class BlobFeed {
  readonly #fed: FedLane
  readonly #log: Output
  readonly #parts: BlobFeedParts
  readonly #drained: Bell

  constructor(fed: FedLane, log: Output, parts: BlobFeedParts) {
    this.#fed = fed
    this.#log = log
    this.#parts = parts
    this.#drained = new Bell(parts.context.parts.clock)
  }

  drained(): void {
    this.#drained.ring()
  }

  /** Until all of it was put into the lane. Throws when it cannot be had. */
  async pour(): Promise<void> {
    const { context, signal, laneBytes, bell, aheadMs } = this.#parts
    const { lane, source } = this.#fed
    const { digest, bytes } = this.#log
    const { clock } = context.parts
    const limit = AbortSignal.any([signal, clock.timeoutSignal(readMs, "bringing a log here")])
    await context.fetch(digest, limit)
    const points = withStart(await this.#points(limit), source.startedAt)
    lane.next ??= await this.#begin(points)
    const at = clock.now() + aheadMs
    while (!lane.complete) {
      signal.throwIfAborted()
      if (lane.buffered > laneBytes() / 2) {
        await this.#drained.next(1000, signal)
        continue
      }
      const offset = lane.next
      const length = Math.min(laneBytes(), bytes - offset)
      const data = length <= 0 ? new Uint8Array(0) : await this.#read(offset, length)
      lane.put({ state: "ended", offset, data, size: bytes, points }, { at, aheadMs })
      bell.ring()
    }
  }

  async #read(offset: number, length: number): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    const { blobs } = this.#parts.context.parts
    for await (const chunk of blobs.read(this.#log.digest, { offset, length })) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  async #points(limit: AbortSignal): Promise<OutputPiece["points"]> {
    const { context } = this.#parts
    const { source, lane } = this.#fed
    const end = { bytes: this.#log.bytes, at: source.endedAt ?? source.startedAt ?? 0 }
    const times = source.collected.find(({ path }) => path === "times")
    if (!times || times.bytes > timesBytesMax) return [end]
    await context.fetch(times.digest, limit)
    const chunks: Uint8Array[] = []
    for await (const chunk of context.parts.blobs.read(times.digest)) chunks.push(chunk)
    const points = decodeTimes(Buffer.concat(chunks).toString(), lane.name.stream)
    return points.length === 0 ? [end] : points
  }

  async #begin(points: OutputPiece["points"]): Promise<number> {
    const { since, lines } = this.#fed
    const { bytes } = this.#log
    const bySince = since === undefined ? 0 : bytesBefore(points, since + this.#parts.aheadMs)
    if (lines === undefined) return bySince
    const from = Math.max(0, bytes - scanBytesMax)
    const end = Buffer.from(bytes === from ? [] : await this.#read(from, bytes - from))
    let at = end.length - (end.at(-1) === 10 ? 1 : 0)
    for (let line = 0; line < lines && at >= 0; line++)
      at = at === 0 ? -1 : end.lastIndexOf(10, at - 1)
    return Math.max(bySince, lines === 0 ? bytes : from + at + 1)
  }
}

/** What had come by then. */
function bytesBefore(points: OutputPiece["points"], time: number): number {
  return points.findLast(({ at }) => at < time)?.bytes ?? 0
}

/** The streams of one job while it runs: held to their cap, with a mark in the end, and with the times of what came. */
import { appendFileSync, statSync, truncateSync } from "node:fs"
import type { LaunchSpec } from "../wire/index.ts"
import type { KeeperClock, KeeperLog } from "./clock.ts"
import type { AttemptFiles } from "./paths.ts"
import { StreamTimes } from "./stream-times.ts"

export interface OutputWatchOrder {
  readonly spec: LaunchSpec
  readonly files: AttemptFiles
  readonly startedAt: number
  /** Looked after by an earlier keeper before, which may have cut already. */
  readonly adopted: boolean
}

const streams = ["stdout", "stderr"] as const
type Stream = (typeof streams)[number]

/** What went beyond the cap, and when. */
export interface Dropped {
  readonly bytes: number
  readonly from: number
  readonly to: number
}

export class OutputWatch {
  readonly #order: OutputWatchOrder
  readonly #clock: Pick<KeeperClock, "now">
  readonly #log: KeeperLog
  readonly #dropped: Record<Stream, Dropped | undefined> = { stdout: undefined, stderr: undefined }
  readonly #times: Record<Stream, StreamTimes | undefined> = {
    stdout: undefined,
    stderr: undefined,
  }

  constructor(
    order: OutputWatchOrder,
    parts: { readonly clock: Pick<KeeperClock, "now">; readonly log: KeeperLog },
  ) {
    this.#order = order
    this.#clock = parts.clock
    this.#log = parts.log
  }

  /** Called a few times a second while the job runs. */
  look(): void {
    for (const stream of streams) {
      try {
        this.#look(stream)
      } catch (error) {
        // A disk that fails: the job runs on, the next look tries again.
        const { run, task, fence } = this.#order.spec
        this.#log("output not looked after", { run, task, fence, error: (error as Error).message })
      }
    }
  }

  // The job holds the file itself and writes behind its end. Cutting it back to the cap keeps what came first, leaves
  // every offset below the cap valid, lets the job run on and bounds the disk by the cap and one interval's output.
  #look(stream: Stream): void {
    const { spec, files, startedAt, adopted } = this.#order
    const found = statSync(files[stream], { throwIfNoEntry: false })
    if (!found || found.size === 0) return
    const now = this.#clock.now()
    const max = spec.outputBytesMax
    this.#times[stream] ??= new StreamTimes(files[stream], { startedAt, adopted })
    this.#times[stream].look(Math.min(found.size, max), found.mtimeMs, now)
    if (found.size <= max) return
    truncateSync(files[stream], max)
    const before = this.#dropped[stream]
    this.#dropped[stream] = {
      bytes: (before?.bytes ?? 0) + found.size - max,
      from: before?.from ?? now,
      to: now,
    }
  }

  /** After the last byte. Answers what could not be marked: then the ending says it. */
  finish(): readonly string[] {
    this.look()
    return streams.flatMap((stream) => {
      const mark = this.#markOf(stream)
      if (mark === undefined) return []
      try {
        appendFileSync(this.#order.files[stream], mark)
        return []
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        const bytes = this.#dropped[stream]?.bytes ?? 0
        return [`its ${stream} was cut by at least ${bytes} bytes, without a mark (${code})`]
      }
    })
  }

  #markOf(stream: Stream): string | undefined {
    const { spec, files, adopted } = this.#order
    const dropped = this.#dropped[stream]
    if (dropped) return cutMarker(spec.outputBytesMax, dropped)
    if (!adopted) return undefined
    const size = statSync(files[stream], { throwIfNoEntry: false })?.size
    return size === spec.outputBytesMax ? unknownCutMarker(size) : undefined
  }
}

/** What stands at the end of a stream that was cut. */
export function cutMarker(keptBytes: number, { bytes, from, to }: Dropped): string {
  return (
    `\n[troupe: output was cut after ${keptBytes} bytes; ` +
    `at least ${bytes} more were dropped between ${isoTime(from)} and ${isoTime(to)}]\n`
  )
}

function isoTime(at: number): string {
  return new Date(at).toISOString()
}

/** The same when an earlier keeper may have cut it. */
function unknownCutMarker(keptBytes: number): string {
  return (
    `\n[troupe: output has the ${keptBytes} bytes that it may have; ` +
    "whether more was dropped is not known, as the keeper was restarted]\n"
  )
}

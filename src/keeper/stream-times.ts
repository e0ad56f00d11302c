/** When what a stream holds was there: points of size and time, beside the stream, in a file that few jobs need. */
import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs"

/** At `at` (wall clock, ms) the stream had `bytes`. Between two points bytes came evenly, as far as anybody knows. */
export interface TimePoint {
  readonly bytes: number
  readonly at: number
}

/** Two doubles a point, little end first. */
const pointBytes = 16
/** A stream that was watched for longer is told more coarsely. */
export const pointsMax = 4096

export function timesFile(stream: string): string {
  return `${stream}.times`
}

/** Looked at a few times a second while the job runs. A stream whose bytes all come between two looks has no file: its
 *  own time of change says the same. */
export class StreamTimes {
  readonly #stream: string
  #size: number
  /** The newest, and when nothing more was there yet. */
  #last: TimePoint
  #quietAt: number
  /** Not in the file yet. */
  #waiting: TimePoint[] = []
  #inFile: number
  #everyMs = 0

  /** `adopted`: an earlier keeper looked at it before. */
  constructor(stream: string, { startedAt, adopted }: { startedAt: number; adopted: boolean }) {
    this.#stream = stream
    const known = adopted ? readTimes(stream) : []
    this.#last = known.at(-1) ?? { bytes: 0, at: startedAt }
    this.#size = this.#last.bytes
    this.#quietAt = this.#last.at
    this.#inFile = known.length
  }

  /** `changedAt`: the file's own time of its last change. Throws what the disk says. */
  look(size: number, changedAt: number, now: number): void {
    if (size <= this.#size) {
      this.#quietAt = now
      return
    }
    const before = this.#last
    const isFirst = before.bytes === 0 && this.#inFile === 0
    // Silence is told by two points, else the bytes after it would seem to have come all the while.
    if (this.#quietAt > before.at) this.#add({ bytes: before.bytes, at: this.#quietAt })
    this.#add({ bytes: size, at: Math.min(Math.max(changedAt, this.#last.at), now) })
    this.#size = size
    this.#quietAt = Math.max(this.#quietAt, this.#last.at)
    if (!isFirst) this.#flush()
  }

  #add(point: TimePoint): void {
    // Points that are too near to the last one take its place, unless they are its silence.
    const near = point.at - (this.#waiting.at(-2)?.at ?? Number.NEGATIVE_INFINITY) < this.#everyMs
    if (near && this.#waiting.length > 1) this.#waiting.pop()
    this.#waiting.push(point)
    this.#last = point
  }

  #flush(): void {
    if (this.#everyMs > 0 && this.#waiting.length < 2) return
    const points = this.#waiting
    this.#waiting = []
    appendFileSync(timesFile(this.#stream), encoded(points), { mode: 0o600 })
    this.#inFile += points.length
    if (this.#inFile >= pointsMax) this.#thin()
  }

  /** Every second point goes, and further ones come half as often. */
  #thin(): void {
    const all = readTimes(this.#stream)
    const kept = all.filter((_, place) => place % 2 === 1 || place === all.length - 1)
    const file = timesFile(this.#stream)
    writeFileSync(`${file}.new`, encoded(kept), { mode: 0o600 })
    renameSync(`${file}.new`, file)
    this.#inFile = kept.length
    const [first, last] = [kept[0]!, kept.at(-1)!]
    this.#everyMs = Math.max((last.at - first.at) / kept.length, 1)
  }
}

function encoded(points: readonly TimePoint[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(points.length * pointBytes))
  for (const [place, { bytes, at }] of points.entries()) {
    view.setFloat64(place * pointBytes, bytes, true)
    view.setFloat64(place * pointBytes + 8, at, true)
  }
  return new Uint8Array(view.buffer)
}

/** In order; what a crash tore or a disk spoiled is left out. */
export function decodeTimes(data: Uint8Array): TimePoint[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const points: TimePoint[] = []
  for (let place = 0; place + pointBytes <= data.length; place += pointBytes) {
    const point = { bytes: view.getFloat64(place, true), at: view.getFloat64(place + 8, true) }
    const last = points.at(-1) ?? { bytes: 0, at: Number.NEGATIVE_INFINITY }
    if (point.bytes >= last.bytes && point.at >= last.at) points.push(point)
  }
  return points
}

function readTimes(stream: string): TimePoint[] {
  try {
    return decodeTimes(readFileSync(timesFile(stream)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
}

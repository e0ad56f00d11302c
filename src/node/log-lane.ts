/** One stream of one attempt on its way into the merged log: what has come of it, cut into stretches with their times. */
import type { OutputPiece } from "../wire/index.ts"

export type StreamWord = "stdout" | "stderr"

/** Whose stream it is. */
export interface LaneName {
  readonly task: string
  readonly attempt: number
  readonly node: string
  readonly stream: StreamWord
}

/** Some bytes that belong together; whole lines, unless the line is long or goes on. */
export interface Stretch extends LaneName {
  /** When the last of them was there, by the clock of the node that merges, ms. */
  readonly at: number
  readonly offset: number
  readonly data: Uint8Array
}

type Points = OutputPiece["points"]

interface Piece {
  readonly offset: number
  readonly data: Uint8Array
  readonly points: Points
  /** Nothing of it was there before. */
  readonly notBefore: number
}

/** What came together is told apart this finely. */
const stretchesOfWindow = 8
const stretchBytesMax = 32 << 10
const newline = 10

export class Lane {
  readonly name: LaneName
  /** The byte to ask for next; before the first answer: where to begin. */
  next: number | undefined
  /** Everything older than this has come. */
  seenAt: number
  /** Nothing more comes. */
  complete = false
  /** Its node does not answer: nobody waits for it. */
  away = false
  /** Of what has come and was not taken. */
  buffered = 0
  readonly #pieces: Piece[] = []
  #head: Stretch | undefined
  #saidAt = Number.NEGATIVE_INFINITY
  #openLine = false

  constructor(name: LaneName, options: { readonly next: number | undefined; readonly at: number }) {
    this.name = name
    this.next = options.next
    this.seenAt = options.at
  }

  /** The last stretch did not end its line. */
  get isInLine(): boolean {
    return this.#openLine
  }

  /** `aheadMs`: by which the clock of its node is ahead of ours. `at`: by that clock, before it looked. */
  put(
    piece: Pick<OutputPiece, "state" | "offset" | "data" | "size" | "points">,
    clock: { readonly at: number; readonly aheadMs: number },
  ): void {
    const isWhole = piece.offset + piece.data.length >= piece.size
    const isLast = piece.state === "ended" && isWhole
    const cut = isLast ? 0 : unfinishedBytes(piece.data)
    const data = piece.data.subarray(0, piece.data.length - cut)
    const notBefore = this.seenAt
    if (data.length > 0) {
      const points = piece.points.map(({ bytes, at }) => ({ bytes, at: at - clock.aheadMs }))
      this.#pieces.push({ offset: piece.offset, data, points, notBefore })
      this.buffered += data.length
    }
    this.next = piece.offset + data.length
    if (isWhole) this.seenAt = Math.max(this.seenAt, clock.at - clock.aheadMs - coarseMs)
    if (isLast) this.complete = true
  }

  /** What would be said next. */
  head(): Stretch | undefined {
    this.#head ??= this.#cut()
    return this.#head
  }

  take(): Stretch {
    const head = this.head()
    const piece = this.#pieces[0]
    if (!head || !piece) throw new Error("nothing has come")
    const rest = piece.data.subarray(head.data.length)
    const { points, notBefore } = piece
    if (rest.length === 0) this.#pieces.shift()
    else {
      const offset = piece.offset + head.data.length
      this.#pieces[0] = { offset, data: rest, points, notBefore }
    }
    this.buffered -= head.data.length
    this.#saidAt = head.at
    this.#openLine = head.data.at(-1) !== newline
    this.#head = undefined
    return head
  }

  #cut(): Stretch | undefined {
    const piece = this.#pieces[0]
    if (!piece) return undefined
    const { offset, points, notBefore } = piece
    const end = stretchEnd(piece)
    const at = Math.max(timeAt(points, offset + end) ?? notBefore, notBefore, this.#saidAt)
    return { ...this.name, at, offset, data: piece.data.subarray(0, end) }
  }
}

/** A file's time of change is taken from a clock that ticks. */
const coarseMs = 20

/** How many bytes of the piece belong together. */
function stretchEnd({ offset, data, points }: Piece): number {
  const to = points.find(({ bytes }) => bytes > offset)?.bytes ?? offset + data.length
  const from = points.findLast(({ bytes }) => bytes <= offset)?.bytes ?? 0
  const share = Math.ceil((to - Math.min(from, offset)) / stretchesOfWindow)
  const wanted = Math.min(data.length, Math.max(1, share), stretchBytesMax)
  const after = data.indexOf(newline, wanted - 1)
  if (after >= 0 && after < 2 * stretchBytesMax) return after + 1
  const before = data.lastIndexOf(newline, wanted - 1)
  if (before >= 0) return before + 1
  const most = Math.min(data.length, stretchBytesMax)
  // Within a line: never within a letter.
  return most === data.length ? most : Math.max(1, most - unfinishedBytes(data.subarray(0, most)))
}

/** When the stream had so many bytes; undefined when nothing says so. */
export function timeAt(points: Points, bytes: number): number | undefined {
  const behind = points.findIndex((point) => point.bytes >= bytes)
  if (behind < 0) return points.at(-1)?.at
  const to = points[behind]!
  const from = points[behind - 1]
  if (!from || from.bytes >= to.bytes) return to.at
  return from.at + ((bytes - from.bytes) / (to.bytes - from.bytes)) * (to.at - from.at)
}

/** Bytes at the end that begin a letter whose rest is missing; 0 when they are all there is, or no beginning of one. */
export function unfinishedBytes(data: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, data.length); back++) {
    const byte = data[data.length - back]!
    // 10xxxxxx goes on, 11xxxxxx begins a letter of two to four bytes.
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back && back < data.length ? back : 0
  }
  return 0
}

/** The worker's side of merged logs: many streams in one answer, with the times of what came. */
import {
  type JobAnswer,
  type JobRequest,
  logBytesMax,
  type OutputStart,
  type TailPiece,
  type TailStream,
} from "../wire/index.ts"
import type { Keeper, Parts } from "./parts.ts"

type TailRequest = Extract<JobRequest, { type: "tail" }>

/** Looks at many streams cost more: they are looked at less often. */
const pollMs = { first: 50, eachStream: 2, most: 500 }

export async function answerTail(
  request: TailRequest,
  parts: {
    readonly keeper: Pick<Keeper, "tail">
    readonly clock: Parts["clock"]
    readonly isStopped: () => boolean
  },
): Promise<JobAnswer> {
  const { keeper, clock } = parts
  const deadline = clock.boottime() + request.waitMs
  const pause = Math.min(pollMs.most, pollMs.first + pollMs.eachStream * request.streams.length)
  for (;;) {
    const at = clock.now()
    const pieces = await lookAtAll(request, keeper)
    const left = deadline - clock.boottime()
    if (pieces.some(isNews) || left <= 0 || parts.isStopped()) return { type: "tail", at, pieces }
    await clock.sleep(Math.min(pause, left))
  }
}

/** As many as fit into an answer. */
async function lookAtAll(
  { run, streams, max }: TailRequest,
  keeper: Pick<Keeper, "tail">,
): Promise<readonly TailPiece[]> {
  const pieces: TailPiece[] = []
  let room = logBytesMax
  for (const [place, stream] of streams.entries()) {
    if (room <= 0) break
    const range = { start: startOf(stream), max: Math.min(max, room) }
    const piece = await keeper.tail({ run, ...stream }, range)
    room -= piece.data.length
    pieces.push({ place, ...piece })
  }
  return pieces
}

function startOf({ offset, since, lines }: TailStream): OutputStart {
  return offset === undefined ? { since, lines } : { offset }
}

function isNews({ state, data }: TailPiece): boolean {
  return data.length > 0 || state === "ended" || state === "removed"
}

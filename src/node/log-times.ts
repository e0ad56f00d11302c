/** The times of a task's streams as they are collected: JSON beside the blobs of the streams. */
import type { OutputPiece } from "../wire/index.ts"

type Points = OutputPiece["points"]

/** Where collect tasks report them; no bundle has this folder. */
export const timesFolder = ".times/"

/** Pairs of bytes and ms. */
export function encodeTimes(times: { readonly stdout: Points; readonly stderr: Points }): string {
  const pairs = (points: Points) => points.map(({ bytes, at }) => [bytes, Math.round(at)])
  return JSON.stringify({ stdout: pairs(times.stdout), stderr: pairs(times.stderr) })
}

export function decodeTimes(text: string, stream: "stdout" | "stderr"): Points {
  const times = JSON.parse(text) as Readonly<Record<string, readonly [number, number][]>>
  return (times[stream] ?? []).map(([bytes, at]) => ({ bytes, at }))
}

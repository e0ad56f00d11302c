/** What a replay says of each file and of all. */
import { type FileResult, showDifference } from "./replay.ts"

export function describeResult(result: FileResult): string {
  const { path } = result
  if (result.unreadable) {
    const { line, reason } = result.unreadable
    return `${line === undefined ? path : `${path}:${line}`}: unreadable: ${reason}`
  }
  const { commands, difference, otherWording } = result
  if (commands === 0 && !difference) return `empty   ${path} (no commands)`
  const wording = otherWording > 0 ? `, log lines worded otherwise in ${otherWording}` : ""
  const line = `${difference ? "differs" : "ok     "} ${path} (${commands} commands${wording})`
  return difference ? `${line}\n${showDifference(difference)}` : line
}

interface Sorted {
  readonly ok: number
  readonly differing: number
  readonly unreadable: number
  readonly empty: number
}

function sorted(results: readonly FileResult[]): Sorted {
  const unreadable = results.filter((result) => result.unreadable).length
  const differing = results.filter((result) => result.difference).length
  const ok = results.filter(
    (result) => !result.unreadable && !result.difference && result.commands > 0,
  ).length
  return { ok, differing, unreadable, empty: results.length - ok - differing - unreadable }
}

export function summary(results: readonly FileResult[], leftOut: number): string {
  const { ok, differing, unreadable, empty } = sorted(results)
  const parts = [`${results.length} files`, `${ok} ok`, `${differing} differ`]
  if (unreadable > 0) parts.push(`${unreadable} unreadable`)
  if (empty > 0) parts.push(`${empty} without commands`)
  if (leftOut > 0) parts.push(`${leftOut} other files left out (no *.txt)`)
  return parts.join(", ")
}

/** Nothing compared is no good sign either. */
export function isGood(results: readonly FileResult[]): boolean {
  const { ok, differing, unreadable } = sorted(results)
  return ok > 0 && differing === 0 && unreadable === 0
}

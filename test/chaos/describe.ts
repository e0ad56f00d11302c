/** A chaos run in a few lines of figures. */
import type { ChaosResult } from "./chaos.ts"

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${count} ${name}`)
    .join(", ")
}

function part(
  outcomes: ReadonlyMap<string, number>,
  isEnding: boolean,
): ReadonlyMap<string, number> {
  const prefix = "ending "
  return new Map(
    [...outcomes]
      .filter(([name]) => name.startsWith(prefix) === isEnding)
      .map(([name, count]) => [name.replace(prefix, ""), count]),
  )
}

export function describe(result: Pick<ChaosResult, "judgement"> & Partial<ChaosResult>): string {
  const { judgement, struck, runs, rows, wholeAfterMs, faults = judgement.faults } = result
  const { outcomes, keys, ordered, pages, leaders } = judgement
  const lines = [
    faults.length === 0 ? "holds" : `${faults.length} faults`,
    `calls: ${listed(part(outcomes, false))}; ${pages} lists`,
    `answers: ${listed(part(outcomes, true))}`,
    `ordered: ${ordered} calls of ${keys} keys; ${leaders} terms led`,
  ]
  if (struck) lines.push(`faults: ${listed(struck)}`)
  if (runs !== undefined) {
    lines.push(`end: whole after ${wholeAfterMs} ms, ${runs} runs, ${rows} rows equal on all disks`)
  }
  return lines.join("\n")
}

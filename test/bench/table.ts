/** Rows for people: aligned columns, the calibration below. */
import type { Row } from "./summary.ts"

const heads = ["figure", "n", "p50", "p99", "max", "unit", "peer", "peer p50", "ratio"]

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.figure,
    String(row.n),
    String(row.p50),
    String(row.p99),
    String(row.max),
    row.unit,
    row.peer?.name ?? "",
    row.peer ? String(row.peer.p50) : "",
    row.ratio === null ? "" : `${row.ratio}`,
  ])
  const all = [heads, ...cells]
  const widths = heads.map((_, column) => Math.max(...all.map((line) => line[column]!.length)))
  const texts = new Set([0, 5, 6])
  return all
    .map((line) =>
      line
        .map((cell, column) =>
          texts.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n")
}

export function calibrationLine({ calibration }: Row): string {
  const { spawnsPerSecond, sha256MBPerSecond, fdatasyncMs, roundTripMs, load1 } = calibration
  return (
    `this machine just now: ${spawnsPerSecond} spawns/s · sha256 ${sha256MBPerSecond} MB/s · ` +
    `fdatasync ${fdatasyncMs} ms · TCP round trip ${roundTripMs} ms · load ${load1}`
  )
}

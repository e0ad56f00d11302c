/** From samples to the line that is printed. */
import type { Calibration } from "./calibration.ts"
import type { Measured } from "./figure.ts"

export interface Row {
  readonly figure: string
  readonly unit: string
  readonly n: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly peer: { readonly name: string; readonly n: number; readonly p50: number } | null
  /** p50 of ours over p50 of the peer's. */
  readonly ratio: number | null
  readonly calibration: Calibration
}

/** Nearest rank: a value that was measured, never one in between. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** Undefined without samples: nothing was measured, so nothing is said. */
export function summarise(measured: Measured, calibration: Calibration): Row | undefined {
  const { figure, unit, samples, peer } = measured
  if (samples.length === 0) return undefined
  const p50 = quantile(samples, 0.5)
  const beside =
    peer && peer.samples.length > 0
      ? { name: peer.name, n: peer.samples.length, p50: rounded(quantile(peer.samples, 0.5)) }
      : null
  return {
    figure,
    unit,
    n: samples.length,
    p50: rounded(p50),
    p99: rounded(quantile(samples, 0.99)),
    max: rounded(quantile(samples, 1)),
    peer: beside,
    ratio: beside ? rounded(p50 / beside.p50) : null,
    calibration,
  }
}

/** Three digits that mean something. */
export function rounded(value: number): number {
  return Number(value.toPrecision(Math.abs(value) >= 100 ? 4 : 3))
}

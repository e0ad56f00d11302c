/** What a figure is: a name, and a measurement that answers samples. */
import type { Program } from "./program.ts"

/** Samples of one quantity, beside those of what a user would have instead, taken between them. */
export interface Measured {
  readonly figure: string
  readonly unit: string
  readonly samples: readonly number[]
  readonly peer?: { readonly name: string; readonly samples: readonly number[] } | undefined
}

export interface Bench {
  readonly program: Program
  /** How often, when the user said so. */
  readonly n: number | undefined
  /** A figure begins nothing new after this many seconds. */
  readonly seconds: number
  /** To people only: fallbacks, skipped peers. */
  say(text: string): void
  /** Run at the end whatever happens, last first. */
  onEnd(step: () => Promise<void> | void): void
}

export interface Figure {
  readonly name: string
  readonly about: string
  run(bench: Bench): Promise<readonly Measured[]>
}

/** True while there is time for one more sample. */
export function untilLate(bench: Bench, share = 1): () => boolean {
  const end = performance.now() + bench.seconds * 1000 * share
  return () => performance.now() < end
}

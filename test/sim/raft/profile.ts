/** How rough one world is: each seed draws its own mixture. Crashes and loss are never absent, other faults may be. */
import type { SeededRandom } from "../../support/random.ts"

export interface Profile {
  readonly loss: number
  readonly duplicate: number
  readonly delayMsMax: number
  readonly slowChance: number
  readonly slowMsMax: number
  readonly syncMsMax: number
  readonly stallChance: number
  readonly stallMsMax: number
  readonly applyMsMax: number
  readonly clockSkew: number
  /** Mean time between actions; 0: never. */
  readonly every: Readonly<Record<ActionName, number>>
}

export type ActionName =
  | "propose"
  | "read"
  | "crash"
  | "powerLoss"
  | "partition"
  | "pause"
  | "transfer"
  | "reconfigure"
  | "snapshot"

export function profileOf(random: SeededRandom): Profile {
  const sometimes = (choices: readonly number[]): number => random.pick(choices)
  return {
    loss: sometimes([0.01, 0.02, 0.1, 0.25]),
    duplicate: sometimes([0, 0.05, 0.2]),
    delayMsMax: sometimes([3, 10, 30]),
    slowChance: sometimes([0, 0.02, 0.1]),
    slowMsMax: sometimes([100, 400]),
    syncMsMax: sometimes([2, 8, 40]),
    stallChance: sometimes([0, 0.01, 0.05]),
    stallMsMax: sometimes([150, 600]),
    applyMsMax: sometimes([1, 5, 40]),
    clockSkew: sometimes([0, 0.4, 1]),
    every: {
      propose: sometimes([8, 20, 50]),
      read: sometimes([0, 40, 100]),
      crash: sometimes([60, 120, 400]),
      powerLoss: sometimes([0, 0, 500, 900]),
      partition: sometimes([0, 200, 600]),
      pause: sometimes([0, 0, 300]),
      transfer: sometimes([0, 300, 900]),
      reconfigure: sometimes([0, 80, 250]),
      snapshot: sometimes([0, 60, 200]),
    },
  }
}

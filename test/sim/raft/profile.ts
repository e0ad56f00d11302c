/** How rough one world is: each seed draws which faults there are, and how strong (swarm testing). */
import { streamOf } from "./streams.ts"

/** What comes at planned times; everything else about a world is weather. */
export const eventKinds = [
  "crash",
  "powerLoss",
  "partition",
  "clog",
  "swizzle",
  "pause",
  "clockJump",
  "retune",
  "flap",
  "transfer",
  "reconfigure",
  "snapshot",
  "burst",
] as const
export type EventKind = (typeof eventKinds)[number]

/** Weather that can be switched off when a failure is made smaller. */
export const weathers = [
  "loss",
  "duplicates",
  "slowness",
  "disorder",
  "skew",
  "stalls",
  "diskErrors",
  "hints",
  "clients",
] as const
export type Weather = (typeof weathers)[number]

export interface Profile {
  readonly loss: number
  readonly duplicate: number
  /** How late a copy may come. */
  readonly echoMsMax: number
  readonly delayMsMax: number
  readonly slowChance: number
  readonly slowMsMax: number
  /** Links are streams: what was sent first comes first. */
  readonly isOrdered: boolean
  readonly syncMsMax: number
  readonly stallChance: number
  readonly stallMsMax: number
  readonly diskErrorChance: number
  readonly applyMsMax: number
  readonly clockSkew: number
  /** Members that lose the connection to their leader forget it and ask around at once. */
  readonly hasHints: boolean
  /** The stream of a snapshot says late that it went well; that it failed is always known soon. */
  readonly praiseMs: number
  /** After a pause the driver says so to the core. */
  readonly wakes: boolean
  readonly clients: number
  readonly thinkMsMax: number
  readonly limits: {
    readonly maxSizePerMsg: number
    readonly maxInflightMsgs: number
    readonly maxCommittedSizePerReady: number
    readonly trailingMax: number
  }
  /** Mean time between events; 0: never. */
  readonly every: Readonly<Record<EventKind, number>>
}

export function profileOf(seed: number, without: ReadonlySet<Weather> = new Set()): Profile {
  const random = streamOf(seed, "profile")
  const one = <T>(choices: readonly T[]): T => random.pick(choices)
  const profile: Profile = {
    loss: one([0, 0, 0.02, 0.1, 0.25]),
    duplicate: one([0, 0.05, 0.2, 0.4]),
    echoMsMax: one([0, 50, 500, 1000]),
    delayMsMax: one([3, 10, 30]),
    slowChance: one([0, 0, 0.02, 0.1]),
    slowMsMax: one([100, 400]),
    isOrdered: one([true, false, false]),
    syncMsMax: one([2, 2, 8, 40, 120]),
    stallChance: one([0, 0, 0.01, 0.05]),
    stallMsMax: one([150, 600]),
    diskErrorChance: one([0, 0, 0.002, 0.01]),
    applyMsMax: one([1, 1, 5, 40]),
    clockSkew: one([0, 0.4, 1]),
    hasHints: one([true, false]),
    praiseMs: one([200, 4000]),
    wakes: one([true, false]),
    clients: one([2, 4, 8]),
    thinkMsMax: one([5, 20, 60]),
    limits: {
      maxSizePerMsg: one([40, 120, 1000]),
      maxInflightMsgs: one([2, 4, 16]),
      maxCommittedSizePerReady: one([60, 200, 2000]),
      trailingMax: one([1, 6, 20]),
    },
    every: {
      crash: one([0, 0, 80, 200, 600]),
      powerLoss: one([0, 0, 0, 400, 900]),
      partition: one([0, 0, 150, 400]),
      clog: one([0, 0, 100, 300]),
      swizzle: one([0, 0, 0, 700]),
      pause: one([0, 0, 100, 300]),
      clockJump: one([0, 0, 300]),
      retune: one([0, 0, 0, 400]),
      flap: one([0, 0, 80, 300]),
      transfer: one([0, 0, 100, 300, 900]),
      reconfigure: one([0, 80, 250]),
      snapshot: one([0, 60, 200]),
      burst: one([0, 150, 400]),
    },
  }
  return calmed(profile, without)
}

function calmed(profile: Profile, without: ReadonlySet<Weather>): Profile {
  const off = (weather: Weather, part: Partial<Profile>): Partial<Profile> =>
    without.has(weather) ? part : {}
  return {
    ...profile,
    ...off("loss", { loss: 0 }),
    ...off("duplicates", { duplicate: 0 }),
    ...off("slowness", { slowChance: 0, delayMsMax: 3 }),
    ...off("disorder", { isOrdered: true }),
    ...off("skew", { clockSkew: 0 }),
    ...off("stalls", { stallChance: 0, syncMsMax: 2, applyMsMax: 1 }),
    ...off("diskErrors", { diskErrorChance: 0 }),
    ...off("hints", { hasHints: false }),
    ...off("clients", { clients: 0 }),
  }
}

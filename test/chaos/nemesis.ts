/** Hurts machines by dice: which fault, whom, how long. What it did goes into the record. */
import type { ClusterStatus, HealthView } from "../../src/schema/index.ts"
import type { SeededRandom } from "../support/random.ts"
import type { Machine } from "./machine.ts"
import { appendRecord, microseconds } from "./record.ts"
import type { FaultKind } from "./tools.ts"

export interface NemesisOptions {
  readonly machines: readonly Machine[]
  readonly random: SeededRandom
  readonly kinds: readonly FaultKind[]
  readonly file: string
}

/** A fault that has begun: `heal` ends it. */
interface Begun {
  readonly machines: readonly Machine[]
  readonly text: string
  readonly heal: () => Promise<void> | void
}

const askMs = 700
const wholeMs = 60_000
const wipeTries = 20

export async function ask<T>(machine: Machine, path: string, ms = askMs): Promise<T | undefined> {
  try {
    const response = await fetch(`${machine.api}${path}`, { signal: AbortSignal.timeout(ms) })
    return response.ok ? ((await response.json()) as T) : undefined
  } catch {
    // Down, paused or cut off: it says nothing.
    return undefined
  }
}

/** Asks any node to make this one the leader; false when none would. */
async function handOver(machines: readonly Machine[], to: Machine): Promise<boolean> {
  for (const machine of machines) {
    try {
      const response = await fetch(`${machine.api}/v1/cluster/transfer`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ to: to.name }),
        signal: AbortSignal.timeout(askMs),
      })
      if (response.ok) return true
    } catch {
      // Down, paused or cut off: another is asked.
    }
  }
  return false
}

async function pass(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}

export class Nemesis {
  readonly #options: NemesisOptions
  readonly #random: SeededRandom
  readonly counts = new Map<FaultKind, number>()
  /** One thing at a time for each machine. */
  readonly #busy = new Set<Machine>()
  #isCut = false

  constructor(options: NemesisOptions) {
    this.#options = options
    this.#random = options.random
  }

  /** Until `signal` aborts; everything it did is healed then. */
  async run(signal: AbortSignal): Promise<void> {
    if (this.#options.kinds.length === 0) return await aborted(signal)
    const under = new Set<Promise<void>>()
    while (!signal.aborted) {
      const fault = this.#one(signal)
      under.add(fault)
      void fault.finally(() => under.delete(fault))
      // Mostly one at a time.
      if (under.size > 1 || this.#random.chance(0.7)) await fault
      await pass(this.#random.between(200, 2500))
    }
    await Promise.all(under)
  }

  async #one(signal: AbortSignal): Promise<void> {
    const kind = this.#random.pick(this.#options.kinds)
    const ms = this.#duration(kind)
    const begun = await this.#begin(kind)
    if (!begun) return
    const from = microseconds()
    for (const machine of begun.machines) this.#busy.add(machine)
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    await Promise.race([pass(ms), aborted(signal)])
    await begun.heal()
    for (const machine of begun.machines) this.#busy.delete(machine)
    const nodes = begun.machines.map(({ name }) => name)
    const { text } = begun
    appendRecord(this.#options.file, {
      type: "fault",
      kind,
      nodes,
      text,
      from,
      to: microseconds(),
    })
  }

  #duration(kind: FaultKind): number {
    const random = this.#random
    if (kind === "kill" || kind === "term" || kind === "wipe") {
      return random.chance(0.4) ? random.between(0, 100) : random.between(100, 6000)
    }
    return random.chance(0.4) ? random.between(200, 1500) : random.between(1500, 8000)
  }

  async #begin(kind: FaultKind): Promise<Begun | undefined> {
    if (kind === "kill") return await this.#kill()
    if (kind === "partition" || kind === "oneway") return await this.#cut(kind)
    if (kind === "wipe") return await this.#wipe()
    const machine = await this.#victim()
    if (!machine) return undefined
    const machines = [machine]
    if (kind === "term") {
      await machine.stop()
      return { machines, text: "SIGTERM", heal: () => machine.start() }
    }
    if (kind === "transfer") {
      const isTold = await handOver(this.#options.machines, machine)
      if (isTold) return { machines, text: "is handed the lead", heal: () => undefined }
      this.#busy.delete(machine)
      return undefined
    }
    if (kind === "keeper") {
      machine.killKeeper()
      return { machines, text: "kill -9 of the keeper", heal: () => undefined }
    }
    if (kind === "stop") {
      machine.pause()
      return { machines, text: "SIGSTOP", heal: () => machine.resume() }
    }
    if (kind === "slowdisk") {
      const ms = this.#random.pick([20, 100, 400, 1500])
      machine.slowDisk(ms)
      return { machines, text: `${ms} ms a sync`, heal: () => machine.fastDisk() }
    }
    if (kind === "clock") return this.#clock(machine)
    machine.fillDisk()
    return {
      machines,
      text: "disk full",
      heal: () => {
        machine.freeDisk()
        machine.start()
      },
    }
  }

  #clock(machine: Machine): Begun {
    const seconds = this.#random.pick([1, 5, 45, 90, 600, 7200]) * this.#random.pick([1, -1])
    machine.setClock(seconds)
    return { machines: [machine], text: `${seconds} s`, heal: () => machine.setClock(0) }
  }

  async #kill(): Promise<Begun | undefined> {
    const dice = this.#random.next()
    const victim = dice < 0.75 ? await this.#victim() : undefined
    const free = this.#free()
    const half = this.#shuffled(free).slice(0, Math.ceil(free.length / 2))
    const many = dice < 0.75 ? [] : dice < 0.87 ? half : free
    const machines = victim ? [victim] : many
    if (machines.length === 0) return undefined
    for (const machine of machines) this.#busy.add(machine)
    await Promise.all(machines.map((machine) => machine.kill()))
    const heal = (): void => {
      for (const machine of machines) machine.start()
    }
    return { machines, text: "kill -9", heal }
  }

  /** Frames between two sides vanish; clients reach everybody. */
  async #cut(kind: "partition" | "oneway"): Promise<Begun | undefined> {
    if (this.#isCut) return undefined
    this.#isCut = true
    const { machines } = this.#options
    const leader = await this.#leader()
    const isLeaderAlone = leader !== undefined && this.#random.chance(0.4)
    const order = isLeaderAlone
      ? [leader, ...machines.filter((machine) => machine !== leader)]
      : this.#shuffled(machines)
    const size = isLeaderAlone ? 1 : this.#random.between(1, Math.floor(machines.length / 2))
    const one = order.slice(0, size)
    // In a bridge somebody still hears both sides.
    const isBridge = this.#random.chance(0.25)
    const other = order.slice(isBridge ? size + 1 : size)
    const isDeafOne = kind === "partition" || this.#random.chance(0.5)
    const isDeafOther = kind === "partition" || !isDeafOne
    if (isDeafOne) for (const machine of one) machine.deafTo(other)
    if (isDeafOther) for (const machine of other) machine.deafTo(one)
    const arrow = isDeafOne && isDeafOther ? "|" : isDeafOne ? "does not hear" : "is not heard by"
    return {
      machines: one,
      text: `${names(one)} ${arrow} ${names(other)}${isBridge ? ", bridged" : ""}`,
      heal: () => {
        for (const machine of machines) machine.deafTo([])
        this.#isCut = false
      },
    }
  }

  /** One data directory is deleted, only while everybody else is whole; its fault ends when all are whole again. */
  async #wipe(): Promise<Begun | undefined> {
    const { machines } = this.#options
    for (let tries = 0; tries < wipeTries && !(await this.#isWhole()); tries++) await pass(500)
    if (this.#busy.size > 0 || this.#isCut || !(await this.#isWhole())) return undefined
    // Nothing else until it is over: two lost disks of three may rightly lose what they alone had.
    for (const machine of machines) this.#busy.add(machine)
    this.#isCut = true
    const machine = this.#random.pick(machines)
    await machine.kill()
    machine.wipe()
    const heal = async (): Promise<void> => {
      machine.start()
      const limit = Date.now() + wholeMs
      while (Date.now() < limit && !(await this.#isWhole())) await pass(200)
      for (const one of machines) this.#busy.delete(one)
      this.#isCut = false
    }
    return { machines: [machine], text: "data directory deleted", heal }
  }

  /** Everybody answers, follows the one leader, and as many losses are survived as ever. */
  async #isWhole(): Promise<boolean> {
    const { machines } = this.#options
    const seen = await Promise.all(machines.map((machine) => ask<HealthView>(machine, "/health")))
    const [first] = seen
    const voters = machines.length >= 7 ? 5 : 3
    return seen.every(
      (health) =>
        health?.leader !== undefined &&
        health.leader === first?.leader &&
        health.survives >= (voters - 1) / 2 &&
        (health.copies ?? 0) >= voters,
    )
  }

  /** The leader rather often, else anybody; nobody else's from now on. */
  async #victim(): Promise<Machine | undefined> {
    const leader = await this.#leader()
    const free = this.#free()
    if (free.length === 0) return undefined
    const isLeader = this.#random.chance(0.45)
    const any = this.#random.pick(free)
    const victim = isLeader && leader && free.includes(leader) ? leader : any
    this.#busy.add(victim)
    return victim
  }

  #free(): Machine[] {
    return this.#options.machines.filter((machine) => machine.running && !this.#busy.has(machine))
  }

  async #leader(): Promise<Machine | undefined> {
    return (await leaderAmong(this.#options.machines))?.machine
  }

  #shuffled(machines: readonly Machine[]): Machine[] {
    const dice = new Map(machines.map((machine) => [machine, this.#random.next()]))
    return machines.toSorted((a, b) => dice.get(a)! - dice.get(b)!)
  }
}

function names(machines: readonly Machine[]): string {
  return machines.map(({ name }) => name).join()
}

/** Who says that it leads, of the newest term. */
export async function leaderAmong(
  machines: readonly Machine[],
): Promise<{ readonly machine: Machine; readonly term: number } | undefined> {
  const seen = await Promise.all(
    machines.map(async (machine) => {
      if (!machine.running || machine.isPaused) return undefined
      const status = await ask<ClusterStatus>(machine, "/cluster/status")
      return status?.raftState === "leader" ? { machine, term: status.term } : undefined
    }),
  )
  const leaders = seen.filter((one) => one !== undefined)
  return leaders.toSorted((a, b) => b.term - a.term)[0]
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))
}

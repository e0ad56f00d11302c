/** What happens to hosts, keepers, nodes and the ways between them while plans are worked on, by dice. */
import type { TroupeNode } from "../../../src/node/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Machine } from "../cluster/machine.ts"
import { leads } from "../cluster/roles.ts"
import type { World } from "../cluster/world.ts"
import type { Ledger } from "./ledger.ts"

export const faultKinds = [
  "crash",
  "stop",
  "keeper",
  "power",
  "cut",
  "oneway",
  "flap",
  "pause",
  "sleep",
  "disk",
  "clock",
  "transfer",
  "cordon",
  "drain",
  "open",
] as const
export type FaultKind = (typeof faultKinds)[number]

export interface FaultOptions {
  readonly kinds: readonly FaultKind[]
  /** Mean ms between two. */
  readonly everyMs: number
  /** Most hosts that are touched at once. */
  readonly atOnce: number
  /** The longest sleep. */
  readonly sleepMaxMs: number
}

export class Faults {
  readonly #world: World
  readonly #ledger: Ledger
  readonly #random: SeededRandom
  readonly #options: FaultOptions
  readonly #busy = new Set<Machine>()
  /** What ends each fault that is under way. */
  readonly #heals = new Set<() => void>()
  #isActive = false
  readonly counts = new Map<FaultKind | "dead", number>()

  constructor(parts: { readonly world: World; readonly ledger: Ledger }, options: FaultOptions) {
    this.#world = parts.world
    this.#ledger = parts.ledger
    this.#random = parts.world.random.fork()
    this.#options = options
  }

  get count(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  begin(): void {
    this.#isActive = true
    this.#later()
  }

  /** Everything heals, everybody is up. */
  end(): void {
    this.#isActive = false
    this.#world.note("calm")
    for (const heal of this.#heals) heal()
    this.#world.net.heal()
    for (const machine of this.#world.machines) {
      machine.slowDiskMs = 0
      if (!machine.running) machine.start()
    }
  }

  /** Nothing is held back by anybody's word any more. */
  open(): void {
    for (const machine of this.#world.machines) this.#cordon(machine, "open")
  }

  #later(): void {
    this.#world.clock.after(2 * this.#options.everyMs * this.#random.next(), () => {
      if (!this.#isActive) return
      this.#one()
      this.#later()
    })
  }

  #one(): void {
    const { kinds, atOnce } = this.#options
    const kind = this.#random.pick(kinds)
    const free = this.#world.machines.filter((machine) => !this.#busy.has(machine))
    const isHost = kind !== "cut" && kind !== "oneway" && kind !== "flap"
    if (isHost && (this.#busy.size >= atOnce || free.length === 0)) return
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    if (kind === "cut" || kind === "oneway") return this.#cut(kind)
    if (kind === "flap") return this.#flap()
    const leader = free.find(leads)
    const victim = leader && this.#random.chance(0.35) ? leader : this.#random.pick(free)
    this.#strike(victim, kind)
  }

  #duration(shortMs: number, longMs: number): number {
    const { random } = this
    return random.chance(0.5) ? random.between(1, shortMs) : random.between(shortMs, longMs)
  }

  get random(): SeededRandom {
    return this.#random
  }

  /** Heals after `ms`, or when calm comes. */
  #until(machines: readonly Machine[], ms: number, heal: () => void): void {
    for (const machine of machines) this.#busy.add(machine)
    const once = (): void => {
      if (!this.#heals.delete(once)) return
      for (const machine of machines) this.#busy.delete(machine)
      heal()
    }
    this.#heals.add(once)
    this.#world.clock.after(ms, once)
  }

  #strike(victim: Machine, kind: FaultKind): void {
    const start = (): void => {
      if (!victim.running) victim.start()
    }
    switch (kind) {
      case "crash":
        victim.kill()
        return this.#until([victim], this.#duration(800, 15_000), start)
      case "stop":
        void victim.stop()
        return this.#until([victim], this.#duration(2000, 15_000), () => {
          victim.kill()
          start()
        })
      case "keeper":
        return this.#crashKeeper(victim)
      case "power":
        victim.cutPower()
        this.#ledger.absent(victim.name)
        this.#declareDead(victim)
        return this.#until([victim], this.#duration(5000, 40_000), () => {
          this.#ledger.present(victim.name)
          victim.bootUp()
          start()
        })
      case "pause":
        victim.pause()
        return this.#until([victim], this.#duration(900, 12_000), () => victim.resume())
      case "sleep":
        return this.#sleep(victim)
      case "disk":
        victim.slowDiskMs = this.#random.pick([10, 60, 300, 1500])
        this.#world.note(`${victim.name} needs ${victim.slowDiskMs} ms a sync`)
        return this.#until([victim], this.#duration(1000, 10_000), () => {
          victim.slowDiskMs = 0
        })
      case "clock":
        victim.skewMs = this.#random.pick([-30_000, -5000, -300, 300, 5000, 30_000])
        this.#world.note(`${victim.name} has its clock off by ${victim.skewMs} ms`)
        return this.#until([victim], this.#duration(1000, 20_000), () => {
          victim.skewMs = 0
        })
      case "transfer":
        return this.#say(`${victim.name} is to lead`, (node, signal) =>
          node.transferLeader({ to: victim.name }, { signal }),
        )
      case "cordon":
      case "drain":
      case "open":
        return this.#cordon(victim, kind)
      case "cut":
      case "oneway":
      case "flap":
        throw new Error(`${kind} strikes no single host`)
    }
  }

  #crashKeeper(victim: Machine): void {
    this.#world.note(`the keeper of ${victim.name} is killed`)
    this.#ledger.absent(victim.name)
    victim.keeper.crash()
    this.#until([victim], victim.keeper.restartMs + 1, () => this.#ledger.present(victim.name))
  }

  /** Nothing moves there, and the others hear nothing: when it wakes, its connections may be gone. */
  #sleep(victim: Machine): void {
    const { net, machines } = this.#world
    const ms = this.#duration(3000, this.#options.sleepMaxMs)
    this.#ledger.absent(victim.name)
    victim.sleep()
    this.#declareDead(victim)
    const others = machines.filter((machine) => machine !== victim)
    for (const { peerId } of others) net.partition([victim.peerId], [peerId])
    this.#until([victim], ms, () => {
      for (const { peerId } of others) {
        net.heal(victim.peerId, peerId)
        net.heal(peerId, victim.peerId)
      }
      victim.wake()
      this.#ledger.present(victim.name)
    })
  }

  #cordon(victim: Machine, mode: "cordon" | "drain" | "open"): void {
    const { random } = this
    const deadlineMs =
      mode === "drain" && random.chance(0.7) ? random.between(0, 10_000) : undefined
    const asked = { mode, reason: "by hand", ...(deadlineMs !== undefined && { deadlineMs }) }
    const until = deadlineMs === undefined ? "" : ` within ${deadlineMs} ms`
    this.#say(`${mode} ${victim.name}${until}`, (node, signal) =>
      node.cordonNode(victim.name, asked, { signal }),
    )
  }

  /** Somebody believes it: rightly of a host without power, wrongly of one that sleeps. */
  #declareDead(victim: Machine): void {
    if (!this.random.chance(0.3)) return
    this.#world.clock.after(this.random.between(3000, 12_000), () => {
      if (!this.#busy.has(victim)) return
      this.#say(`${victim.name} is dead`, async (node, signal) => {
        const told = await node.declareDead(victim.name, { reason: "", force: false }, { signal })
        this.counts.set("dead", (this.counts.get("dead") ?? 0) + 1)
        return told
      })
    })
  }

  /** Somebody's word, at any node. */
  #say(what: string, call: (node: TroupeNode, signal: AbortSignal) => Promise<unknown>): void {
    const up = this.#world.machines.filter(({ node, isAsleep }) => node && !isAsleep)
    if (up.length === 0) return
    const { node, name } = this.random.pick(up)
    const signal = this.#world.clock.timeoutSignal(5000, what)
    this.#world.note(`somebody says at ${name}: ${what}`)
    call(node!, signal).then(
      () => this.#world.note(`so it is: ${what}`),
      (error: unknown) => this.#world.note(`it may not be that ${what}: ${String(error)}`),
    )
  }

  #cut(kind: "cut" | "oneway"): void {
    const { machines, net } = this.#world
    const random = this.#random
    const one = machines.filter(() => random.chance(0.4))
    const other = machines.filter((machine) => !one.includes(machine))
    const isOut = kind === "cut" || random.chance(0.5)
    const isIn = kind === "cut" || !isOut
    const ms = this.#duration(900, 25_000)
    const arrow = isOut && isIn ? "|" : isOut ? "-x->" : "<-x-"
    this.#world.note(`${names(one)} ${arrow} ${names(other)} for ${ms} ms`)
    const ways: [string, string][] = []
    for (const a of one) {
      for (const b of other) {
        if (isOut) ways.push([a.peerId, b.peerId])
        if (isIn) ways.push([b.peerId, a.peerId])
      }
    }
    for (const [from, to] of ways) net.cut(from, to)
    this.#until([], ms, () => {
      for (const [from, to] of ways) net.heal(from, to)
    })
  }

  #flap(): void {
    const { machines, net, clock } = this.#world
    if (machines.length < 2) return
    const one = this.#random.pick(machines)
    const other = this.#random.pick(machines.filter((machine) => machine !== one))
    const times = this.#random.between(1, 8)
    this.#world.note(`${one.name} and ${other.name} lose each other ${times} times`)
    let at = 0
    for (let count = 0; count < times; count++) {
      clock.after(at, () => net.reset(one.peerId, other.peerId))
      at += this.#random.between(5, 400)
    }
  }
}

function names(machines: readonly Machine[]): string {
  return machines.map(({ name }) => name).join() || "nobody"
}

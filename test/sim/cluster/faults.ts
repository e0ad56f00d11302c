/** What happens to machines and ways between them, by dice, and who was touched when. */
import { noted } from "../../support/fake-storage.ts"
import { SeededRandom } from "../../support/random.ts"
import { Disks, joinsOnly } from "./disks.ts"
import { Hands } from "./hands.ts"
import type { Machine } from "./machine.ts"
import { leads } from "./roles.ts"
import type { World } from "./world.ts"

export interface FaultOptions {
  /** For damage and by-hand: a seed. */
  readonly dice: number
  /** Mean ms between two faults. */
  readonly everyMs: number
  /** Most machines that are down at once. */
  readonly downMax: number
  readonly cuts: boolean
  readonly wipes: boolean
  /** Processes that stand still for a while. */
  readonly pauses: boolean
  /** Connections that break while both sides live. */
  readonly flaps: boolean
  /** How often a stopped machine's disk is damaged or put back to an older image; 0: never. */
  readonly damage: number
  /** Somebody removes nodes and hands leadership on. */
  readonly hands: boolean
}

/** Between two looks for nodes that were removed, which somebody then sets up anew. */
const tidyMs = 700

export class Faults {
  readonly #world: World
  readonly #random: SeededRandom
  readonly #options: FaultOptions
  /** Start and end (boot-time clock) of what was done to a machine. */
  readonly #touched = new Map<Machine, { from: number; to: number }[]>()
  /** One in each world: what is deleted twice within moments may be gone, and rightly so. */
  readonly #wiped = new Set<Machine>()
  readonly #paused = new Set<Machine>()
  readonly #disks: Disks
  readonly #hands: Hands
  /** Of its own, so that worlds without damage are what they were before there was any. */
  readonly #dice: SeededRandom
  #active = false
  count = 0

  constructor(world: World, options: FaultOptions) {
    this.#world = world
    this.#random = world.random.fork()
    this.#options = options
    this.#dice = new SeededRandom(options.dice)
    this.#disks = new Disks(world, this.#dice.fork())
    this.#hands = new Hands(world, this.#dice.fork())
  }

  begin(): void {
    this.#active = true
    for (const machine of this.#options.damage > 0 ? this.#world.machines : []) {
      this.#disks.image(machine)
    }
    this.#later()
    if (this.#options.hands) this.#tidy()
  }

  /** Everything heals, everybody is up. */
  end(): void {
    this.#active = false
    this.#world.note("calm")
    for (const machine of this.#paused) machine.resume()
    this.#world.net.heal()
    for (const machine of this.#world.machines) if (!machine.running) machine.start()
  }

  /** Whether anything was done to it between these times. */
  wasTouched(machine: Machine, from: number, to: number): boolean {
    return (this.#touched.get(machine) ?? []).some((time) => time.from <= to && time.to >= from)
  }

  /** What was done to disks, and by hand, by its name. */
  get special(): ReadonlyMap<string, number> {
    return new Map([...this.#disks.done, ...this.#hands.done])
  }

  /** Who was removed is somebody new when its data directory is deleted. It goes on when faults are over. */
  #tidy(): void {
    this.#world.clock.after(tidyMs, () => {
      for (const machine of this.#world.machines) {
        if (!machine.running || noted(machine.disk, "removed") === undefined) continue
        this.#touch([machine], 8000)
        this.#world.note(`${machine.name} was removed and is set up anew`)
        machine.kill()
        machine.wipe(joinsOnly(this.#world))
        machine.start()
      }
      this.#tidy()
    })
  }

  #later(): void {
    const { everyMs } = this.#options
    this.#world.clock.after(2 * everyMs * this.#random.next(), () => {
      if (!this.#active) return
      this.#one()
      this.#later()
    })
  }

  #one(): void {
    this.count++
    const { machines } = this.#world
    const down = machines.filter(({ running }) => !running)
    const { downMax, cuts, pauses, flaps, damage, hands } = this.#options
    if (damage > 0 && this.#dice.chance(0.5)) this.#disks.image()
    if (this.#disks.isDelicate) return
    if (hands && this.#dice.chance(0.25)) {
      const victim = this.#hands.one()
      if (victim) this.#touch([victim], 45_000)
    } else if (damage > 0 && this.#dice.chance(damage / 2)) {
      if (down.length < downMax) this.#crash()
    } else if (pauses && this.#random.chance(0.2)) this.#pause()
    else if (flaps && machines.length > 1 && this.#random.chance(0.3)) this.#flap()
    else if (cuts && machines.length > 1 && this.#random.chance(0.45)) this.#cut()
    else if (down.length < downMax) this.#crash()
  }

  #crash(): void {
    const { machines, clock } = this.#world
    const up = machines.filter(({ running }) => running)
    if (up.length === 0) return
    const leader = up.find((machine) => leads(machine))
    const victim = leader && this.#random.chance(0.4) ? leader : this.#random.pick(up)
    const ms = this.#random.chance(0.5)
      ? this.#random.between(1, 800)
      : this.#random.between(800, 9000)
    this.#touch([victim], ms + 3000)
    let gone: Promise<unknown> = Promise.resolve()
    if (this.#random.chance(0.2)) gone = victim.stop()
    else victim.kill()
    // One data directory in a while is deleted, never while another member is not whole yet.
    const isWiped = this.#options.wipes && this.#random.chance(0.15) && this.#isWhole(victim)
    const start = (): void => {
      if (!victim.running) victim.start()
    }
    const restart = (): void => {
      if (victim.running) return
      if (isWiped) {
        this.#world.note(`${victim.name} is wiped`)
        victim.wipe(joinsOnly(this.#world))
      } else if (this.#dice.chance(this.#options.damage)) {
        this.#disks.hurt(victim, start)
        return
      }
      start()
    }
    // One that was asked to stop may still be handing over: it starts again when it is gone.
    clock.after(ms, () => void gone.then(restart))
  }

  #pause(): void {
    const { machines, clock } = this.#world
    const up = machines.filter(({ running }) => running)
    if (up.length === 0) return
    const victim = this.#random.pick(up)
    const ms = this.#random.chance(0.6)
      ? this.#random.between(50, 900)
      : this.#random.between(900, 8000)
    this.#touch([victim], ms + 8000)
    victim.pause()
    this.#paused.add(victim)
    clock.after(ms, () => {
      this.#paused.delete(victim)
      victim.resume()
    })
  }

  /** A link that breaks again and again; nothing else happens to anybody. */
  #flap(): void {
    const { machines, net, clock } = this.#world
    const one = this.#random.pick(machines)
    const other = this.#random.pick(machines.filter((machine) => machine !== one))
    const times = this.#random.between(1, 12)
    this.#world.note(`${one.name} and ${other.name} lose each other ${times} times`)
    let at = 0
    for (let count = 0; count < times; count++) {
      clock.after(at, () => net.reset(one.peerId, other.peerId))
      at += this.#random.between(5, 300)
    }
  }

  /** Everybody else runs, follows one leader and holds what it holds. */
  #isWhole(victim: Machine): boolean {
    const others = this.#world.machines.filter((machine) => machine !== victim)
    const indexes = others.map(({ replicated }) => replicated?.index).filter((index) => index)
    return (
      this.#wiped.size === 0 &&
      others.every((machine) => machine.node?.ready().ready === true) &&
      indexes.length >= 2 &&
      this.#wiped.add(victim).size === 1
    )
  }

  #cut(): void {
    const { machines, net, clock } = this.#world
    const random = this.#random
    const ms = random.chance(0.5) ? random.between(10, 900) : random.between(900, 9000)
    const one = machines.filter(() => random.chance(0.4))
    const other = machines.filter((machine) => !one.includes(machine))
    const kind = random.below(3)
    this.#world.note(`cut ${kind} ${one.map(({ name }) => name).join()} for ${ms} ms`)
    this.#touch(kind === 0 ? machines : [...one, ...other], ms + 8000)
    for (const a of one) {
      for (const b of other) {
        if (kind !== 1) net.cut(a.peerId, b.peerId)
        if (kind !== 2) net.cut(b.peerId, a.peerId)
        const [from, to] = [a.peerId, b.peerId]
        clock.after(ms, () => {
          net.heal(from, to)
          net.heal(to, from)
        })
      }
    }
  }

  #touch(machines: readonly Machine[], ms: number): void {
    const from = this.#world.clock.boottime()
    for (const machine of machines) {
      const times = this.#touched.get(machine) ?? []
      this.#touched.set(machine, times)
      times.push({ from, to: from + ms })
    }
  }
}

/** One seed: a cluster forms in any order, works while it is hurt, and must come out right when it is left in peace. */
import { Clients, script } from "./clients.ts"
import { Faults } from "./faults.ts"
import {
  accountedFor,
  agreed,
  formed,
  runsOf,
  sameTables,
  startedOnce,
  untouchedSucceeded,
} from "./verify.ts"
import { World } from "./world.ts"

export interface SimOptions {
  readonly seed: number
  /** 1 to 7; by dice unless given. */
  readonly size?: number
  /** Lines of log that a failure shows. */
  readonly lines?: number
  /** Gets the log while it is written. */
  readonly onLine?: (line: string) => void
}

export interface SimResult {
  readonly seed: number
  /** What broke, with the last lines of the log. */
  readonly failure: string | undefined
  readonly size: number
  readonly faults: number
  /** Damaged disks and what was done by hand, by name. */
  readonly special: Readonly<Record<string, number>>
  readonly runs: number
  readonly succeeded: number
  readonly started: number
  readonly compared: number
  /** Calls of clients that were put in order. */
  readonly ordered: number
  readonly virtualMs: number
}

const formMs = 90_000
const calmMs = 180_000

export async function runCluster(options: SimOptions): Promise<SimResult> {
  const simulation = new Simulation(options)
  if (options.onLine) simulation.world.onLine = options.onLine
  let failure: string | undefined
  try {
    await simulation.run()
  } catch (error) {
    const lines = simulation.world.lines.slice(-(options.lines ?? 60))
    failure = `seed ${options.seed}: ${(error as Error).message}\n${lines.map((line) => `    ${line}`).join("\n")}`
  }
  return { ...simulation.sums, seed: options.seed, failure }
}

class Simulation {
  readonly world: World
  readonly #size: number
  readonly #clients: Clients
  readonly #faults: Faults
  sums = {
    size: 0,
    faults: 0,
    special: {} as Record<string, number>,
    runs: 0,
    succeeded: 0,
    started: 0,
    compared: 0,
    ordered: 0,
    virtualMs: 0,
  }

  constructor({ seed, size }: SimOptions) {
    // The first numbers of near seeds are unlike already: the generator spreads them.
    const frameLoss = [0, 0, 0.01, 0.05][seed % 4]!
    const far = seed % 5 === 0
    this.world = new World({
      seed,
      script,
      network: {
        frameLoss,
        delayMs: far ? [5, 25] : [0.1, 2],
        silenceMs: 5000,
        // In every fourth world orders and reports come twice, the second time late.
        echoes: seed % 4 === 3 ? 0.2 : 0,
      },
    })
    const { random } = this.world
    const isHurt = seed % 2 === 0
    const drawn = random.chance(0.2) ? random.between(6, 7) : random.between(1, 5)
    // Fewer than three have no disk to spare.
    this.#size = size ?? Math.max(drawn, isHurt ? 3 : 1)
    const isMdns = random.chance(0.5)
    // In some worlds a silent voter is replaced within seconds, and comes back to find itself a worker.
    const isHasty = random.chance(0.3)
    // In every third the voters' tables are compared all the time: nobody may be found wrong.
    const checked = seed % 3 === 0 ? { checkpointMs: 1500 } : {}
    const hasty = isHasty ? { replaceVoterMs: random.between(500, 4000) } : {}
    const timing = { ...checked, ...hasty }
    for (let number = 1; number <= this.#size; number++) {
      const others = Array.from({ length: this.#size }, (_, place) => place + 1)
      const seeds = isMdns || number === 1 ? [] : others.filter((other) => other < number)
      const snapshotBytes = random.between(4, 64) << 10
      const limits = { snapshotBytes, entriesKept: random.between(5, 200) }
      const voter = number > 3 && random.chance(0.1) ? "never" : "auto"
      const isShort = random.chance(0.5)
      this.world.add({ number, mdns: isMdns, seeds, timing, voter, ...(isShort && { limits }) })
    }
    this.#clients = new Clients(this.world)
    this.#faults = new Faults(this.world, {
      everyMs: random.chance(0.3) ? random.between(100, 600) : random.between(600, 5000),
      downMax: random.between(1, Math.max(1, this.#size - 1)),
      cuts: random.chance(0.6),
      pauses: random.chance(0.4),
      flaps: random.chance(0.4),
      wipes: this.#size >= 3 && random.chance(0.5) && !isHurt,
      dice: seed,
      // In every second world disks are damaged, too, and in every third somebody works by hand.
      damage: isHurt ? 0.8 : 0,
      hands: seed % 3 === 1,
    })
  }

  async run(): Promise<void> {
    try {
      await this.#form()
      await this.#work()
      await this.#calm()
    } finally {
      this.sums = {
        ...this.sums,
        size: this.#size,
        faults: this.#faults.count,
        special: Object.fromEntries(this.#faults.special),
        compared: this.world.watch.compared,
        virtualMs: this.world.clock.boottime(),
      }
    }
  }

  /** Nodes start whenever they like and hear of each other whenever the network likes. */
  async #form(): Promise<void> {
    const { machines, random, clock, net } = this.world
    const isRough = random.chance(0.4)
    for (const machine of machines) {
      const start = (): void => {
        if (!machine.running) machine.start()
      }
      const at = random.chance(0.5) ? random.between(0, 50) : random.between(0, 4000)
      clock.after(at, start)
      for (const other of machines) {
        if (other === machine || !random.chance(0.2)) continue
        net.cut(machine.peerId, other.peerId)
        clock.after(random.between(0, 6000), () => net.heal(machine.peerId, other.peerId))
      }
      // Some die on their first steps.
      if (!isRough || !random.chance(0.4)) continue
      clock.after(at + random.between(0, 5000), () => {
        machine.kill()
        clock.after(random.between(1, 1500), start)
      })
    }
    await this.world.pass(8000)
    await this.world.until("one cluster", formMs, () => formed(this.world))
  }

  async #work(): Promise<void> {
    const { random } = this.world
    this.#faults.begin()
    this.#clients.visitors.begin()
    const rounds = random.between(3, 12)
    for (let round = 0; round < rounds; round++) {
      this.#clients.submit()
      await this.world.pass(random.chance(0.5) ? random.between(0, 100) : random.between(100, 5000))
    }
    await this.world.pass(random.between(0, 8000))
  }

  async #calm(): Promise<void> {
    this.#faults.end()
    const { world } = this
    const { visitors } = this.#clients
    visitors.end()
    const clients = this.#clients
    await world.until("every submission acknowledged", calmMs, () =>
      clients.submissions.every(({ run }) => run !== undefined),
    )
    await world.until("visitors that leave", calmMs, () => visitors.haveLeft)
    const leader = await world.until("one leader, all finished, all agree", calmMs, () => {
      const found = formed(world)
      if (!found || !agreed(world, found)) return undefined
      return runsOf(found).every(({ state }) => state === "finished") ? found : undefined
    })
    // Every node tells all of it, as part of the history.
    for (const machine of world.machines) {
      const told = visitors.list(`end-${machine.name}`, machine, runsOf(leader).length)
      await this.#settled("a list at the end", told)
    }
    // The lists took their time, and something may have been written meanwhile.
    await world.until("all agree again", calmMs, () => agreed(world, leader) || undefined)
    sameTables(world, leader)
    accountedFor(clients.acknowledged, leader)
    const { succeeded, total } = untouchedSucceeded(world, leader, this.#faults)
    const ordered = visitors.check().calls
    this.sums = { ...this.sums, runs: total, succeeded, started: startedOnce(world), ordered }
    // What is over is forgotten: nothing grows with every run.
    await world.until("keepers that hold nothing", calmMs, () =>
      world.machines.every(({ keeper }) => keeper.list().length === 0),
    )
  }

  /** Lets time pass until it is. */
  async #settled(what: string, work: Promise<void>): Promise<void> {
    let isSettled = false
    const settle = (): void => {
      isSettled = true
    }
    work.then(settle, settle)
    await this.world.until(what, calmMs, () => isSettled)
    await work
  }
}

/** One seed of a majority that is lost for good: somebody recovers the best copy that is left, the others come back empty
 *  or with what they held, and all of it becomes one cluster again. */
import type { ReplicaView } from "../../../src/schema/index.ts"
import { Clients, script } from "./clients.ts"
import { Faults } from "./faults.ts"
import type { Machine } from "./machine.ts"
import { recoverMachine } from "./recovered.ts"
import { leads } from "./roles.ts"
import { accountedFor, agreed, formed, runsOf, sameTables, startedOnce } from "./verify.ts"
import { InvariantError } from "./watch.ts"
import { World } from "./world.ts"

export interface RecoveryResult {
  readonly seed: number
  readonly failure: string | undefined
  readonly size: number
  /** Machines whose disks were lost. */
  readonly destroyed: number
  readonly runs: number
  /** Acknowledged runs that only the lost disks had; only where the cluster had no moment to agree. */
  readonly gone: number
}

const formMs = 90_000
const calmMs = 240_000

export async function runRecovery(options: {
  readonly seed: number
  readonly onLine?: (line: string) => void
}): Promise<RecoveryResult> {
  const recovery = new Recovery(options.seed)
  if (options.onLine) recovery.world.onLine = options.onLine
  let failure: string | undefined
  try {
    await recovery.run()
  } catch (error) {
    const lines = recovery.world.lines.slice(-80).map((line) => `    ${line}`)
    failure = `seed ${options.seed}: ${(error as Error).message}\n${lines.join("\n")}`
  }
  return { seed: options.seed, failure, ...recovery.sums }
}

class Recovery {
  readonly world: World
  readonly #clients: Clients
  readonly #faults: Faults
  /** All had agreed before the disks were lost: then nothing that was acknowledged may be gone. */
  readonly #isQuiet: boolean
  sums = { size: 0, destroyed: 0, runs: 0, gone: 0 }

  constructor(seed: number) {
    const frameLoss = [0, 0, 0.02][seed % 3]!
    this.world = new World({ seed, script, network: { frameLoss, silenceMs: 5000 } })
    const { random } = this.world
    const size = random.between(3, 7)
    const isMdns = random.chance(0.5)
    const snapshotBytes = random.between(4, 64) << 10
    const limits = { snapshotBytes, entriesKept: random.between(5, 200) }
    for (let number = 1; number <= size; number++) {
      const all = Array.from({ length: size }, (_, place) => place + 1)
      const seeds = isMdns ? [] : all.filter((other) => other !== number)
      this.world.add({ number, mdns: isMdns, seeds, ...(random.chance(0.5) && { limits }) })
    }
    this.#isQuiet = random.chance(0.5)
    this.#clients = new Clients(this.world)
    this.#faults = new Faults(this.world, {
      everyMs: random.between(300, 3000),
      downMax: random.between(1, size - 1),
      cuts: random.chance(0.5),
      pauses: random.chance(0.3),
      flaps: random.chance(0.3),
      wipes: false,
      dice: seed,
      damage: 0,
      hands: false,
    })
    this.sums = { ...this.sums, size }
  }

  async run(): Promise<void> {
    const { world } = this
    const { random, clock } = world
    for (const machine of world.machines) {
      clock.after(random.between(0, 3000), () => machine.start())
    }
    await world.pass(4000)
    await world.until("one cluster", formMs, () => formed(world))
    await this.#work()
    const { best, lost } = await this.#destroy()
    const before = this.#clients.acknowledged
    const kept = runsOf(best).map(({ id }) => id)
    const clusterId = await this.#recover(best)
    await this.#comeBack(lost)
    const after = this.#clients.acknowledged.filter((one) => !before.includes(one))
    await this.#verify(clusterId, { before, kept, after })
  }

  async #work(): Promise<void> {
    const { world } = this
    const { random } = world
    const { visitors, submissions } = this.#clients
    this.#faults.begin()
    if (this.#isQuiet) visitors.begin()
    for (let rounds = random.between(2, 8); rounds > 0; rounds--) {
      this.#clients.submit()
      await world.pass(random.between(0, 3000))
    }
    this.#faults.end()
    if (!this.#isQuiet) {
      // Somebody has to know who votes.
      await world.until("a leader", formMs, () => this.#leader())
      return
    }
    visitors.end()
    await world.until("all submissions acknowledged", calmMs, () =>
      submissions.every(({ run }) => run !== undefined),
    )
    await world.until("visitors that leave", calmMs, () => visitors.haveLeft)
    await world.until("all agree", calmMs, () => {
      const leader = formed(world)
      return leader && agreed(world, leader)
    })
  }

  #leader(): Machine | undefined {
    const [leader, ...others] = this.world.machines.filter((machine) => leads(machine))
    const voters = leader?.replicated?.voters ?? []
    return others.length === 0 && voters.length === 1 ? leader : undefined
  }

  /** A majority of the voters at least, and never all that hold a copy. */
  async #destroy(): Promise<{ best: Machine; lost: readonly Machine[] }> {
    const { world } = this
    const { random, machines } = world
    const leader = await world.until("a leader", formMs, () => this.#leader())
    const ids = leader.replicated!.voters[0]!
    const holders = machines.filter(({ replicated }) => replicated !== undefined)
    const voters = holders.filter(({ replicated }) => ids.includes(replicated!.memberId))
    const rest = machines.filter((machine) => !voters.includes(machine))
    const majority = Math.floor(ids.length / 2) + 1
    const most = holders.length > voters.length ? voters.length : voters.length - 1
    const count = random.between(Math.min(majority, most), most)
    const lost = shuffled(voters, random).slice(0, count)
    if (!this.#isQuiet) await this.#hurry(lost)
    lost.push(...rest.filter((machine) => !holders.includes(machine) && random.chance(0.3)))
    for (const machine of lost) {
      machine.kill()
      machine.wipe()
      world.note(`${machine.name} is lost with its disk`)
      if (random.chance(0.3)) await world.pass(random.between(1, 200))
    }
    world.net.heal()
    await world.pass(random.chance(0.5) ? random.between(0, 500) : random.between(500, 20_000))
    this.sums = { ...this.sums, destroyed: lost.length }
    const left = machines.filter((machine) => !lost.includes(machine))
    return { best: await world.until("a copy", formMs, () => bestOf(left)), lost }
  }

  /** Work that perhaps only those have who are lost a moment later. */
  async #hurry(lost: readonly Machine[]): Promise<void> {
    const { random, net, machines } = this.world
    const left = machines.filter((machine) => !lost.includes(machine))
    if (random.chance(0.5)) {
      net.partition(peersOf(lost), peersOf(left))
    }
    for (let count = random.between(1, 6); count > 0; count--) {
      this.#clients.submit()
      await this.world.pass(random.between(0, 400))
    }
  }

  async #recover(best: Machine): Promise<string> {
    const { world } = this
    const { random } = world
    for (const machine of world.machines) {
      if (machine !== best && machine.running && random.chance(0.4)) machine.kill()
    }
    best.kill()
    const clusterId = await recoverMachine(world, best)
    world.note(`${best.name} is recovered as ${clusterId}`)
    best.start()
    if (random.chance(0.3)) {
      await world.pass(random.between(1, 1500))
      best.kill()
      best.start()
    }
    await world.until("the recovered one to lead", calmMs, () => leads(best))
    return clusterId
  }

  async #comeBack(lost: readonly Machine[]): Promise<void> {
    const { world } = this
    const { random, clock } = world
    for (const machine of world.machines) {
      const ms = lost.includes(machine) ? random.between(0, 20_000) : random.between(0, 8000)
      clock.after(ms, () => {
        if (!machine.running) machine.start()
      })
    }
    for (let rounds = random.between(1, 5); rounds > 0; rounds--) {
      this.#clients.submit()
      await world.pass(random.between(0, 5000))
    }
    await world.pass(20_000)
  }

  async #verify(
    clusterId: string,
    runs: {
      readonly before: readonly Clients["submissions"][number][]
      readonly kept: readonly string[]
      readonly after: readonly Clients["submissions"][number][]
    },
  ): Promise<void> {
    const { world } = this
    const clients = this.#clients
    await world.until("every submission acknowledged", calmMs, () =>
      clients.submissions.every(({ run }) => run !== undefined),
    )
    const leader = await world.until("one cluster, all finished, all agree", calmMs, () => {
      const found = formed(world)
      if (!found || !agreed(world, found)) return undefined
      return runsOf(found).every(({ state }) => state === "finished") ? found : undefined
    })
    if (leader.replicated!.clusterId !== clusterId) {
      throw new InvariantError(`${leader.name} leads ${leader.replicated!.clusterId} still`)
    }
    sameTables(world, leader)
    const ids = new Set(runsOf(leader).map(({ id }) => id))
    const missing = runs.kept.find((id) => !ids.has(id))
    if (missing !== undefined) throw new InvariantError(`${missing} was in the copy and is gone`)
    // By key too: what the copy had and nobody had accepted may have the number of a run that only the lost disks had.
    const held = new Map(runsOf(leader).map(({ id, key }) => [key, id]))
    const there = runs.before.filter(({ key, run }) => held.get(key) === run)
    accountedFor(this.#isQuiet ? clients.acknowledged : [...there, ...runs.after], leader)
    if (this.#isQuiet) clients.visitors.check()
    startedOnce(world)
    await world.until("keepers that hold nothing", calmMs, () =>
      world.machines.every(({ keeper }) => keeper.list().length === 0),
    )
    const gone = runs.before.length - there.length
    this.sums = { ...this.sums, runs: ids.size, gone }
  }
}

/** As `cluster recover` compares them. */
function bestOf(machines: readonly Machine[]): Machine | undefined {
  const copies = machines
    .map((machine) => ({ machine, view: machine.node?.replicaView() }))
    .filter((copy): copy is { machine: Machine; view: ReplicaView } => copy.view?.hasLog === true)
    .toSorted((a, b) => b.view.lastTerm - a.view.lastTerm || b.view.lastIndex - a.view.lastIndex)
  return copies[0]?.machine
}

function shuffled<T>(items: readonly T[], random: { next(): number }): T[] {
  return items
    .map((item) => ({ item, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

function peersOf(machines: readonly Machine[]): string[] {
  return machines.map(({ peerId }) => peerId)
}

/** One seed of beginnings: nodes start when they like and hear of each other when they like, some are given work, some
 *  die. In the end there is one cluster, unless several have accepted work: then exactly those. */
import { readCluster, type View } from "../../../src/state/index.ts"
import { SubmitRun } from "../../../src/schema/index.ts"
import { until } from "../../../src/platform/index.ts"
import { leads } from "./roles.ts"
import type { Machine } from "./machine.ts"
import { membersOf, runsOf } from "./verify.ts"
import { InvariantError } from "./watch.ts"
import { World } from "./world.ts"

export interface BootstrapResult {
  readonly seed: number
  readonly failure: string | undefined
  readonly size: number
  /** Clusters at the end, and those of them that have accepted work. */
  readonly clusters: number
  readonly used: number
  readonly accepted: number
}

interface Accepted {
  readonly key: string
  readonly run: string
}

/** A leader with everybody who follows it. */
interface Group {
  readonly clusterId: string
  readonly machines: readonly Machine[]
  readonly leader: Machine
  readonly used: boolean
}

const roughMs = 20_000
const calmMs = 240_000
const stillMs = 15_000
const askMs = 12_000
const document = "api_version: v1\nroles:\n  only:\n    command: [work]\n"

export async function runBootstrap(options: {
  readonly seed: number
  readonly onLine?: (line: string) => void
}): Promise<BootstrapResult> {
  const bootstrap = new Bootstrap(options.seed)
  if (options.onLine) bootstrap.world.onLine = options.onLine
  let failure: string | undefined
  try {
    await bootstrap.run()
  } catch (error) {
    const lines = bootstrap.world.lines.slice(-60).map((line) => `    ${line}`)
    failure = `seed ${options.seed}: ${(error as Error).message}\n${lines.join("\n")}`
  }
  return { seed: options.seed, failure, ...bootstrap.sums }
}

class Bootstrap {
  readonly world: World
  readonly #accepted: Accepted[] = []
  sums = { size: 0, clusters: 0, used: 0, accepted: 0 }

  constructor(seed: number) {
    this.world = new World({
      seed,
      script: () => ({ durationMs: 100 }),
      network: { frameLoss: [0, 0.02][seed % 2]!, delayMs: seed % 5 === 0 ? [5, 25] : [0.1, 2] },
    })
    const { random } = this.world
    const size = random.between(2, 7)
    const isMdns = random.chance(0.5)
    const expect = random.chance(0.25) ? random.between(2, size) : undefined
    for (let number = 1; number <= size; number++) {
      const before = Array.from({ length: number - 1 }, (_, place) => place + 1)
      // Any tree, or more, of who was told of whom.
      const one = before.length > 0 ? [random.pick(before)] : []
      const seeds = isMdns
        ? []
        : [...one, ...before.filter((other) => !one.includes(other) && random.chance(0.3))]
      const voter = number > 3 && random.chance(0.1) ? "never" : "auto"
      this.world.add({
        number,
        mdns: isMdns,
        seeds,
        voter,
        ...(expect !== undefined && { expect }),
      })
    }
    this.sums = { ...this.sums, size }
  }

  async run(): Promise<void> {
    this.#begin()
    await this.world.pass(roughMs)
    this.world.net.heal()
    for (const machine of this.world.machines) if (!machine.running) machine.start()
    const find = (): readonly Group[] | undefined => this.#settled()
    await this.world.until("one cluster, or the used ones", calmMs, find)
    // What has settled stays.
    await this.world.pass(stillMs)
    const groups = find() ?? (await this.world.until("it to settle again", calmMs, find))
    await this.#verify(groups)
  }

  #begin(): void {
    const { machines, random, clock, net } = this.world
    for (const machine of machines) {
      const at = random.chance(0.5) ? random.between(0, 50) : random.between(0, 8000)
      const start = (): void => {
        if (!machine.running) machine.start()
      }
      clock.after(at, start)
      for (const other of machines) {
        if (other === machine || !random.chance(0.4)) continue
        net.cut(machine.peerId, other.peerId)
        const healMs = random.between(0, roughMs)
        clock.after(healMs, () => net.heal(machine.peerId, other.peerId))
      }
      if (random.chance(0.25)) {
        clock.after(at + random.between(0, roughMs / 2), () => {
          machine.kill()
          clock.after(random.between(1, 3000), start)
        })
      }
    }
    const count = random.chance(0.4) ? 0 : random.between(1, 4)
    for (let place = 0; place < count; place++) {
      const machine = random.pick(machines)
      clock.after(random.between(500, roughMs), () => void this.#submit(machine, `key-${place}`))
    }
  }

  /** Asked once, of one node: a second node might be of another cluster, and rightly accept it again. */
  async #submit(machine: Machine, key: string): Promise<void> {
    const { node } = machine
    if (!node) return
    const signal = this.world.clock.timeoutSignal(askMs, "a submission")
    try {
      const caller = { principal: "anonymous", key }
      const work = node.submitRun(SubmitRun.parse({ document }), caller, { signal })
      const { run } = await until(work, signal)
      this.world.note(`${machine.name} acknowledged ${key} as ${run.id}`)
      this.#accepted.push({ key, run: run.id })
    } catch (error) {
      this.world.note(`${machine.name} did not acknowledge ${key}: ${String(error)}`)
    }
  }

  /** Every node is in a cluster with one leader that counts exactly its nodes; and no cluster is one too many. */
  #settled(): readonly Group[] | undefined {
    const groups = new Map<string, Machine[]>()
    for (const machine of this.world.machines) {
      const view = machine.node?.replicaView()
      if (!view || view.clusterId === "" || machine.node?.ready().ready !== true) return undefined
      groups.set(view.clusterId, [...(groups.get(view.clusterId) ?? []), machine])
    }
    const found: Group[] = []
    for (const [clusterId, machines] of groups) {
      const [leader, ...others] = machines.filter(leads)
      if (!leader || others.length > 0) return undefined
      const peers = new Set(membersOf(leader).map(({ peerId }) => peerId))
      if (peers.size !== machines.length || !machines.every(({ peerId }) => peers.has(peerId))) {
        return undefined
      }
      const row = readCluster(rowsAsView(leader))
      if (row?.dissolvedInto !== undefined) return undefined
      found.push({ clusterId, machines, leader, used: row?.pristine === false })
    }
    const used = found.filter((group) => group.used).length
    return found.length === Math.max(1, used) ? found : undefined
  }

  async #verify(groups: readonly Group[]): Promise<void> {
    const used = groups.filter((group) => group.used)
    this.sums = {
      ...this.sums,
      clusters: groups.length,
      used: used.length,
      accepted: this.#accepted.length,
    }
    for (const { key, run } of this.#accepted) {
      const homes = used.filter(({ leader }) =>
        runsOf(leader).some((one) => one.key === key && one.id === run),
      )
      if (homes.length !== 1) {
        throw new InvariantError(`${key}, acknowledged as ${run}, is in ${homes.length} clusters`)
      }
    }
    if (groups.length === 1) return
    for (const { leader } of groups) {
      const { problems, notes } = await this.world.clock.drive(leader.node!.health())
      if ([...problems, ...notes].join("\n").includes("never merge")) continue
      throw new InvariantError(`${leader.name} does not say that there is another cluster`)
    }
  }
}

function rowsAsView(machine: Machine): View {
  const rows = machine.replicated?.rows ?? new Map<string, string>()
  return {
    get: (key) => {
      const row = rows.get(key)
      return row === undefined ? undefined : (JSON.parse(row) as unknown)
    },
    range: () => [],
    rangeDown: () => [],
  }
}

/** One seed of the engine: plans of every shape on hosts that crash, sleep and lose each other; then what became of them. */
import { knownVersions } from "../../../src/schema/index.ts"
import { clusterKey, type ClusterRow } from "../../../src/state/index.ts"
import { SeededRandom } from "../../support/random.ts"
import type { MachineOptions } from "../cluster/machine.ts"
import { agreed, formed, sameTables } from "../cluster/verify.ts"
import { InvariantError } from "../cluster/watch.ts"
import { World } from "../cluster/world.ts"
import { type FaultKind, faultKinds, Faults } from "./faults.ts"
import { Ledger } from "./ledger.ts"
import { randomPlan, script } from "./plans.ts"
import { checkRows, membersIn, runsIn } from "./rows.ts"
import { checkTruth, type Truth } from "./truth.ts"
import { Users } from "./users.ts"

export interface EngineOptions {
  readonly seed: number
  /** Nothing else goes wrong; by dice unless given. */
  readonly kinds?: readonly FaultKind[]
  /** Lines of log that a failure shows. */
  readonly lines?: number
  readonly onLine?: (line: string) => void
}

export interface EngineResult extends Truth {
  readonly seed: number
  readonly failure: string | undefined
  readonly size: number
  readonly faults: ReadonlyMap<FaultKind | "dead", number>
  readonly starts: number
  readonly overlaps: number
  readonly buried: number
  readonly crowded: number
  readonly checks: number
  readonly virtualMs: number
}

const formMs = 90_000
/** From the last fault until everything is over: the longest run, what hangs past its deadline, bookkeeping. */
const calmMs = 900_000
const lookMs = 400
/** By these a leader loses a node that may still work. */
const losing = ["cut", "oneway", "sleep", "pause", "crash", "transfer"] as const

export async function runEngine(options: EngineOptions): Promise<EngineResult> {
  const engine = new Engine(options)
  let failure: string | undefined
  try {
    await engine.run()
  } catch (error) {
    const { lines: shown = 60 } = options
    const lines = shown === 0 ? [] : engine.world.lines.slice(-shown)
    failure = `seed ${options.seed}: ${(error as Error).message}\n${lines.map((line) => `    ${line}`).join("\n")}`
  }
  return { ...engine.result(), failure }
}

class Engine {
  readonly world: World
  readonly #seed: number
  readonly #ledger: Ledger
  readonly #users: Users
  readonly #faults: Faults
  readonly #isNewest: boolean
  readonly #moves: boolean
  #truth: Truth = { runs: 0, attempts: 0, verdicts: {}, outcomes: {} }
  #checks = 0
  /** Index of the rows that were checked last. */
  #lookedAt = 0

  constructor({ seed, onLine, kinds }: EngineOptions) {
    this.#seed = seed
    const dice = new SeededRandom(seed)
    const ledger: { take?: Ledger["take"] } = {}
    this.world = new World({
      seed,
      script,
      network: {
        frameLoss: dice.pick([0, 0, 0.01, 0.05]),
        delayMs: dice.chance(0.2) ? [5, 25] : [0.1, 2],
        silenceMs: 5000,
        // In every third world orders and reports come twice, the second time late.
        echoes: seed % 3 === 1 ? 0.2 : 0,
      },
      onProcess: (machine, event) => ledger.take?.(machine, event),
    })
    if (onLine) this.world.onLine = onLine
    this.#ledger = new Ledger(this.world)
    ledger.take = (machine, event) => this.#ledger.take(machine, event)
    this.#isNewest = dice.chance(0.8)
    const size = dice.pick([1, 2, 3, 3, 3, 3, 4, 5, 6, 7])
    const isSlow = dice.chance(0.3)
    for (let number = 1; number <= size; number++) {
      this.world.add(this.#machine(number, { dice, isSlow }))
    }
    this.#users = new Users(this.world)
    this.#moves = dice.chance(0.25)
    const drawn = this.#moves
      ? losing
      : dice.chance(0.3)
        ? [dice.pick(faultKinds), dice.pick(faultKinds)]
        : faultKinds.filter(() => dice.chance(0.6))
    this.#faults = new Faults(
      { world: this.world, ledger: this.#ledger },
      {
        kinds: kinds ?? (drawn.length > 0 ? drawn : faultKinds),
        everyMs: dice.pick([400, 1500, 4000]),
        atOnce: dice.between(1, size),
        sleepMaxMs: dice.pick([10_000, 40_000, 90_000]),
      },
    )
  }

  #machine(number: number, how: { dice: SeededRandom; isSlow: boolean }): MachineOptions {
    const { dice, isSlow } = how
    const own = dice.fork()
    return {
      number,
      seeds: Array.from({ length: number - 1 }, (_, place) => place + 1),
      capacity: own.pick([1, 2, 4, 8]),
      cores: own.pick([1, 2, 4]),
      memoryBytes: own.pick([4, 8]) * 2 ** 30,
      labels: { zone: own.pick(["a", "b"]), "troupe.gpus": String(own.between(0, 2)) },
      keeperMs: {
        sync: () => 0.1 + (isSlow ? 30 : 2) * own.next(),
        spawn: () => 0.5 + (isSlow ? 60 : 4) * own.next(),
      },
    }
  }

  result(): Omit<EngineResult, "failure"> {
    return {
      ...this.#truth,
      seed: this.#seed,
      size: this.world.machines.length,
      faults: this.#faults.counts,
      starts: this.#ledger.starts,
      overlaps: this.#ledger.overlaps,
      buried: this.#ledger.buried,
      crowded: this.#ledger.crowded,
      checks: this.#checks,
      virtualMs: this.world.clock.boottime(),
    }
  }

  async run(): Promise<void> {
    const { world } = this
    for (const machine of world.machines) {
      world.clock.after(world.random.between(0, 500), () => machine.start())
    }
    await world.until("one cluster", formMs, () => formed(world))
    await world.until("the newest version", formMs, () => {
      const row = this.#ledger.newest()?.rows.get(clusterKey)
      const { version = 1 } = row === undefined ? {} : (JSON.parse(row) as ClusterRow)
      return version === knownVersions.newest
    })
    await this.#work()
    await this.#calm()
  }

  async #work(): Promise<void> {
    const { world } = this
    const { random } = world
    const plans = random.fork()
    this.#faults.begin()
    const options = {
      machines: world.machines.length,
      isNewest: this.#isNewest,
      moves: this.#moves,
    }
    for (let count = random.between(1, 8), number = 0; number < count; number++) {
      const plan = randomPlan(`p${number}`, plans, options)
      this.#ledger.know(plan)
      this.#users.submit(plan)
      await this.#pass(random.chance(0.5) ? random.between(0, 300) : random.between(300, 15_000))
    }
    await this.#pass(random.between(5000, 60_000))
  }

  /** Lets time pass, and looks at the rows now and then. */
  async #pass(ms: number): Promise<void> {
    const end = this.world.clock.boottime() + ms
    while (this.world.clock.boottime() < end) {
      await this.world.pass(Math.min(lookMs, end - this.world.clock.boottime()))
      this.#look()
    }
  }

  #look(): void {
    const newest = this.#ledger.newest()
    if (!newest || newest.rows.size === 0 || newest.index === this.#lookedAt) return
    this.#lookedAt = newest.index
    this.#checks++
    checkRows(newest.rows)
    this.#ledger.judge()
  }

  async #calm(): Promise<void> {
    const { world } = this
    this.#faults.end()
    await world.until("everybody", formMs, () => formed(world))
    await this.#open()
    const end = world.clock.boottime() + calmMs
    for (;;) {
      await this.#pass(lookMs)
      const leader = formed(world)
      const isOver =
        leader !== undefined &&
        this.#users.areServed &&
        agreed(world, leader) &&
        runsIn(leader.replicated!.rows).every(({ run }) => run.state === "finished") &&
        world.machines.every(({ keeper }) => keeper.list().length === 0)
      if (isOver) {
        sameTables(world, leader)
        this.#ledger.judge(true)
        const { rows } = leader.replicated!
        this.#truth = checkTruth(this.#ledger, rows, this.#users.submissions)
        return
      }
      if (world.clock.boottime() < end) continue
      throw new InvariantError(`not over ${calmMs} ms after the last fault\n${this.#unfinished()}`)
    }
  }

  /** Every node takes work again. */
  async #open(): Promise<void> {
    for (let tries = 0; tries < 20; tries++) {
      const members = membersIn(this.#ledger.newest()?.rows ?? new Map())
      if (members.every(({ cordon }) => cordon === undefined)) return
      this.#faults.open()
      await this.#pass(5000)
    }
    throw new InvariantError("a node cannot be opened again")
  }

  /** What is not over. */
  #unfinished(): string {
    const { world } = this
    const runs = runsIn(this.#ledger.newest()?.rows ?? new Map())
    const open = runs.filter(({ run }) => run.state !== "finished")
    return [
      world.describe(),
      this.#users.areServed ? "everybody is served" : "somebody still asks",
      ...open.map(({ run, groups }) => {
        const left = groups.filter(({ row }) => row.finished < row.count)
        return `${run.id} is ${run.state}, its deadline ${run.deadlineAt - world.clock.now()} ms away: ${JSON.stringify(left)}`
      }),
      ...world.machines.map(
        ({ name, keeper }) => `${name} holds ${JSON.stringify(keeper.list().slice(0, 5))}`,
      ),
    ].join("\n")
  }
}

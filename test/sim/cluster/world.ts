/** Machines, a network and virtual time: a whole cluster in one process, from one seed. */
import type { FakeJob, ProcessEvent } from "../../support/fake-keeper.ts"
import { FakeNetwork, type FakeNetworkOptions } from "../../support/fake-mesh.ts"
import { SeededRandom } from "../../support/random.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import { type Ground, Machine, type MachineOptions } from "./machine.ts"
import { InvariantError, Watch } from "./watch.ts"

export interface WorldOptions {
  readonly seed: number
  readonly network?: FakeNetworkOptions
  readonly script?: (spec: LaunchSpec, random: SeededRandom) => FakeJob
  readonly onProcess?: (machine: string, event: ProcessEvent) => void
}

const linesMax = 400

export class World {
  readonly clock = new VirtualClock()
  readonly random: SeededRandom
  readonly net: FakeNetwork
  readonly watch = new Watch()
  readonly machines: Machine[] = []
  readonly #ground: Ground
  readonly #lines: string[] = []
  #broken: Error | undefined

  constructor(options: WorldOptions) {
    this.random = new SeededRandom(options.seed)
    const { clock } = this
    this.net = new FakeNetwork({ clock, random: this.random.fork() }, options.network)
    const dice = this.random.fork()
    this.#ground = {
      clock,
      random: this.random.fork(),
      net: this.net,
      watch: this.watch,
      log: (line) => this.note(line),
      broken: (error) => this.fail(error),
      script: (spec) => options.script?.(spec, dice) ?? { durationMs: 100 },
      ...(options.onProcess && { onProcess: options.onProcess }),
    }
  }

  add(options: MachineOptions): Machine {
    const machine = new Machine(options, this.#ground)
    this.machines.push(machine)
    return machine
  }

  /** Every line of the log as it is written, for a look at one seed. */
  onLine: (line: string) => void = () => undefined

  note(line: string): void {
    this.onLine(line)
    this.#lines.push(`${(this.clock.boottime() / 1000).toFixed(3)} ${line}`)
    if (this.#lines.length > linesMax) this.#lines.shift()
  }

  fail(error: Error): void {
    this.#broken ??= error
  }

  get lines(): readonly string[] {
    return this.#lines
  }

  /** Lets time pass, and ends with the first thing that broke. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.boottime() + ms
    // In small steps, so that what broke is told near its cause.
    while (this.clock.boottime() < end) {
      await this.clock.pass(Math.min(100, end - this.clock.boottime()))
      this.check()
    }
  }

  check(): void {
    if (this.#broken) throw this.#broken
    for (const machine of this.machines) {
      const [first] = machine.fatal
      if (first)
        throw new InvariantError(`${machine.name} ended with ${first.code}: ${first.error.stack}`)
    }
  }

  /** Until `look` answers something, or the limit: then says what was waited for. */
  async until<T>(what: string, limitMs: number, look: () => T | undefined | false): Promise<T> {
    const end = this.clock.boottime() + limitMs
    for (;;) {
      const found = look()
      if (found !== undefined && found !== false) return found
      if (this.clock.boottime() >= end) {
        throw new InvariantError(`not within ${limitMs} ms: ${what}\n${this.describe()}`)
      }
      await this.pass(50)
    }
  }

  /** One line for each machine. */
  describe(): string {
    return this.machines
      .map((machine) => {
        const { name, running, replicated } = machine
        const metrics = machine.node?.metrics() ?? []
        const gauge = (wanted: string): number | undefined =>
          metrics.find((metric) => metric.name === wanted)?.value
        const where = replicated
          ? `${replicated.clusterId.slice(0, 6)} member ${replicated.memberId} at ${replicated.index}`
          : "no replica"
        return `  ${name} ${running ? "up" : "down"} ${where} leads ${gauge("troupe_is_leader")} term ${gauge("troupe_raft_term")} members ${gauge("troupe_members")}`
      })
      .join("\n")
  }
}

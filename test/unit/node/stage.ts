/** A formed cluster whose jobs can be watched: who starts and ends which processes when, and what the rows say of it. */
import type { Member, Plan, Run, Task, TaskGroup } from "../../../src/schema/index.ts"
import { sessionPrefix, taskPrefix } from "../../../src/state/index.ts"
import type { ProcessEvent } from "../../support/fake-keeper.ts"
import { aGroup, aPlan, aProcess } from "../../support/plans.ts"
import type { Machine, MachineOptions } from "../../sim/cluster/machine.ts"
import { leads } from "../../sim/cluster/roles.ts"
import { formed, membersOf, runsOf } from "../../sim/cluster/verify.ts"
import { World, type WorldOptions } from "../../sim/cluster/world.ts"

export const minute = 60_000

/** What happened to a process anywhere. */
export interface Seen {
  readonly machine: string
  readonly kind: ProcessEvent["kind"]
  readonly fence: number
  /** Virtual time, ms. */
  readonly at: number
}

export class Stage {
  readonly world: World
  readonly seen: Seen[] = []

  private constructor(script: WorldOptions["script"], network: WorldOptions["network"]) {
    this.world = new World({
      seed: 3,
      ...(network && { network }),
      ...(script && { script }),
      onProcess: (machine, { kind, spec }) => {
        this.seen.push({ machine, kind, fence: spec.fence, at: this.world.clock.boottime() })
      },
    })
  }

  /** Nodes 1 to `size`, formed, and with the newest version of rows. */
  static async open(
    size: number,
    script?: WorldOptions["script"],
    options: Pick<MachineOptions, "keeperMs"> & Pick<WorldOptions, "network"> = {},
  ): Promise<Stage> {
    const { network, ...machine } = options
    const stage = new Stage(script, network)
    for (let number = 1; number <= size; number++) {
      const seeds = Array.from({ length: number - 1 }, (_, place) => place + 1)
      stage.world.add({ number, seeds, ...machine }).start()
    }
    await stage.world.until("one cluster", minute, () => formed(stage.world))
    await stage.world.until("the newest version", minute, () =>
      stage.leader.replicated?.rows.get("cluster")?.includes('"version":3'),
    )
    // Everybody has a lease.
    await stage.world.pass(3000)
    return stage
  }

  get leader(): Machine {
    const found = this.world.machines.find((machine) => machine.running && leads(machine))
    if (!found) throw new Error("nobody leads")
    return found
  }

  /** A machine that does not lead. */
  get other(): Machine {
    return this.world.machines.find((machine) => machine !== this.leader)!
  }

  member(machine: Machine): Member {
    return membersOf(this.leader).find(({ peerId }) => peerId === machine.peerId)!
  }

  /** A run of one job, or of these groups; answers its id. */
  async submit(groups: readonly TaskGroup[], fields: Partial<Plan> = {}): Promise<string> {
    const plan = aPlan(groups, { kind: "job", timeoutMs: 600 * minute, ...fields })
    const signal = this.world.clock.timeoutSignal(minute, "a submission")
    const key = `key-${this.world.clock.boottime()}`
    const run = await this.world.clock.drive(this.leader.submitPlan(plan, { key, signal }))
    return run.id
  }

  task(run: string, name: string): Task {
    const found = this.find(run, name)
    if (!found) throw new Error(`${run}/${name} has no row`)
    return found
  }

  find(run: string, name: string): Task | undefined {
    const rows = [...(this.leader.replicated?.rows ?? [])]
    const tasks = rows
      .filter(([key]) => key.startsWith(taskPrefix(run)))
      .map(([, value]) => JSON.parse(value) as Task)
    return tasks.find((task) => task.name === name)
  }

  run(id: string): Run {
    return runsOf(this.leader).find((run) => run.id === id)!
  }

  async finished(id: string, limitMs = 10 * minute): Promise<Run> {
    return await this.world.until("its verdict", limitMs, () => {
      const isLed = this.world.machines.some((machine) => machine.running && leads(machine))
      const run = isLed ? this.run(id) : undefined
      return run?.state === "finished" ? run : undefined
    })
  }

  /** Where a process of the task was started, and when. */
  async started(machine: Machine, count = 1): Promise<Seen> {
    return await this.world.until(`a start on ${machine.name}`, minute, () => {
      const starts = this.seen.filter((one) => one.kind === "start" && one.machine === machine.name)
      return starts[count - 1]
    })
  }

  of(machine: Machine, kind: Seen["kind"]): readonly Seen[] {
    return this.seen.filter((one) => one.machine === machine.name && one.kind === kind)
  }

  sessionState(machine: Machine): string {
    const rows = [...(this.leader.replicated?.rows ?? [])]
    const { id } = this.member(machine)
    const sessions = rows
      .filter(([key]) => key.startsWith(sessionPrefix))
      .map(([, value]) => JSON.parse(value) as { node: number; state: string })
    return sessions.find(({ node }) => node === id)?.state ?? "none"
  }
}

/** One process, asked for on that machine unless it is to go anywhere. */
export function aJob(fields: Partial<TaskGroup> = {}): TaskGroup {
  const work = aProcess({ directory: false })
  return aGroup("job", { work, phase: "job", graceMs: 2000, ...fields })
}

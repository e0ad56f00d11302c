/** What processes really did on every host, by the keepers' own word, and what must hold whenever one starts. */
import type { Plan, Task, TaskGroup } from "../../../src/schema/index.ts"
import { taskKey, taskRefOf } from "../../../src/state/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { ProcessEvent } from "../../support/fake-keeper.ts"
import type { Machine } from "../cluster/machine.ts"
import { InvariantError } from "../cluster/watch.ts"
import type { World } from "../cluster/world.ts"
import { ownerOf } from "./plans.ts"

/** A process of an attempt. Times are ms of the world. */
export interface Process {
  readonly machine: Machine
  readonly spec: LaunchSpec
  readonly plan: Plan
  readonly group: TaskGroup
  readonly index: number
  readonly startedAt: number
  readyAt: number | undefined
  stoppedAt: number | undefined
  endedAt: number | undefined
  exitCode: number | undefined
  signal: string | undefined
}

/** A host's clocks differ from the leader's idea of them by so much at most, ms. */
const slackMs = 1500

export class Ledger {
  readonly #world: World
  readonly #plans = new Map<string, Plan>()
  readonly #byFence = new Map<string, Process>()
  readonly #byTask = new Map<string, Process[]>()
  readonly #live = new Map<string, Set<Process>>()
  /** When a host slept, lost its power or its keeper last; until when, if that is over. */
  readonly #absences = new Map<string, { from: number; to: number }[]>()
  /** Two processes of one task at a time, where that is allowed. */
  overlaps = 0
  /** Starts beside a process that was given up and is not gone yet. */
  crowded = 0

  constructor(world: World) {
    this.#world = world
  }

  know(plan: Plan): void {
    this.#plans.set(plan.label, plan)
  }

  get starts(): number {
    return this.#byFence.size
  }

  get plans(): ReadonlyMap<string, Plan> {
    return this.#plans
  }

  processes(): Iterable<Process> {
    return this.#byFence.values()
  }

  find(run: string, task: string, fence: number): Process | undefined {
    return this.#byFence.get(`${run}/${task}/${fence}`)
  }

  live(machine: string): ReadonlySet<Process> {
    return this.#live.get(machine) ?? new Set()
  }

  /** A host that sleeps, is off, or whose keeper is dead keeps no promise meanwhile. */
  absent(machine: string): void {
    const times = this.#absences.get(machine) ?? []
    this.#absences.set(machine, times)
    times.push({ from: this.#now, to: Infinity })
  }

  present(machine: string): void {
    for (const time of this.#absences.get(machine) ?? []) {
      if (time.to === Infinity) time.to = this.#now
    }
  }

  get #now(): number {
    return this.#world.clock.boottime()
  }

  /** Whether the host was away at any time since then. */
  wasAway(machine: string, since: number): boolean {
    return (this.#absences.get(machine) ?? []).some(({ to }) => to >= since)
  }

  take(name: string, event: ProcessEvent): void {
    try {
      this.#take(name, event)
    } catch (error) {
      this.#world.fail(error as Error)
    }
  }

  #take(name: string, { kind, spec, exitCode, signal, reason }: ProcessEvent): void {
    this.#world.note(
      `${name} ${kind} ${spec.run}/${spec.task} attempt ${spec.attempt} fence ${spec.fence}${reason === undefined ? "" : `: ${reason}`}${signal === undefined ? "" : ` by ${signal}`}${exitCode === undefined ? "" : ` with ${exitCode}`}`,
    )
    if (kind === "start") return this.#start(name, spec)
    const process = this.find(spec.run, spec.task, spec.fence)!
    if (kind === "ready") process.readyAt = this.#now
    if (kind === "stopping") {
      process.stoppedAt = this.#now
      this.#checkStop(process, reason ?? "")
    }
    if (kind !== "end") return
    process.endedAt = this.#now
    process.exitCode = signal === undefined ? (exitCode ?? 0) : undefined
    process.signal = signal
    this.#live.get(name)!.delete(process)
  }

  #start(name: string, spec: LaunchSpec): void {
    const machine = this.#world.machines.find((one) => one.name === name)!
    const { label, group: groupName } = ownerOf(spec)
    const plan = this.#plans.get(label)
    const group = plan?.groups.find((one) => one.name === groupName)
    if (!plan || !group) throw new InvariantError(`${name} starts ${label}, which nobody submitted`)
    const { index } = taskRefOf(spec.run, spec.task)
    const process: Process = {
      machine,
      spec,
      plan,
      group,
      index,
      startedAt: this.#now,
      readyAt: undefined,
      stoppedAt: undefined,
      endedAt: undefined,
      exitCode: undefined,
      signal: undefined,
    }
    const key = `${spec.run}/${spec.task}/${spec.fence}`
    if (this.#byFence.has(key)) throw new InvariantError(`${key} is started twice`)
    this.#byFence.set(key, process)
    const ofTask = this.#byTask.get(`${spec.run}/${spec.task}`) ?? []
    const here = this.#live.get(name) ?? new Set()
    this.#byTask.set(`${spec.run}/${spec.task}`, [...ofTask, process])
    this.#live.set(name, here)
    for (const other of ofTask) if (other.endedAt === undefined) this.#checkOverlap(process, other)
    here.add(process)
    this.#checkRoom(machine)
    for (const edge of group.after) this.#checkEdge(process, edge)
  }

  // ---------------------------------------------------------------- never two

  #checkOverlap(process: Process, other: Process): void {
    const { spec, group } = process
    const what = `${spec.run}/${spec.task}: attempt ${spec.attempt} starts on ${process.machine.name} while attempt ${other.spec.attempt} runs on ${other.machine.name}`
    if (other.spec.fence > spec.fence) throw new InvariantError(`${what}, which is newer`)
    // Somebody's word stands above every policy, true or not.
    if (this.#wasDeclaredDead(other)) return
    if (group.onLoss !== "requeue")
      throw new InvariantError(`${what}; its policy is ${group.onLoss}`)
    this.overlaps++
    // Who is awake, with a keeper, has ended what it holds without a lease for so long.
    if (other.machine.isAsleep || this.wasAway(other.machine.name, this.#now - slackMs)) return
    throw new InvariantError(`${what} and should have stopped itself`)
  }

  #wasDeclaredDead({ spec }: Process): boolean {
    const { attempts = [] } = this.#row(spec) ?? {}
    const reason = attempts.find(({ fence }) => fence === spec.fence)?.ending?.reason ?? ""
    return reason.includes("declared dead")
  }

  // ---------------------------------------------------------------- room

  /** By the keeper's own count. What was given up and is not gone yet is nobody's claim. */
  #checkRoom(machine: Machine): void {
    const { capacity = 8 } = machine.options
    const all = [...this.live(machine.name)]
    const current = all.filter((one) => this.#isCurrent(one))
    if (all.length > capacity && current.length <= capacity) this.crowded++
    if (current.length > capacity) {
      throw new InvariantError(
        `${machine.name} has ${capacity} slots and runs ${current.length}: ${current.map(nameOf).join(", ")}`,
      )
    }
    const { cores = 4, memoryBytes = 8 * 2 ** 30, labels = {} } = machine.options
    const sums = { cores: 0, memoryBytes: 0, gpus: 0 }
    for (const { group } of current) {
      sums.cores += group.needs.cores ?? 0
      sums.memoryBytes += group.needs.memoryBytes ?? 0
      sums.gpus += group.needs.gpus ?? 0
    }
    const has = { cores, memoryBytes, gpus: Number(labels["troupe.gpus"] ?? 0) }
    for (const what of ["cores", "memoryBytes", "gpus"] as const) {
      if (!this.reserves || sums[what] <= has[what]) continue
      throw new InvariantError(
        `${machine.name} has ${has[what]} ${what}, ${sums[what]} are taken: ${current.map(nameOf).join(", ")}`,
      )
    }
    this.#checkExclusive(machine, current)
  }

  /** Whether what tasks need is their own, as from version 3 on. */
  reserves = false

  #checkExclusive(machine: Machine, current: readonly Process[]): void {
    const alone = current.find(({ group }) => group.exclusive === "node")
    if (alone && current.length > 1) {
      throw new InvariantError(
        `${nameOf(alone)} is to be alone on ${machine.name} and is not: ${current.map(nameOf).join(", ")}`,
      )
    }
    const onLink = current.filter(({ group }) => group.exclusive !== undefined)
    if (onLink.length > 1) {
      throw new InvariantError(
        `${onLink.map(nameOf).join(" and ")} share the network of ${machine.name}`,
      )
    }
  }

  /** Its attempt still counts, by the newest rows that any replica has. */
  #isCurrent({ spec }: Process): boolean {
    const task = this.#row(spec)
    const last = task?.attempts.at(-1)
    return last === undefined || (last.fence === spec.fence && last.state !== "ended")
  }

  #row(spec: Pick<LaunchSpec, "run" | "task">): Task | undefined {
    const newest = this.newest()
    const row = newest?.rows.get(taskKey(taskRefOf(spec.run, spec.task)))
    return row === undefined ? undefined : (JSON.parse(row) as Task)
  }

  /** The rows of the replica that is furthest. */
  newest(): { readonly index: number; readonly rows: ReadonlyMap<string, string> } | undefined {
    return this.#world.machines
      .map(({ replicated }) => replicated)
      .filter((one) => one !== undefined)
      .toSorted((a, b) => b.index - a.index)[0]
  }

  // ---------------------------------------------------------------- edges

  #checkEdge({ spec, plan }: Process, edge: TaskGroup["after"][number]): void {
    const upstream = plan.groups.find(({ name }) => name === edge.group)!
    if (upstream.work.driver !== "process") return
    for (let index = 0; index < upstream.count; index++) {
      const name = upstream.count === 1 ? upstream.name : `${upstream.name}[${index}]`
      const all = this.#byTask.get(`${spec.run}/${name}`) ?? []
      if (this.#meets(upstream, edge.on, { all, task: this.#row({ run: spec.run, task: name }) })) {
        continue
      }
      throw new InvariantError(
        `${spec.run}/${spec.task} starts before ${name} has ${edge.on}: ${JSON.stringify(all.map(({ startedAt, readyAt, endedAt, exitCode }) => ({ startedAt, readyAt, endedAt, exitCode })))}`,
      )
    }
  }

  #meets(
    upstream: TaskGroup,
    on: TaskGroup["after"][number]["on"],
    { all, task }: { readonly all: readonly Process[]; readonly task: Task | undefined },
  ): boolean {
    // Carried over from another run, or how it went cannot be known: nobody can say more.
    if (upstream.carried !== undefined) return true
    const isUnknown = task?.attempts.some(({ ending }) => ending?.outcome === "unknown") === true
    const saysReady = upstream.work.driver === "process" && upstream.work.readiness !== undefined
    if (on === "started") return all.length > 0 || isUnknown
    if (on === "ready" && saysReady) return all.some(({ readyAt }) => readyAt !== undefined)
    if (on === "ready") return all.length > 0 || isUnknown
    if (on === "succeeded") {
      return all.some((one) => one.exitCode === 0 || (one.stoppedAt !== undefined && one.endedAt))
    }
    // Skipped ones have no process; of those that were given up nobody knows whether they run.
    return all.every((one) => one.endedAt !== undefined || !this.#isCurrent(one))
  }

  /** A server that nobody needs any more is stopped; never before. */
  #checkStop({ spec, plan, group }: Process, reason: string): void {
    if (!reason.includes("everything that used it")) return
    const clients = plan.groups.filter((other) =>
      other.after.some(({ group: name, on }) => {
        return name === group.name && (on === "started" || on === "ready")
      }),
    )
    for (const client of clients) {
      for (const one of this.#byFence.values()) {
        const isOf = one.spec.run === spec.run && one.group.name === client.name
        if (!isOf || one.endedAt !== undefined || !this.#isCurrent(one)) continue
        throw new InvariantError(`${nameOf(one)} runs while its server ${spec.task} is stopped`)
      }
    }
  }
}

export function nameOf({ spec }: Process): string {
  return `${spec.run}/${spec.task}.${spec.attempt}`
}

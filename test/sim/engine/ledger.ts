/** What processes really did on every host, by the keepers' own word, and what must hold whenever one starts. */
import type { Plan } from "../../../src/schema/index.ts"
import { taskRefOf } from "../../../src/state/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { ProcessEvent } from "../../support/fake-keeper.ts"
import type { Machine } from "../cluster/machine.ts"
import { InvariantError } from "../cluster/watch.ts"
import type { World } from "../cluster/world.ts"
import { judgeStart, judgeStop, Tasks } from "./judging.ts"
import { ownerOf } from "./plans.ts"
import type { Process, Start, Stop } from "./processes.ts"

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
  #starts: Start[] = []
  readonly #stops: Stop[] = []
  /** Two processes of one task at a time, where that is allowed. */
  overlaps = 0
  /** The same after somebody's word that a host is dead. */
  buried = 0
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
      this.#noteStop(process, reason ?? "")
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
    here.add(process)
    const others = ofTask.filter((other) => other.endedAt === undefined)
    this.#starts.push({
      process,
      beside: [...here],
      others: others.map((other) => ({ process: other, isAway: this.#isAway(other.machine) })),
    })
  }

  #isAway(machine: Machine): boolean {
    return machine.isAsleep || this.wasAway(machine.name, this.#now - slackMs)
  }

  /** Judges every start whose assignment has come to some disk, or all: tables lag behind what their leader knows. */
  judge(all = false): void {
    const rows = this.newest()?.rows ?? new Map<string, string>()
    const tasks = new Tasks(rows)
    const left: Start[] = []
    for (const start of this.#starts) {
      if (all || tasks.attempt(start.process)) judgeStart({ ...start, ledger: this, tasks })
      else left.push(start)
    }
    this.#starts = left
    for (const stop of this.#stops.splice(0)) judgeStop(stop, tasks)
  }

  ofTask(run: string, task: string): readonly Process[] {
    return this.#byTask.get(`${run}/${task}`) ?? []
  }

  /** The rows of the replica that is furthest. */
  newest(): { readonly index: number; readonly rows: ReadonlyMap<string, string> } | undefined {
    return this.#world.machines
      .map(({ replicated }) => replicated)
      .filter((one) => one !== undefined)
      .toSorted((a, b) => b.index - a.index)[0]
  }

  /** A server that nobody needs any more is stopped; never before. */
  #noteStop(server: Process, reason: string): void {
    if (!reason.includes("everything that used it")) return
    const clients = server.plan.groups.filter((other) =>
      other.after.some(({ group: name, on }) => {
        return name === server.group.name && (on === "started" || on === "ready")
      }),
    )
    const names = new Set(clients.map(({ name }) => name))
    const running = [...this.#byFence.values()].filter(
      (one) =>
        one.spec.run === server.spec.run && names.has(one.group.name) && one.endedAt === undefined,
    )
    if (running.length > 0) this.#stops.push({ server, running })
  }
}

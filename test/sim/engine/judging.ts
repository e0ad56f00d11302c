/** What must hold whenever a process starts: never two of a task, no more than a host has, every edge met. */
import type { Attempt, Edge, Task, TaskGroup } from "../../../src/schema/index.ts"
import { taskKey, taskRefOf } from "../../../src/state/index.ts"
import { InvariantError } from "../cluster/watch.ts"
import { nameOf, type Process, type Start, type Stop } from "./processes.ts"

/** Tasks by the newest tables. */
export class Tasks {
  readonly #rows: ReadonlyMap<string, string>
  readonly #known = new Map<string, Task | undefined>()

  constructor(rows: ReadonlyMap<string, string>) {
    this.#rows = rows
  }

  find(run: string, name: string): Task | undefined {
    const key = taskKey(taskRefOf(run, name))
    if (!this.#known.has(key)) {
      const row = this.#rows.get(key)
      this.#known.set(key, row === undefined ? undefined : (JSON.parse(row) as Task))
    }
    return this.#known.get(key)
  }

  attempt({ spec }: Process): Attempt | undefined {
    const attempts = this.find(spec.run, spec.task)?.attempts ?? []
    return attempts.find(({ fence }) => fence === spec.fence)
  }
}

/** What is counted, and every process of a task. */
interface Tally {
  overlaps: number
  buried: number
  crowded: number
  ofTask(run: string, task: string): readonly Process[]
}

interface Scene extends Start {
  readonly ledger: Tally
  readonly tasks: Tasks
}

export function judgeStart(scene: Scene): void {
  for (const other of scene.others) judgeOverlap(scene, other)
  judgeRoom(scene)
  for (const edge of scene.process.group.after) judgeEdge(scene, edge)
}

/** Whether an attempt still counted when the one that starts was assigned: else it was given up, and runs on unheard. */
function counted({ tasks, process }: Scene, other: Process): boolean {
  const endedAt = tasks.attempt(other)?.endedAt
  const assignedAt = tasks.attempt(process)?.assignedAt
  return endedAt === undefined || assignedAt === undefined || endedAt > assignedAt
}

// ---------------------------------------------------------------- never two

function judgeOverlap(scene: Scene, { process: other, isAway }: Start["others"][number]): void {
  const { ledger, process, tasks } = scene
  const { spec, group } = process
  const what = `${nameOf(process)} starts on ${process.machine.name} while attempt ${other.spec.attempt} runs on ${other.machine.name}`
  if (other.spec.fence > spec.fence) throw new InvariantError(`${what}, which is newer`)
  // Somebody's word stands above every policy, true or not.
  if (tasks.attempt(other)?.ending?.reason?.includes("declared dead") === true) {
    ledger.buried++
    return
  }
  if (group.onLoss !== "requeue") {
    throw new InvariantError(`${what}; its policy is ${group.onLoss}`)
  }
  ledger.overlaps++
  // Who is awake, with a keeper, has ended what it holds without a lease for so long.
  if (!isAway) throw new InvariantError(`${what} and should have stopped itself`)
}

// ---------------------------------------------------------------- room

function judgeRoom(scene: Scene): void {
  const { process, beside } = scene
  const { machine } = process
  const current = beside.filter((one) => one === process || counted(scene, one))
  const { capacity = 8, cores = 4, memoryBytes = 8 * 2 ** 30, labels = {} } = machine.options
  if (beside.length > capacity && current.length <= capacity) scene.ledger.crowded++
  const names = current.map(nameOf).join(", ")
  if (current.length > capacity) {
    throw new InvariantError(
      `${machine.name} has ${capacity} slots and runs ${current.length}: ${names}`,
    )
  }
  const has = { cores, memoryBytes, gpus: Number(labels["troupe.gpus"] ?? 0) }
  for (const what of ["cores", "memoryBytes", "gpus"] as const) {
    const taken = current.reduce((sum, { group }) => sum + (group.needs[what] ?? 0), 0)
    if (taken <= has[what]) continue
    throw new InvariantError(`${machine.name} has ${has[what]} ${what}, not ${taken}: ${names}`)
  }
  if (current.length > 1 && current.some(({ group }) => group.exclusive === "node")) {
    throw new InvariantError(`somebody is to be alone on ${machine.name}: ${names}`)
  }
  if (current.filter(({ group }) => group.exclusive !== undefined).length > 1) {
    throw new InvariantError(`the network of ${machine.name} is shared: ${names}`)
  }
}

// ---------------------------------------------------------------- edges

function judgeEdge(scene: Scene, edge: Edge): void {
  const { process, ledger, tasks } = scene
  const { spec, plan } = process
  const upstream = plan.groups.find(({ name }) => name === edge.group)!
  if (upstream.work.driver !== "process") return
  for (let index = 0; index < upstream.count; index++) {
    const name = upstream.count === 1 ? upstream.name : `${upstream.name}[${index}]`
    const all = ledger.ofTask(spec.run, name)
    if (meets(scene, { upstream, on: edge.on, all, task: tasks.find(spec.run, name) })) continue
    throw new InvariantError(
      `${nameOf(process)} starts before ${name} has ${edge.on}: ${JSON.stringify(all.map(({ startedAt, readyAt, endedAt, exitCode }) => ({ startedAt, readyAt, endedAt, exitCode })))}`,
    )
  }
}

function meets(
  scene: Scene,
  edge: {
    readonly upstream: TaskGroup
    readonly on: Edge["on"]
    readonly all: readonly Process[]
    readonly task: Task | undefined
  },
): boolean {
  const { upstream, on, all, task } = edge
  const { startedAt: now } = scene.process
  const before = (at: number | undefined): boolean => at !== undefined && at <= now
  // Carried over from another run, or how it went cannot be known: nobody can say more.
  if (upstream.carried !== undefined) return true
  const isUnknown = task?.attempts.some(({ ending }) => ending?.outcome === "unknown") === true
  const saysReady = upstream.work.driver === "process" && upstream.work.readiness !== undefined
  // Skipped ones have no process; of those that were given up nobody knows whether they run.
  if (on === "finished") {
    return all.every((one) => one.startedAt > now || before(one.endedAt) || !counted(scene, one))
  }
  if (on === "succeeded") {
    return all.some(
      (one) => before(one.endedAt) && (one.exitCode === 0 || one.stoppedAt !== undefined),
    )
  }
  if (on === "ready" && saysReady) return all.some(({ readyAt }) => before(readyAt))
  return isUnknown || all.some(({ startedAt }) => before(startedAt))
}

export function judgeStop({ server, running }: Stop, tasks: Tasks): void {
  for (const client of running) {
    // Given up: nobody waits for it.
    if (tasks.attempt(client)?.ending?.outcome === "lost") continue
    throw new InvariantError(`${nameOf(client)} runs while its server ${nameOf(server)} is stopped`)
  }
}

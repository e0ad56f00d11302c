/** One scheduler with many nodes and tasks, alone in its process, from the first placement to the last end.
 *  `node --expose-gc scheduler-process.ts NODES TASKS`: a JSON line. Applying is not its work and is measured beside it. */
import { createScheduler, type Scheduler } from "../../src/scheduler/index.ts"
import type { Ending, Plan } from "../../src/schema/index.ts"
import {
  apply,
  type Command,
  createTables,
  type Placement,
  type ReportItem,
  type Tables,
} from "../../src/state/index.ts"
import { aDeclaration, aGroup, aPlan } from "../support/plans.ts"

const batch = 512
const ending: Ending = { outcome: "exited", exitCode: 0, stopped: false }

/** Of this thread: others on the machine do not count. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

interface Live extends Placement {
  readonly fence: number
}

/** A leader that needs no network: what it decides is applied at once, and everything ends well. */
class Leader {
  readonly #tables: Tables = createTables()
  readonly #scheduler: Scheduler = createScheduler()
  readonly #live: Live[] = []
  readonly spent = { decide: 0, observe: 0, apply: 0 }
  readonly calls: number[] = []
  decisions = 0
  #index = 0
  #now = 0

  #timed<T>(what: "decide" | "observe" | "apply", work: () => T): T {
    const before = cpuMs()
    const result = work()
    this.spent[what] += cpuMs() - before
    return result
  }

  perform(command: Command): number {
    this.#index++
    const entry = { index: this.#index, term: 1, version: 3, at: this.#now, command }
    const applied = this.#timed("apply", () => {
      const answer = apply(this.#tables, entry)
      this.#tables.commit(answer.writes)
      return answer
    })
    this.#timed("observe", () => this.#scheduler.observe(applied.writes))
    const refused = applied.results.find((result) => !result.ok)
    if (refused !== undefined) throw new Error(JSON.stringify(refused))
    return this.#index
  }

  decide(): boolean {
    this.#now += 100
    const silent = new Set<number>()
    const input = { now: this.#now, budget: batch, avoid: 1, silent, addressOf: String }
    const before = cpuMs()
    const commands = this.#timed("decide", () => this.#scheduler.decide(input))
    this.calls.push(cpuMs() - before)
    for (const command of commands) {
      const fence = this.perform(command)
      if (command.type !== "assign") continue
      this.#timed("observe", () => this.#scheduler.settle(command.items))
      this.decisions += command.items.length
      for (const item of command.items) this.#live.push({ ...item, fence })
    }
    return commands.length > 0
  }

  /** The oldest that run end. False when nothing runs. */
  end(): boolean {
    const items = this.#live.splice(0, batch).map((live): ReportItem => {
      const { run, group, index, attempt, fence } = live
      const ref = { run, group, index, attempt, fence }
      return { ...ref, state: "ended", at: this.#now, ending, outputs: [] }
    })
    if (items.length === 0) return false
    this.perform({ type: "report", items })
    return true
  }

  forget(): void {
    this.spent.decide = 0
    this.spent.observe = 0
    this.spent.apply = 0
    this.calls.length = 0
  }
}

/** Plain work, work that reserves cores, GPUs on every tenth node, and a node alone. */
function planOf(members: number, place: number): Plan {
  const wide = Math.max(1, Math.floor(members / 10))
  const gpu = Math.max(1, Math.floor(members / 50))
  const groups = [
    aGroup("plain", { count: Math.max(1, members - wide - gpu - 1) }),
    aGroup("wide", { count: wide, needs: { cores: 2 } }),
    aGroup("gpu", { count: gpu, needs: { gpus: 1 }, placing: "pack" }),
    aGroup("alone", { exclusive: "node" }),
  ]
  return aPlan(groups, { label: `run-${place}`, timeoutMs: 10 ** 9, priority: place % 3 })
}

function begin(nodes: number, tasks: number): Leader {
  const leader = new Leader()
  for (let at = 0; at < nodes; at++) {
    const labels: Record<string, string> = at % 10 === 0 ? { "troupe.gpus": "2" } : {}
    const own = { name: `n${at}`, peerId: `p${at}`, capacity: 8, cores: 8, labels }
    const founder = aDeclaration(own)
    const id = leader.perform(
      at === 0
        ? { type: "genesis", items: [{ cluster: "bench", clusterId: "c", founder }] }
        : { type: "admit", items: [founder] },
    )
    leader.perform({ type: "session", items: [{ node: id, boot: "b", state: "up" }] })
  }
  leader.decide()
  const runs = Math.min(100, Math.ceil(tasks / 100))
  for (let at = 0; at < runs; at++) {
    const plan = planOf(Math.floor(tasks / runs), at)
    const item = { principal: "b", key: "", bodyHash: "", entryNode: "n0", plan, placements: [] }
    leader.perform({ type: "submit", items: [item] })
  }
  return leader
}

function toTheEnd(leader: Leader): void {
  while (leader.decide() || leader.end()) continue
}

const [nodes = 10, tasks = 1000] = process.argv.slice(2).map(Number)
// The code is warm when it counts.
toTheEnd(begin(20, 4000))
globalThis.gc?.()
const heapBefore = process.memoryUsage().heapUsed
const leader = begin(nodes, tasks)
leader.forget()
toTheEnd(leader)
const heapBytes = process.memoryUsage().heapUsed - heapBefore
const { decide, observe, apply: applying } = leader.spent
const calls = leader.calls.toSorted((a, b) => a - b)
console.log(
  JSON.stringify({
    nodes,
    tasks,
    decisions: leader.decisions,
    schedulerMs: decide + observe,
    decideMs: decide,
    applyMs: applying,
    perSecond: leader.decisions / ((decide + observe) / 1000),
    p99Ms: calls[Math.floor(calls.length * 0.99)],
    longestMs: calls.at(-1),
    heapMiB: heapBytes / 2 ** 20,
    rssMiB: process.memoryUsage.rss() / 2 ** 20,
  }),
)

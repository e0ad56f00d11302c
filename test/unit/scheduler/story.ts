/** A leader and its log by hand, random work for it, and what sharing means by the rows. */
import * as fc from "fast-check"
import { expect } from "vitest"
import {
  gpusOf,
  type Member,
  type MemberDeclaration,
  type Plan,
  type Task,
  type TaskGroup,
} from "../../../src/schema/index.ts"
import {
  type Command,
  type Placement,
  readMembers,
  readPlan,
  readRun,
  readTasks,
} from "../../../src/state/index.ts"
import { aGroup, aPlan } from "../../support/plans.ts"
import { exited, type LiveHere, World } from "../../support/world.ts"

export const gib = 2 ** 30
export const nodes = ["a", "b", "c"]

const arbitraryNode: fc.Arbitrary<Partial<MemberDeclaration>> = fc
  .record({
    capacity: fc.integer({ min: 1, max: 5 }),
    cores: fc.integer({ min: 1, max: 4 }),
    memory: fc.integer({ min: 1, max: 4 }),
    gpus: fc.nat(2),
  })
  .map(({ capacity, cores, memory, gpus }) => ({
    capacity,
    cores,
    memoryBytes: memory * gib,
    labels: { "troupe.gpus": String(gpus) },
  }))

const arbitraryGroup = fc
  .record({
    count: fc.integer({ min: 1, max: 6 }),
    needs: fc.record(
      {
        cores: fc.constantFrom(1, 1, 2, 4),
        memoryBytes: fc.integer({ min: 1, max: 4 }).map((amount) => amount * gib),
        gpus: fc.integer({ min: 1, max: 2 }),
        node: fc.constantFrom("a", "b"),
      },
      { requiredKeys: [] },
    ),
    limits: fc.record(
      {
        parallel: fc.integer({ min: 1, max: 2 }),
        exclusive: fc.constantFrom("node", "network" as const),
        placing: fc.constantFrom("pack", "spread" as const),
      },
      { requiredKeys: [] },
    ),
    life: fc.constantFrom("batch", "batch", "batch", "service" as const),
    retries: fc.nat(1),
    after: fc.boolean(),
    sameNode: fc.boolean(),
  })
  .map((seed) => seed)

/** Groups that wait for nothing, or for the one before; with limits and needs of every kind. */
export const arbitraryWork: fc.Arbitrary<Plan> = fc
  .tuple(fc.array(arbitraryGroup, { minLength: 1, maxLength: 3 }), fc.integer({ min: -1, max: 1 }))
  .map(([seeds, priority]) => {
    const groups = seeds.map(({ limits, after, sameNode, ...seed }, place) =>
      aGroup(`g${place}`, {
        ...seed,
        ...limits,
        onLoss: "requeue",
        backoffMs: 1000,
        after: after && place > 0 ? [{ group: `g${place - 1}`, on: "started" }] : [],
        ...(sameNode && place > 0 && { with: `g${place - 1}` }),
      }),
    )
    return aPlan(groups, { priority, timeoutMs: 10 ** 9 })
  })

export const plansOf = fc.array(arbitraryWork, { minLength: 2, maxLength: 12 })

export interface OnNode {
  readonly task: Task
  readonly group: TaskGroup
}

/** A leader and its log, by hand: what was proposed is applied later, in order, or lost. */
export class Story {
  readonly world: World
  readonly runs: string[] = []
  #keys = 0
  readonly #proposed: { readonly command: Command; readonly placements: readonly Placement[] }[] =
    []

  constructor(has: readonly Partial<MemberDeclaration>[]) {
    this.world = new World({ nodes, has })
  }

  submit(plan: Plan): void {
    const input = { addressOf: String, budget: 8, avoid: 1 }
    const placements = this.world.scheduler.placeFirst(plan, input)
    const key = `key-${this.#keys++}`
    const item = { principal: "p", key, bodyHash: key, entryNode: "a", plan, placements }
    this.#proposed.push({ command: { type: "submit", items: [item] }, placements })
  }

  decide(): void {
    const input = { now: this.world.now, budget: 8, addressOf: String, avoid: 1 }
    for (const command of this.world.scheduler.decide(input)) {
      const placements = command.type === "assign" ? command.items : []
      this.#proposed.push({ command, placements })
    }
  }

  applyOne(isLost = false): boolean {
    const first = this.#proposed.shift()
    if (first === undefined) return false
    if (!isLost) {
      const { results } = this.world.apply(first.command)
      const [result] = results
      if (first.command.type === "submit" && result?.ok === true) this.runs.push(result.run!)
    }
    this.world.scheduler.settle(first.placements)
    return true
  }

  /** Until nothing is proposed any more. */
  settle(): void {
    while (this.applyOne()) continue
    for (let round = 0; round < 200; round++) {
      // Twice before anything is applied: the second knows what the first has promised.
      this.decide()
      this.decide()
      if (this.#proposed.length === 0) return
      while (this.#proposed.length > 0) this.#applyWell()
    }
    throw new Error("the scheduler decides for ever")
  }

  end(live: LiveHere | undefined, exitCode: number): void {
    if (live !== undefined) this.world.report(live, "ended", exited(exitCode))
  }

  /** Nothing has come between: apply finds nothing wrong with it. */
  #applyWell(): void {
    const { command, placements } = this.#proposed.shift()!
    const refused = this.world.apply(command).results.filter((result) => !result.ok)
    // Timed decisions are said again until they are applied.
    if (command.type === "assign") expect(refused).toEqual([])
    this.world.scheduler.settle(placements)
  }

  live(): readonly LiveHere[] {
    return this.world.live(this.runs)
  }

  group(task: Task): TaskGroup {
    const plan = readPlan(this.world.tables, task.run)!
    return plan.groups.find(({ name }) => name === task.group)!
  }

  on(node: number): readonly OnNode[] {
    return this.live()
      .filter(({ attempt }) => attempt.node === node)
      .map(({ task }) => ({ task, group: this.group(task) }))
  }

  members(): readonly Member[] {
    return readMembers(this.world.tables)
  }

  pending(): readonly Task[] {
    const open = this.runs.filter((run) => readRun(this.world.tables, run)?.state === "active")
    return open
      .flatMap((run) => readTasks(this.world.tables, run))
      .filter(({ state }) => state === "pending")
  }
}

const sum = (on: readonly OnNode[], of: (group: TaskGroup) => number | undefined): number =>
  on.reduce((total, { group }) => total + (of(group) ?? 0), 0)

/** The rules of sharing, by the rows and in the plainest words. */
export function isShared(on: readonly OnNode[], member: Member): boolean {
  const alone = on.filter(({ group }) => group.exclusive === "node")
  const exclusive = on.filter(({ group }) => group.exclusive !== undefined)
  return (
    on.length <= member.capacity &&
    sum(on, ({ needs }) => needs.cores) <= member.cores &&
    sum(on, ({ needs }) => needs.memoryBytes) <= member.memoryBytes &&
    sum(on, ({ needs }) => needs.gpus) <= gpusOf(member.labels) &&
    (alone.length === 0 || on.length === 1) &&
    exclusive.length <= 1
  )
}

export function checkShared(story: Story): void {
  for (const member of story.members()) {
    const on = story.on(member.id)
    const names = on.map(({ task }) => `${task.run}/${task.name}`)
    expect(isShared(on, member), `${member.name}: ${names.join(", ")}`).toBe(true)
  }
  const live = Map.groupBy(story.live(), ({ task }) => `${task.run}/${task.group}`)
  for (const [name, members] of live) {
    const { parallel = Infinity } = story.group(members[0]!.task)
    expect(members.length, name).toBeLessThanOrEqual(parallel)
  }
}

/** What three nodes have. */
export const clusters = fc.array(arbitraryNode, { minLength: 3, maxLength: 3 })

/** A cluster without nodes: tables, a scheduler and workers that report what a list of numbers says. */
import {
  type Attempt,
  type Ending,
  knownVersions,
  type MemberDeclaration,
  type Plan,
  type Run,
  type Task,
} from "../../src/schema/index.ts"
import { createScheduler, type Scheduler } from "../../src/scheduler/index.ts"
import {
  activeVersion,
  type Applied,
  type AppliedEntry,
  apply,
  type Command,
  createTables,
  type DecideItem,
  type ItemResult,
  liveAttempt,
  nextAttempt,
  type Placement,
  readMembers,
  readPlan,
  readRun,
  readSession,
  readTask,
  readTouchedTasks,
  type SubmitItem,
  taskRefOf,
  type Tables,
} from "../../src/state/index.ts"
import { decodeEntry, encodeEntry, entryVersionOf } from "../../src/wire/index.ts"
import { aDeclaration } from "./plans.ts"

export interface LiveHere {
  readonly task: Task
  readonly attempt: Attempt
}

/** Called after every entry, before its writes are committed. */
export type Watch = (entry: AppliedEntry, applied: Applied, tables: Tables) => void

export class World {
  readonly tables: Tables = createTables()
  readonly scheduler: Scheduler = createScheduler()
  readonly #watch: Watch
  index = 0
  now = 1_000_000

  /** `has`: what each node declares, by its place. */
  constructor(options: {
    nodes: readonly string[]
    watch?: Watch
    has?: readonly Partial<MemberDeclaration>[]
  }) {
    this.#watch = options.watch ?? (() => {})
    const [founder, ...others] = options.nodes.map((name, place) =>
      aDeclaration({ name, ...options.has?.[place] }),
    )
    const first = { cluster: "troupe", clusterId: "c", founder: founder! }
    this.apply({ type: "genesis", items: [first] })
    for (const declared of others) this.apply({ type: "admit", items: [declared] })
    for (const member of readMembers(this.tables)) this.session(member.id, "up")
  }

  /** Through the codec, like every entry of a real log. */
  apply(command: Command): Applied {
    this.index++
    const version = entryVersionOf(command, activeVersion(this.tables)) ?? knownVersions.newest
    const data = encodeEntry({ version, at: this.now, command })
    const entry = { index: this.index, term: 1, ...decodeEntry(data) }
    const applied = apply(this.tables, entry)
    this.#watch(entry, applied, this.tables)
    this.tables.commit(applied.writes)
    this.scheduler.observe(applied.writes)
    return applied
  }

  session(node: number, state: "up" | "lost"): Applied {
    return this.apply({ type: "session", items: [{ node, boot: `boot-${node}`, state }] })
  }

  isUp(node: number): boolean {
    return readSession(this.tables, node)?.state === "up"
  }

  /** Decides and applies until there is nothing more to do at this time. */
  decide(): void {
    for (let round = 0; round < 100; round++) {
      const commands = this.scheduler.decide({
        now: this.now,
        budget: 64,
        addressOf: (id) => `10.0.0.${id}`,
      })
      if (commands.length === 0) return
      for (const command of commands) {
        this.apply(command)
        if (command.type === "assign") this.scheduler.settle(command.items)
      }
    }
    throw new Error("the scheduler decides for ever")
  }

  /** The run's id. */
  submit(plan: Plan, fields: Partial<SubmitItem> = {}): string {
    const item = { principal: "anonymous", key: "", bodyHash: "", entryNode: "a", placements: [] }
    const [result] = this.apply({ type: "submit", items: [{ ...item, plan, ...fields }] }).results
    if (result?.ok !== true) throw new Error(`not accepted: ${JSON.stringify(result)}`)
    return result.run!
  }

  run(run: string): Run {
    return readRun(this.tables, run)!
  }

  /** By name: `server`, `shard[3]`. */
  task(run: string, name: string): Task {
    return readTask(this.tables, taskRefOf(run, name))!
  }

  assign(run: string, name: string, fields: Partial<Placement> = {}): ItemResult {
    const node = fields.node ?? 1
    const placement: Placement = {
      ...taskRefOf(run, name),
      attempt: nextAttempt(this.task(run, name)),
      node,
      lease: readSession(this.tables, node)!.lease,
      address: `10.0.0.${node}`,
      ...fields,
    }
    return this.apply({ type: "assign", items: [placement] }).results[0]!
  }

  /** A report of the newest attempt. */
  tell(run: string, name: string, state: "started" | "ready" | "ended", ending?: Ending): Applied {
    const task = this.task(run, name)
    return this.report({ task, attempt: task.attempts.at(-1)! }, state, ending)
  }

  /** Assigns a task and ends it. */
  perform(run: string, name: string, ending: Ending, node = 1): void {
    const placed = this.assign(run, name, { node })
    if (!placed.ok) throw new Error(placed.detail)
    this.tell(run, name, "ended", ending)
  }

  decideItem(item: DecideItem): ItemResult {
    return this.apply({ type: "decide", items: [item] }).results[0]!
  }

  live(runs: readonly string[]): readonly LiveHere[] {
    return runs
      .flatMap((run) => readTouchedTasks(this.tables, run))
      .flatMap((task) => {
        const attempt = liveAttempt(task)
        return attempt === undefined ? [] : [{ task, attempt }]
      })
  }

  report(
    { task, attempt }: LiveHere,
    state: "started" | "ready" | "ended",
    ending?: Ending,
  ): Applied {
    const { run, group, index } = task
    const definition = readPlan(this.tables, run)!.groups.find((one) => one.name === group)!
    const seal = definition.work.driver === "builtin" && definition.work.verb === "seal"
    const digest = "ab".repeat(32)
    return this.apply({
      type: "report",
      items: [
        {
          run,
          group,
          index,
          attempt: attempt.n,
          fence: attempt.fence,
          state,
          at: this.now,
          ...(ending && {
            ending,
            outputs: [{ path: `roles/${task.name}/stdout.log`, digest, bytes: 3 }],
          }),
          ...(ending?.outcome === "done" &&
            seal && { bundle: { digest, bytes: 10, files: 2, holders: [attempt.node] } }),
        },
      ],
    })
  }
}

export const done: Ending = { outcome: "done", stopped: false }
export const exited = (exitCode: number): Ending => ({
  outcome: "exited",
  exitCode,
  stopped: false,
})
export const terminated: Ending = { outcome: "signalled", signal: "SIGTERM", stopped: true }

/** Reads the scheduler's transcripts: each block is commands, a line of dashes and what they answer. */
import {
  type Ending,
  type MemberDeclaration,
  type TaskGroup,
  taskName,
} from "../../../src/schema/index.ts"
import { createScheduler, type Rejection, type Scheduler } from "../../../src/scheduler/index.ts"
import {
  apply,
  type Command,
  createTables,
  nextAttempt,
  readMembers,
  readRun,
  readSession,
  readTask,
  readTasks,
  type ReportItem,
  type SubmitItem,
  taskRefOf,
} from "../../../src/state/index.ts"
import { aDeclaration, aGroup, aPlan, aProcess, readiness } from "../../support/plans.ts"

export interface Block {
  readonly input: readonly string[]
  readonly expected: string
}

/** Comments (`#`) stay with the input, so that a rewritten transcript keeps them. */
export function parseTranscript(text: string): Block[] {
  const blocks = text.trim().split(/\n\n+/)
  return blocks.map((block) => {
    const [input = "", expected = ""] = block.split(/^----$\n?/m)
    return { input: input.trimEnd().split("\n"), expected: expected.trimEnd() }
  })
}

export function printTranscript(blocks: readonly Block[]): string {
  return `${blocks.map(({ input, expected }) => `${input.join("\n")}\n----\n${expected}`).join("\n\n")}\n`
}

type Options = ReadonlyMap<string, string>

/** `name cores=2 near` → the words, and the options (an option without value is empty). */
function parseLine(line: string): { words: string[]; options: Options } {
  const parts = line.trim().split(/\s+/)
  const options = parts
    .filter((part) => part.includes("="))
    .map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)] as const)
  return { words: parts.filter((part) => !part.includes("=")), options: new Map(options) }
}

function pairs(text: string | undefined): [string, string][] {
  return (text ?? "")
    .split(",")
    .filter((part) => part !== "")
    .map((part) => part.split(":") as [string, string])
}

function groupOf(line: string): TaskGroup {
  const { words, options } = parseLine(line)
  const [, name = "", ...flags] = words
  const verb = options.get("builtin") as "bundle" | "stage" | undefined
  const count = Number(options.get("count") ?? 1)
  const needs = {
    ...(options.has("node") && { node: options.get("node")! }),
    ...(options.has("cores") && { cores: Number(options.get("cores")) }),
    ...(options.has("memory") && { memoryBytes: Number(options.get("memory")) * 2 ** 30 }),
    ...(options.has("gpus") && { gpus: Number(options.get("gpus")) }),
    ...(options.has("labels") && { labels: Object.fromEntries(pairs(options.get("labels"))) }),
  }
  const life = (["server", "service"] as const).find((word) => flags.includes(word)) ?? "batch"
  return aGroup(name, {
    count,
    needs,
    role: verb === undefined,
    work:
      verb === undefined
        ? aProcess(flags.includes("ready") ? { readiness } : {})
        : verb === "stage"
          ? { driver: "builtin", verb, files: [] }
          : { driver: "builtin", verb },
    life,
    ...(options.has("parallel") && { parallel: Number(options.get("parallel")) }),
    ...(options.has("exclusive") && { exclusive: options.get("exclusive") as "node" }),
    ...(flags.includes("pack") && { placing: "pack" as const }),
    nearOutputs: flags.includes("near"),
    after: pairs(options.get("after")).map(([group, on]) => ({ group, on: on as "ready" })),
    onLoss: (options.get("loss") ?? "fail") as "fail",
    retries: Number(options.get("retries") ?? 0),
    backoffMs: Number(options.get("backoff") ?? 0) * 1000,
    graceMs: 5000,
    phase: options.get("phase") ?? name,
    ...(options.has("with") && { with: options.get("with")! }),
    ...(options.has("deadline") && { deadlineMs: Number(options.get("deadline")) * 1000 }),
  })
}

/** One cluster, driven by lines. State time is shown in seconds from its start. */
export class Stage {
  readonly #tables = createTables()
  readonly #scheduler: Scheduler = createScheduler()
  #index = 0
  #now = 0
  #run = ""
  /** Submissions on their way, by label. */
  readonly #underWay = new Map<string, SubmitItem>()

  perform(input: readonly string[]): string {
    const out: string[] = []
    const lines = input.filter((line) => !line.startsWith("#"))
    for (const [at, line] of lines.entries()) {
      if (line.startsWith("  ")) continue
      const rest = lines.slice(at + 1)
      const end = rest.findIndex((next) => !next.startsWith("  "))
      out.push(...this.#line(line, rest.slice(0, end < 0 ? rest.length : end).map(groupOf)))
    }
    return out.join("\n")
  }

  #line(line: string, groups: readonly TaskGroup[]): string[] {
    const { words, options } = parseLine(line)
    const [verb = "", first = "", second = "", third = ""] = words
    if (options.has("run")) this.#run = options.get("run")!
    switch (verb) {
      case "node":
        return this.#node(first, options)
      case "session":
        this.#session(first, second as "up")
        return []
      case "run":
        return this.#submit(first, groups, options)
      case "propose":
        return this.#propose(first, groups, options)
      case "arrive":
        return this.#arrive(first)
      case "lose":
        this.#scheduler.settle(this.#underWay.get(first)!.placements)
        return []
      case "cordon":
        return this.#cordon(first, options)
      case "dead":
        this.#apply({ type: "dead", items: [{ id: this.#member(first), reason: "it burnt" }] })
        return []
      case "plan":
        return this.#place(groups)
      case "decide":
        return this.#decide(options)
      case "tell":
        return this.#tell(first, second, Number(third))
      case "cancel":
        this.#apply({ type: "cancel", items: [{ run: this.#run, reason: "asked to" }] })
        return []
      case "advance":
        this.#now += Number(first) * 1000
        return []
      case "explain":
        return this.#explain(first)
      case "tasks":
        return this.#tasks()
      default:
        throw new Error(`unknown command in a transcript: ${line}`)
    }
  }

  #apply(command: Command): ReturnType<typeof apply> {
    this.#index++
    const entry = { index: this.#index, term: 1, version: 1, at: this.#now, command }
    const applied = apply(this.#tables, entry)
    this.#tables.commit(applied.writes)
    this.#scheduler.observe(applied.writes)
    return applied
  }

  #member(name: string): number {
    return readMembers(this.#tables).find((member) => member.name === name)!.id
  }

  #name(id: number): string {
    return readMembers(this.#tables).find((member) => member.id === id)!.name
  }

  #node(name: string, options: Options): string[] {
    const declared: MemberDeclaration = aDeclaration({
      name,
      cores: Number(options.get("cores") ?? 4),
      memoryBytes: Number(options.get("memory") ?? 8) * 2 ** 30,
      capacity: Number(options.get("capacity") ?? 4),
      labels: Object.fromEntries(pairs(options.get("labels"))),
    })
    if (this.#index === 0) {
      const item = { cluster: "troupe", clusterId: "c", founder: declared }
      this.#apply({ type: "genesis", items: [item] })
    } else this.#apply({ type: "admit", items: [declared] })
    if (options.get("session") !== "none") this.#session(name, "up")
    return []
  }

  #session(name: string, state: "up" | "lost"): void {
    const node = this.#member(name)
    this.#apply({ type: "session", items: [{ node, boot: "b", state }] })
  }

  #item(label: string, groups: readonly TaskGroup[], options: Options): SubmitItem {
    const timeoutMs = Number(options.get("timeout") ?? 600) * 1000
    const priority = options.has("priority") ? { priority: Number(options.get("priority")) } : {}
    const plan = aPlan(groups, { label, timeoutMs, ...priority })
    return { principal: "p", key: "", bodyHash: "", entryNode: "a", plan, placements: [] }
  }

  /** A submission with what of it can be placed at once; it is not in the log yet. */
  #propose(label: string, groups: readonly TaskGroup[], options: Options): string[] {
    const item = this.#item(label, groups, options)
    const input = { addressOf: String, budget: Number(options.get("budget") ?? 100) }
    const placements = this.#scheduler.placeFirst(item.plan, input)
    this.#underWay.set(label, { ...item, placements })
    const placed = placements.map(({ group, index, node }) => {
      const { count } = item.plan.groups.find(({ name }) => name === group)!
      return `${taskName({ name: group, count }, index)} to ${this.#name(node)}`
    })
    return placed.length > 0 ? placed : ["nothing"]
  }

  #arrive(label: string): string[] {
    const item = this.#underWay.get(label)!
    const [result] = this.#apply({ type: "submit", items: [item] }).results
    this.#scheduler.settle(item.placements)
    if (result?.ok !== true) return [`refused: ${result?.detail}`]
    this.#run = result.run!
    return [this.#run]
  }

  #cordon(name: string, options: Options): string[] {
    const mode = (options.get("mode") ?? "cordon") as "cordon"
    const until = options.get("deadline")
    const deadline = until === undefined ? {} : { deadlineAt: this.#now + Number(until) * 1000 }
    const item = { id: this.#member(name), mode, reason: "new disk", ...deadline }
    this.#apply({ type: "cordon", items: [item] })
    return []
  }

  #submit(label: string, groups: readonly TaskGroup[], options: Options): string[] {
    const item = this.#item(label, groups, options)
    const [result] = this.#apply({ type: "submit", items: [item] }).results
    if (result?.ok !== true) return [`refused: ${result?.detail}`]
    this.#run = result.run!
    return [this.#run]
  }

  #decide(options: Options): string[] {
    const out: string[] = []
    const avoid = options.get("avoid")
    const commands = this.#scheduler.decide({
      now: this.#now,
      budget: Number(options.get("budget") ?? 100),
      addressOf: (id) => `10.0.0.${id}`,
      hold: (_, phase) => phase === options.get("hold"),
      ...(avoid !== undefined && { avoid: this.#member(avoid) }),
    })
    for (const command of commands) {
      if (command.type === "assign") {
        for (const item of command.items) {
          const name = readTask(this.#tables, item)!.name
          out.push(`assign ${item.run}/${name}.${item.attempt} to ${this.#name(item.node)}`)
        }
      }
      if (command.type === "decide") {
        for (const item of command.items) {
          if (item.kind === "run-timeout") out.push(`run-timeout ${item.run}`)
          else {
            const name = readTask(this.#tables, item.task)!.name
            out.push(`${item.kind} ${item.task.run}/${name}: ${item.reason}`)
          }
        }
      }
      for (const result of this.#apply(command).results) {
        if (!result.ok) out.push(`  refused: ${result.detail}`)
      }
      if (command.type === "assign") this.#scheduler.settle(command.items)
    }
    const wake = this.#scheduler.nextWake(this.#now)
    const when = wake === undefined ? "never" : `at ${wake / 1000} s`
    return [...(out.length > 0 ? out : ["nothing"]), `wakes ${when}`]
  }

  #tell(task: string, word: string, code: number): string[] {
    const ref = taskRefOf(this.#run, task)
    const attempt = readTask(this.#tables, ref)!.attempts.at(-1)!
    const endings: Readonly<Record<string, Ending>> = {
      exit: { outcome: "exited", exitCode: code, stopped: false },
      stopped: { outcome: "signalled", signal: "SIGTERM", stopped: true },
      done: { outcome: "done", stopped: false },
    }
    const ending = endings[word]
    const outputs = [{ path: `roles/${task}/stdout.log`, digest: "ab".repeat(32), bytes: code }]
    const report = { ...ref, attempt: attempt.n, fence: attempt.fence, at: this.#now }
    const item: ReportItem =
      ending === undefined
        ? { ...report, state: word as "started" }
        : { ...report, state: "ended", ending, outputs }
    const { results, events } = this.#apply({ type: "report", items: [item] })
    const stops = events.flatMap((event) =>
      event.type === "task-stopping" ? [`stop ${event.task.group}: ${event.reason}`] : [],
    )
    return results[0]!.ok ? stops : [`refused: ${results[0]!.detail}`]
  }

  #explain(task: string): string[] {
    const ref = taskRefOf(this.#run, task)
    const found = this.#scheduler.explain(ref)
    if (found === undefined) return [`${task}: not there`]
    return [`${task}: ${found.waiting ?? "does not wait"}`, ...found.rejected.map(rejection)]
  }

  #place(groups: readonly TaskGroup[]): string[] {
    const placed = this.#scheduler.place(aPlan(groups), { addressOf: String })
    return placed.flatMap(({ task, node, waiting, rejected }) => [
      `${task}: ${node?.name ?? waiting}`,
      ...rejected.map(rejection),
    ])
  }

  #tasks(): string[] {
    const run = readRun(this.#tables, this.#run)!
    const tasks = readTasks(this.#tables, this.#run).map((task) => {
      const last = task.attempts.at(-1)
      const up = last && readSession(this.#tables, last.node)?.state === "up"
      const where = last === undefined ? "" : ` on ${this.#name(last.node)}${up ? "" : " (lost)"}`
      return `${task.name}.${nextAttempt(task) - 1} ${task.result ?? task.state}${where}`
    })
    const verdict = run.verdict === undefined ? "" : ` ${run.verdict}`
    return [`${run.state}${verdict}${run.reason === undefined ? "" : `: ${run.reason}`}`, ...tasks]
  }
}

function rejection({ node, reason }: Rejection): string {
  return `  ${node} ${reason}`
}

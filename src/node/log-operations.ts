/** What only the leader answers about logs: which attempts a run has and where they wrote, and which runs are kept. */
import { type Attempt, type Output, type PeerRef, type Run, type Task } from "../schema/index.ts"
import * as state from "../state/index.ts"
import type { View } from "../state/index.ts"
import type { CallOptions } from "./context.ts"
import type { OperationParts } from "./operations.ts"
import { timesFolder } from "./log-times.ts"
import { runNotFound } from "./run-rows.ts"

/** One attempt of one role. */
export interface LogSource {
  readonly task: string
  readonly attempt: number
  readonly fence: number
  /** Name of its node. */
  readonly node: string
  readonly peer: PeerRef
  /** It will write nothing more. */
  readonly ended: boolean
  /** By the clock of its node, ms. */
  readonly startedAt?: number
  readonly endedAt?: number
  /** Blobs of what was collected: `stdout.log`, `stderr.log`, `times`. */
  readonly collected: readonly Output[]
}

export interface LogSources {
  readonly run: string
  readonly label: string
  readonly finished: boolean
  readonly sources: readonly LogSource[]
  /** Groups whose tasks have logs. */
  readonly roles: readonly string[]
  /** Ask `after` this for more; absent at the end. */
  readonly next?: string
}

const tasksPerPage = 500
const rolesNamed = 2000

/** Attempts of the named tasks, or of all roles a page at a time. */
export async function logSources(
  parts: OperationParts,
  body: { run: string; tasks?: readonly string[]; after?: string },
  options: CallOptions,
): Promise<LogSources> {
  await parts.replica.readBarrier(options.signal)
  const run = state.findRun(parts.replica.tables, body.run)
  if (!run) throw runNotFound(body.run)
  const view = await parts.replica.viewOf(run.id)
  const plan = state.readPlan(view, run.id)
  const groups = plan?.groups.filter((group) => group.role) ?? []
  const names = new Set(groups.map(({ name }) => name))
  const page =
    body.tasks === undefined
      ? pageOf(view, run, { groups, after: body.after })
      : {
          tasks: body.tasks.flatMap((name) => {
            const ref = state.taskRefOf(run.id, name)
            return names.has(ref.group) ? (state.readTask(view, ref) ?? []) : []
          }),
        }
  const { tasks, next } = { next: undefined, ...page }
  const collected = tasks.length === 0 ? new Map<string, Output[]>() : collectedOf(view, run.id)
  return {
    run: run.id,
    label: run.label,
    finished: run.state === "finished",
    sources: tasks.flatMap((task) => sourcesOf(task, { view, collected })),
    roles: groups.slice(0, rolesNamed).map(({ name }) => name),
    ...(next !== undefined && { next }),
  }
}

/** `after`: position of a group and the index of its member. */
function pageOf(
  view: View,
  run: Run,
  from: {
    readonly groups: readonly { readonly name: string; readonly count: number }[]
    readonly after: string | undefined
  },
): { tasks: readonly Task[]; next?: string } {
  const [begin = 0, first = 0] = (from.after ?? "0.0").split(".").map(Number)
  const tasks: Task[] = []
  let looked = 0
  for (let position = begin; position < from.groups.length; position++) {
    const group = from.groups[position]!
    for (let index = position === begin ? first : 0; index < group.count; index++) {
      if (++looked > tasksPerPage) return { tasks, next: `${position}.${index}` }
      const row = view.get(state.taskKey({ run: run.id, group: group.name, index }))
      if (row !== undefined) tasks.push(row as Task)
    }
  }
  return { tasks }
}

/** By task: what collect tasks made of the role's streams. */
function collectedOf(view: View, run: string): Map<string, Output[]> {
  const found = new Map<string, Output[]>()
  const plan = state.readPlan(view, run)
  for (const group of plan?.groups ?? []) {
    if (group.work.driver !== "builtin" || group.work.verb !== "collect") continue
    for (const [, row] of view.range(state.taskGroupPrefix(run, group.name))) {
      for (const output of (row as Task).outputs) {
        const [task, path] = partOf(output.path)
        if (task === undefined || path === undefined) continue
        found.set(task, [...(found.get(task) ?? []), { ...output, path }])
      }
    }
  }
  return found
}

/** Whose stream it is, and which; `times` for those of both. */
function partOf(path: string): readonly (string | undefined)[] {
  const log = /^roles\/(.+)\/((?:stdout|stderr)\.log)$/.exec(path)
  if (log) return log.slice(1)
  const isTimes = path.startsWith(timesFolder) && path.endsWith(".json")
  return isTimes ? [path.slice(timesFolder.length, -".json".length), "times"] : []
}

function sourcesOf(
  task: Task,
  from: { readonly view: View; readonly collected: ReadonlyMap<string, readonly Output[]> },
): readonly LogSource[] {
  return task.attempts.map((attempt) => sourceOf(task, attempt, from))
}

function sourceOf(
  task: Task,
  attempt: Attempt,
  from: { readonly view: View; readonly collected: ReadonlyMap<string, readonly Output[]> },
): LogSource {
  const member = state.readMember(from.view, attempt.node)
  const startedAt = attempt.ending?.startedAt ?? attempt.startedAt
  const endedAt = attempt.ending?.endedAt ?? attempt.endedAt
  const isLast = attempt === task.attempts.at(-1)
  return {
    task: task.name,
    attempt: attempt.n,
    fence: attempt.fence,
    node: member?.name ?? String(attempt.node),
    peer: { peerId: member?.peerId ?? "", addresses: member?.addresses ?? [] },
    ended: attempt.state === "ended",
    ...(startedAt !== undefined && { startedAt }),
    ...(endedAt !== undefined && { endedAt }),
    collected: isLast ? (from.collected.get(task.name) ?? []) : [],
  }
}

/** Of these runs those that are kept: finished ones are named with whether somebody pinned them. */
export interface RunsKept {
  readonly kept: readonly {
    readonly run: string
    readonly over: boolean
    readonly pinned: boolean
  }[]
}

export async function runsKept(
  parts: OperationParts,
  body: { runs: readonly string[] },
  options: CallOptions,
): Promise<RunsKept> {
  await parts.replica.readBarrier(options.signal)
  return {
    kept: body.runs.flatMap((id) => {
      const run = state.readRun(parts.replica.tables, id)
      if (!run) return []
      return [{ run: id, over: run.state === "finished", pinned: run.pinned === true }]
    }),
  }
}

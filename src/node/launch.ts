/** What a task's strings become once its node is known: the variables of `${…}` and the resolved command. Pure. */
import { interpolate } from "../lib/index.ts"
import { isIpAddress } from "../manifests/index.ts"
import type { Attempt, Member, Plan, Readiness, RunView, Task, TaskGroup } from "../schema/index.ts"

/** Everything about one run that a node needs to perform a task of it. */
export interface RunRows {
  readonly run: RunView
  readonly plan: Plan
  readonly members: readonly Member[]
}

/** The part of it that a launch is resolved from. Tasks that none of the plan's strings can name may be left out. */
export type LaunchRows = Pick<RunRows, "plan" | "members"> & {
  readonly run: Pick<RunView, "id" | "label" | "tasks">
}

export interface ResolvedLaunch {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string | undefined
  readonly readiness: Readiness | undefined
}

/** The attempt that counts: the last one. */
export function liveAttempt(task: Pick<Task, "attempts">): Attempt | undefined {
  return task.attempts.at(-1)
}

export function groupOf(plan: Plan, name: string): TaskGroup | undefined {
  return plan.groups.find((group) => group.name === name)
}

/** Values of `${…}` for a run: `run.id`, `run.label`, `roles.<role>.address|node|port` and the plan's own. */
function variablesOf(rows: LaunchRows): (name: string) => string | undefined {
  const { run, plan, members } = rows
  return (name) => {
    if (name === "run.id") return run.id
    if (name === "run.label") return run.label
    const role = /^roles\.(.+)\.(address|node|port)$/.exec(name)
    if (!role) return plan.variables[name]
    if (role[2] === "port") return plan.variables[name] ?? plan.variables["network.target_port"]
    const task = run.tasks.find((one) => one.name === role[1] || one.group === role[1])
    const attempt = task && liveAttempt(task)
    if (!attempt) return undefined
    if (role[2] === "address") return attempt.address
    return members.find((member) => member.id === attempt.node)?.name
  }
}

/** Resolves a process task; `problem` is a sentence for people when a variable has no value yet or an address is none. */
export function resolveLaunch(
  rows: LaunchRows,
  task: Task,
): { launch: ResolvedLaunch } | { problem: string } {
  const group = groupOf(rows.plan, task.group)
  if (group?.work.driver !== "process") return { problem: `${task.name} is not a process` }
  const { work } = group
  const lookup = variablesOf(rows)
  const problems: string[] = []
  const fill = (text: string): string => {
    const filled = interpolate(text, lookup)
    if ("text" in filled) return filled.text
    problems.push(`\${${filled.unknown}} has no value for ${task.name}`)
    return text
  }
  for (const { path, value } of rows.plan.addresses) {
    const address = interpolate(value, lookup)
    // The address of a role that is placed later is checked when that role, or one that uses it, starts.
    if ("text" in address && !isIpAddress(address.text)) {
      problems.push(`${path}: must be a valid IP address, got '${address.text}'`)
    }
  }
  const launch: ResolvedLaunch = {
    argv: work.argv.map(fill),
    env: { ...mapValues(work.env, fill), ...environmentOf(rows, task) },
    cwd: work.cwd === undefined ? undefined : fill(work.cwd),
    readiness: work.readiness && fillReadiness(work.readiness, fill),
  }
  return problems.length > 0 ? { problem: problems[0]! } : { launch }
}

/** What every process is told of itself; a role of its siblings, too, and a member of a job of its number. */
function environmentOf(rows: LaunchRows, task: Task): Record<string, string> {
  const attempt = liveAttempt(task)
  const environment: Record<string, string> = {
    TROUPE_RUN_ID: rows.run.id,
    TROUPE_RUN_LABEL: rows.run.label,
    TROUPE_ROLE: task.name,
    TROUPE_ATTEMPT: String(attempt?.n ?? 1),
    TROUPE_FENCE: String(attempt?.fence ?? 0),
  }
  if (rows.plan.kind === "job") {
    const count = groupOf(rows.plan, task.group)?.count ?? 1
    return { ...environment, TROUPE_INDEX: String(task.index), TROUPE_COUNT: String(count) }
  }
  for (const other of rows.run.tasks) {
    const group = groupOf(rows.plan, other.group)
    const placed = liveAttempt(other)
    if (!group?.role || !placed) continue
    environment[`TROUPE_${other.name.toUpperCase().replace(/[^A-Z0-9]+/g, "_")}_ADDR`] =
      placed.address
  }
  return environment
}

function fillReadiness(readiness: Readiness, fill: (text: string) => string): Readiness {
  if (readiness.method !== "tcp_connect") return readiness
  return { ...readiness, host: fill(readiness.host), port: fill(readiness.port) }
}

function mapValues(
  record: Readonly<Record<string, string>>,
  change: (value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
}

/** What must hold after every entry, whatever was proposed. */
import { expect } from "vitest"
import type { Run, Task } from "../../src/schema/index.ts"
import {
  type Applied,
  type AppliedEntry,
  type Command,
  edgeState,
  liveAttempt,
  parseKey,
  planKey,
  readGroup,
  readGroups,
  readPlan,
  readRun,
  readTask,
  readTasks,
  runId,
  type Tables,
  type View,
} from "../../src/state/index.ts"

/** Runs that an entry may touch, by its own words. */
function named(entry: AppliedEntry): ReadonlySet<string> {
  const { command } = entry
  const runs: readonly string[] =
    command.type === "submit" || command.type === "retry"
      ? command.items.map((_, place) => runId(entry.index, place))
      : command.items.flatMap((item) => runOf(item))
  return new Set(runs)
}

function runOf(item: Command["items"][number]): string[] {
  if ("task" in item) return [item.task.run]
  return "run" in item ? [item.run] : []
}

/** Only rows of what the entry names, each once, and no value that JSON would change. */
export function touchesOnlyNamed(entry: AppliedEntry, applied: Applied): void {
  const runs = named(entry)
  const keys = applied.writes.map(({ key }) => key)
  expect(new Set(keys).size).toBe(keys.length)
  for (const { key, value } of applied.writes) {
    const parsed = parseKey(key)
    expect(parsed, key).toBeDefined()
    if (parsed && "run" in parsed) expect(runs, key).toContain(parsed.run)
    if (parsed?.table === "task") expect(runs, key).toContain(parsed.task.run)
    if (parsed?.table === "key" || parsed?.table === "label")
      expect(["submit", "retry"]).toContain(entry.command.type)
    if (parsed?.table === "member") {
      const words = ["genesis", "admit", "declare", "role", "cordon", "dead", "session"]
      expect(words).toContain(entry.command.type)
    }
    if (parsed?.table === "session") expect(["session", "dead"]).toContain(entry.command.type)
    if (value !== undefined) expect(JSON.parse(JSON.stringify(value))).toEqual(value)
  }
}

/** What is over stays as it is, and every step of a row is one that its life allows. */
export function respectsLives(before: View, applied: Applied): void {
  for (const { key, value } of applied.writes) {
    const old = before.get(key)
    const parsed = parseKey(key)
    if (parsed && "run" in parsed && readRun(before, parsed.run)?.state === "finished") {
      throw new Error(`${key} of a finished run was written`)
    }
    if (parsed?.table === "run" && old !== undefined) runStep(old as Run, value as Run)
    if (parsed?.table === "task") taskStep(readTask(before, parsed.task), value as Task)
  }
}

const runStates = ["active", "ending", "finished"]

function runStep(before: Run, after: Run): void {
  expect(runStates.indexOf(after.state)).toBeGreaterThanOrEqual(runStates.indexOf(before.state))
  if (after.state !== "active") expect(after.verdict).toBeDefined()
  if (before.verdict === undefined || before.verdict === after.verdict) return
  // The only change of a verdict: all went well, and then the bundle could not be made.
  expect([before.verdict, after.verdict, after.state]).toEqual(["succeeded", "lost", "finished"])
}

function taskStep(before: Task | undefined, after: Task): void {
  if (before?.state === "finished") expect(after).toEqual(before)
  expect(after.state === "finished").toBe(after.result !== undefined)
  const live = after.attempts.filter((attempt) => attempt.state !== "ended")
  expect(live.length).toBe(after.state === "active" || after.state === "stopping" ? 1 : 0)
  if (live.length === 1) expect(after.attempts.at(-1)).toBe(live[0])
  for (const [place, attempt] of after.attempts.entries()) {
    const next = after.attempts[place + 1]
    if (next !== undefined) expect(next.fence).toBeGreaterThan(attempt.fence)
    if (next !== undefined) expect(next.n).toBeGreaterThan(attempt.n)
  }
  const last = before?.attempts.at(-1)
  const grown = after.attempts.at(-1)?.n !== last?.n
  if (grown) expect(after.attempts.at(-1)!.n).toBe((last?.n ?? 0) + 1)
}

/** Counters are what counting gives; who runs was allowed to; a finished run has nothing left. */
export function addsUp(tables: Tables, run: string): void {
  const plan = readPlan(tables, run)!
  const row = readRun(tables, run)!
  const tasks = readTasks(tables, run)
  for (const group of plan.groups) {
    const members = tasks.filter((task) => task.group === group.name)
    const counted = readGroup(tables, run, group.name)!
    const has = (test: (task: Task) => boolean): number => members.filter(test).length
    expect({ ...counted, untouched: undefined }).toMatchObject({
      count: members.length,
      started: has(
        (task) => isKept(task) || task.attempts.some(({ startedAt }) => startedAt !== undefined),
      ),
      ready: has(
        (task) => isKept(task) || task.attempts.some(({ readyAt }) => readyAt !== undefined),
      ),
      succeeded: has((task) => task.result === "succeeded"),
      finished: has((task) => task.state === "finished"),
    })
    const live = has((task) => liveAttempt(task) !== undefined)
    if (group.parallel !== undefined) {
      expect(live).toBeLessThanOrEqual(group.parallel)
      expect(counted.live ?? 0).toBe(live)
    }
    if (group.failFast && members.some(({ result }) => result === "failed" || result === "lost")) {
      expect(has(({ state }) => state !== "stopping" && state !== "finished")).toBe(0)
    }
    for (const task of members) {
      if (task.state === "blocked" || task.attempts.length === 0) continue
      for (const edge of group.after) {
        expect(edgeState(readGroup(tables, run, edge.group), edge.on)).toBe("met")
      }
    }
  }
  if (row.state !== "active") {
    for (const group of plan.groups.filter(({ role }) => role)) {
      expect(readGroup(tables, run, group.name)!.finished).toBe(group.count)
    }
  }
  if (row.state === "finished") {
    expect(readGroups(tables, run).every((group) => group.finished === group.count)).toBe(true)
  }
}

/** Taken over from another run: it succeeded, and nothing was tried here. */
function isKept(task: Task): boolean {
  return task.result === "succeeded" && task.attempts.length === 0
}

/** `with` holds where the attempt was placed; checked on the assignments of an entry. */
export function placesRight(before: View, entry: AppliedEntry, applied: Applied): void {
  if (entry.command.type !== "assign") return
  for (const [place, item] of entry.command.items.entries()) {
    if (!applied.results[place]!.ok) continue
    const plan = before.get(planKey(item.run)) as {
      groups: readonly { name: string; with?: string }[]
    }
    const anchor = plan.groups.find(({ name }) => name === item.group)?.with
    if (anchor === undefined) continue
    const first = readTask(before, { run: item.run, group: anchor, index: 0 })
    expect(first?.attempts.at(-1)?.node).toBe(item.node)
  }
}

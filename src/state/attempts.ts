/** The life of one task through its attempts: reported, tried again, ended. */
import type { Attempt, Ending, Task, TaskGroup } from "../schema/index.ts"
import type { Draft, RunDraft } from "./draft.ts"
import { jitteredBackoff, plainBackoff } from "./backoff.ts"
import { endsAnyway, liveAttempt } from "./live.ts"
import { advance, clientsOf, finishTask, stopTask, unneeded } from "./outcome.ts"
import type { DecideItem, ItemResult, ReportItem, TaskRef } from "./types.ts"

/** New attempts after lost ones; then the task is lost itself. */
const requeuesMax = 16

export const stale = (detail: string): ItemResult => ({ ok: false, code: "stale", detail })
export const notFound = (detail: string): ItemResult => ({ ok: false, code: "not-found", detail })

/** A task with the things around it that every item needs. */
export interface Found {
  readonly run: RunDraft
  readonly task: Task
  readonly group: TaskGroup
}

export function find(draft: Draft, ref: TaskRef): Found | ItemResult {
  if (draft.isFinished(ref.run)) return stale(`run ${ref.run} is finished`)
  const run = draft.run(ref.run)
  const task = run?.task(ref.group, ref.index)
  const group = run?.definition(ref.group)
  if (run && task && group) return { run, task, group }
  return notFound(`no task ${ref.run}/${ref.group}[${ref.index}]`)
}

function replaceLast(task: Task, attempt: Attempt): Attempt[] {
  return [...task.attempts.slice(0, -1), attempt]
}

// ---------------------------------------------------------------- reports

const order = ["assigned", "started", "ready", "ended"] as const

export function report(draft: Draft, item: ReportItem): ItemResult {
  const found = find(draft, item)
  if ("ok" in found) return found
  const { task } = found
  const last = task.attempts.at(-1)
  if (last === undefined || last.fence !== item.fence || last.n !== item.attempt) {
    return stale(
      `attempt ${item.attempt} with fence ${item.fence} is not the newest of ${task.name}`,
    )
  }
  if (order.indexOf(item.state) <= order.indexOf(last.state)) {
    // The same word twice is no news, but a second end of an attempt that was given up comes too late.
    const late = last.ending?.outcome === "lost" && item.state === "ended"
    return late ? stale(`${task.name} was given up before`) : { ok: true, existing: true }
  }
  if (item.state === "ended") {
    const ending: Ending = item.ending ?? { outcome: "unknown", stopped: false }
    endAttempt(draft, found, { ending, item })
  } else {
    progress(found, last, item.state)
  }
  advance(found.run)
  return { ok: true }
}

/** A task that has no way to say that it is ready is ready when it has started. */
function saysReady(group: TaskGroup): boolean {
  return group.work.driver === "process" && group.work.readiness !== undefined
}

function progress({ run, task, group }: Found, last: Attempt, state: "started" | "ready"): void {
  const ready = state === "ready" || !saysReady(group)
  const next: Attempt = {
    ...last,
    state: ready ? "ready" : "started",
    startedAt: last.startedAt ?? run.time,
    ...(ready && { readyAt: last.readyAt ?? run.time }),
  }
  run.setTask({ ...task, attempts: replaceLast(task, next) })
  const detail = { task: task.name, attempt: last.n, node: run.nodeName(last.node) }
  if (last.startedAt === undefined) run.event("task-started", detail)
  if (state === "ready") run.event("task-ready", detail)
}

const ran = new Set<Ending["outcome"]>(["exited", "signalled", "unknown", "done"])

const clauses: Readonly<Record<Ending["outcome"], (ending: Ending) => string>> = {
  exited: ({ exitCode }) => `exited with code ${exitCode ?? "unknown"}`,
  signalled: ({ signal }) => `was killed by ${signal ?? "a signal"}`,
  not_started: () => "could not be started",
  unknown: () => "how it ended is not known",
  lost: () => "its node was lost",
  done: () => "done",
}

/** One clause for people: how the attempt ended. */
function describeEnding(ending: Ending): string {
  const own = ending.reason ?? ""
  return own === "" ? clauses[ending.outcome](ending) : own
}

function endAttempt(
  draft: Draft,
  found: Found,
  end: { readonly ending: Ending; readonly item?: ReportItem },
): void {
  const { run, task, group } = found
  const { ending, item } = end
  const last = task.attempts.at(-1)!
  const started = ran.has(ending.outcome)
  const ready = started && (ending.outcome === "done" || !saysReady(group))
  const ended: Attempt = {
    ...last,
    state: "ended",
    ...(started && { startedAt: last.startedAt ?? draft.time }),
    ...(ready && { readyAt: last.readyAt ?? draft.time }),
    endedAt: draft.time,
    ending,
  }
  const next: Task = {
    ...task,
    attempts: replaceLast(task, ended),
    outputs: item?.outputs === undefined ? task.outputs : [...item.outputs],
  }
  run.setTask(next)
  run.event("task-ended", {
    task: task.name,
    attempt: last.n,
    node: run.nodeName(last.node),
    message: describeEnding(ending),
  })
  if (item?.bundle !== undefined && isSeal(group)) {
    run.change({ bundle: { ...item.bundle, holders: [...item.bundle.holders] } })
  }
  decideResult(run, next, { ending, isReported: item !== undefined })
}

function isSeal(group: TaskGroup): boolean {
  return group.work.driver === "builtin" && group.work.verb === "seal"
}

function isWell(ending: Ending): boolean {
  return ending.outcome === "done" || (ending.outcome === "exited" && ending.exitCode === 0)
}

/** It had done its work before it was told to stop. */
function isDone(ending: Ending): boolean {
  return isWell(ending) && !ending.stopped
}

/** What the end of its newest attempt means for the task. */
function decideResult(
  run: RunDraft,
  task: Task,
  { ending, isReported }: { readonly ending: Ending; readonly isReported: boolean },
): void {
  const group = run.definition(task.group)!
  const reason = describeEnding(ending)
  const finish = (result: NonNullable<Task["result"]>, why: string | undefined): void =>
    finishTask(run, task, { result, quiet: true, ...(why !== undefined && { reason: why }) })
  if (task.stop === "cancelled" || task.stop === "timed_out") {
    finish(task.stop, task.stop === "cancelled" ? "the run was cancelled" : "the run timed out")
  } else if (task.stop === "failed_fast" && !isDone(ending)) {
    finish("cancelled", task.reason)
  } else if (task.stop === "drained" && !isDone(ending)) {
    endDrained(run, task)
  } else if (ending.outcome === "lost") {
    if (isReported && movesOn(run, task, group)) requeue(run, task, reason)
    else finish("lost", reason)
  } else if (task.stop === "unneeded") {
    // It was told to stop, so how it went is no matter; one that never ran was simply not needed.
    if (ending.outcome === "not_started") finish("skipped", unneeded)
    else finish("succeeded", undefined)
  } else if (group.life === "service") {
    again(run, task, reason)
  } else if (ending.outcome === "unknown") {
    if (group.onLoss === "requeue") requeue(run, task, reason)
    else finish("lost", reason)
  } else if (isWell(ending)) {
    const early = group.life === "server" ? deserted(run, group) : undefined
    if (early === undefined) finish("succeeded", undefined)
    else finish("failed", early)
  } else if (mayTryAgain(group, task)) {
    again(run, task, reason)
  } else {
    const tries = task.attempts.length
    finish("failed", tries > 1 ? `${reason} (attempt ${task.attempts.at(-1)!.n})` : reason)
  }
}

/** Its node itself says that it lost it: the host was restarted, or it had no lease for so long that it ended it. */
function movesOn(run: RunDraft, task: Task, group: TaskGroup): boolean {
  return run.version >= 3 && group.onLoss === "requeue" && task.stop === undefined
}

/** What ran on a drained node runs again elsewhere, and that was no try; an interrupted measurement is void. */
function endDrained(run: RunDraft, task: Task): void {
  const group = run.definition(task.group)!
  const last: Attempt = { ...task.attempts.at(-1)!, drained: true }
  const next: Task = { ...task, attempts: replaceLast(task, last) }
  const reason = `${run.nodeName(last.node)} was drained`
  if (run.plan.kind === "manifest" && group.role && group.onLoss === "fail") {
    finishTask(run, next, { result: "failed", reason, quiet: true })
  } else {
    pendAgain(run, next, reason)
  }
}

/** A server that ended well by itself has failed those of its clients that are not even placed. Clients that are
 *  running may have had all they wanted: `iperf3 -s -1` ends with its client, and either report may come first. */
function deserted(run: RunDraft, server: TaskGroup): string | undefined {
  for (const client of clientsOf(run.plan, server.name)) {
    const row = run.group(client.name)
    if (row.finished === row.count) continue
    const waiting = run
      .touched(client.name)
      .some((task) => task.state === "pending" || task.state === "blocked")
    if (waiting || run.untouched(client.name) > 0) {
      return `ended by itself before ${client.name} had started`
    }
  }
  return undefined
}

function failedTries(task: Task): number {
  return task.attempts.filter(
    ({ ending, drained }) => ending && ending.outcome !== "lost" && drained !== true,
  ).length
}

/** A server that was ready once is not tried again: its clients have seen it. */
function mayTryAgain(group: TaskGroup, task: Task): boolean {
  if (failedTries(task) > group.retries) return false
  return group.life !== "server" || task.attempts.every((attempt) => attempt.readyAt === undefined)
}

/** Pending again, after a backoff. */
function again(run: RunDraft, task: Task, reason: string): void {
  const group = run.definition(task.group)!
  const tries = failedTries(task)
  const wait = run.version < 3 ? plainBackoff(group, tries) : jitteredBackoff(group, task, tries)
  pendAgain(run, { ...task, ...(wait > 0 && { notBefore: run.time + wait }) }, reason)
}

function pendAgain(run: RunDraft, task: Task, reason: string): void {
  const { stop: _, ...rest } = task
  run.setTask({ ...rest, state: "pending", reason })
  run.event("task-pending", { task: task.name, message: `again, after: ${reason}` })
}

function requeue(run: RunDraft, task: Task, reason: string): void {
  const losses = task.attempts.filter(
    ({ ending, drained }) =>
      drained !== true && (ending?.outcome === "lost" || ending?.outcome === "unknown"),
  ).length
  if (losses > requeuesMax) finishTask(run, task, { result: "lost", reason, quiet: true })
  else pendAgain(run, task, reason)
}

// ---------------------------------------------------------------- decisions about attempts

type AttemptDecision = Extract<DecideItem, { kind: "attempt-lost" | "overdue" }>

/** Ends a live attempt without its node's word: whatever the node says later has an old fence. */
export function giveUp(draft: Draft, item: AttemptDecision): ItemResult {
  const found = find(draft, item.task)
  if ("ok" in found) return found
  const { run, task, group } = found
  const live = liveAttempt(task)
  if (live === undefined || live.fence !== item.fence) {
    return stale(`fence ${item.fence} is not live in ${task.name}`)
  }
  const stopped = endsAnyway(task)
  if (item.kind === "overdue" && group.role && draft.time < run.run.deadlineAt) {
    return stale(`run ${run.run.id} has time left`)
  }
  if (item.kind === "attempt-lost") {
    const session = draft.session(live.node)
    if (session !== undefined && session.state !== "lost") {
      return stale(`${run.nodeName(live.node)} is back`)
    }
    const member = draft.member(live.node)
    const isGone = member === undefined || member.dead !== undefined
    if (group.onLoss === "wait" && !stopped && !isGone)
      return stale(`${task.name} waits for its node`)
  }
  const ending: Ending = { outcome: "lost", stopped: false, reason: item.reason }
  const isDead = draft.member(live.node)?.dead !== undefined
  const mayRunAgain = group.onLoss === "requeue" || (group.onLoss === "wait" && isDead)
  const drains = task.state === "stopping" && task.stop === "drained"
  const requeues =
    item.kind === "attempt-lost" && mayRunAgain && (task.state === "active" || drains)
  if (requeues) {
    const ended: Attempt = { ...live, state: "ended", endedAt: draft.time, ending }
    const next: Task = { ...task, attempts: replaceLast(task, ended) }
    run.setTask(next)
    run.event("task-ended", {
      task: task.name,
      attempt: live.n,
      node: run.nodeName(live.node),
      message: item.reason,
    })
    requeue(run, next, item.reason)
  } else {
    endAttempt(draft, found, { ending })
  }
  advance(run)
  return { ok: true }
}

/** Tells the attempt to stop, so that its task can run elsewhere. */
export function drain(draft: Draft, item: Extract<DecideItem, { kind: "drained" }>): ItemResult {
  const found = find(draft, item.task)
  if ("ok" in found) return found
  const { run, task } = found
  const live = liveAttempt(task)
  if (task.state !== "active" || live === undefined || live.fence !== item.fence) {
    return stale(`fence ${item.fence} is not active in ${task.name}`)
  }
  if (draft.member(live.node)?.cordon?.mode !== "drain") {
    return stale(`${run.nodeName(live.node)} is not being drained`)
  }
  stopTask(run, task, { why: "drained", reason: item.reason })
  return { ok: true }
}

/** A task that waits for a node which will not come. */
export function failUnplaceable(draft: Draft, ref: TaskRef, reason: string): ItemResult {
  const found = find(draft, ref)
  if ("ok" in found) return found
  const { run, task } = found
  if (task.state !== "pending") return stale(`${task.name} is ${task.state}, not pending`)
  finishTask(run, task, { result: "failed", reason })
  advance(run)
  return { ok: true }
}

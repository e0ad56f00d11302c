/** Runs from the outside: submitted, cancelled, timed out. */
import { carriedCount, type Plan, type Run, type TaskGroup } from "../schema/index.ts"
import { notFound, stale } from "./attempts.ts"
import type { Draft, RunDraft } from "./draft.ts"
import * as keys from "./keys.ts"
import { isOpen } from "./live.ts"
import { advance, blame, endGroup } from "./outcome.ts"
import { assign } from "./placing.ts"
import type { GroupRow, ItemResult, RetryItem, SubmitItem, TableRows } from "./types.ts"

const labelMax = 128
/** Members of one group: each may come to cost a row. */
const countMax = 100_000

/** What would keep a plan from ever ending, if anything. */
function planFault(plan: Plan): string | undefined {
  const names = new Set(plan.groups.map((group) => group.name))
  if (names.size < plan.groups.length) return "two groups of the plan have one name"
  for (const group of plan.groups) {
    if (group.count > countMax) return `${group.name} has more than ${countMax} members`
    for (const upstream of [...group.after.map((edge) => edge.group), group.with]) {
      if (upstream !== undefined && !names.has(upstream)) {
        return `${group.name} waits for ${upstream}, which is not in the plan`
      }
    }
  }
  // Groups that can be ordered one after another; what remains waits for itself.
  const waiting = new Map(plan.groups.map((group) => [group.name, group]))
  const isFree = (group: TaskGroup): boolean => !group.after.some((edge) => waiting.has(edge.group))
  for (let size = -1; size !== waiting.size;) {
    size = waiting.size
    for (const group of waiting.values()) if (isFree(group)) waiting.delete(group.name)
  }
  const [first] = waiting.keys()
  return first === undefined ? undefined : `${first} waits for itself`
}

/** `name`, or `name-2`, `name-3`, … when it is taken. */
function freeLabel(draft: Draft, wanted: string): { label: string; next: number } {
  const row = draft.get(keys.labelKey(wanted)) as TableRows["label"] | undefined
  if (row === undefined) return { label: wanted, next: 2 }
  for (let n = row.next; ; n++) {
    const suffix = `-${n}`
    const label = `${wanted.slice(0, labelMax - suffix.length)}${suffix}`
    if (draft.get(keys.labelKey(label)) === undefined) return { label, next: n + 1 }
  }
}

function takeLabel(draft: Draft, wanted: string, run: string): string {
  const { label, next } = freeLabel(draft, wanted)
  if (label !== wanted) {
    const row = draft.get(keys.labelKey(wanted)) as TableRows["label"]
    draft.put(keys.labelKey(wanted), { ...row, next })
  }
  draft.put(keys.labelKey(label), { run, next: 2 })
  return label
}

/** The answer to a request that was accepted before, by its idempotency key. */
export function knownRequest(
  draft: Draft,
  request: Pick<SubmitItem, "principal" | "key" | "bodyHash">,
): ItemResult | undefined {
  if (request.key === "") return undefined
  const key = keys.idempotencyKey(request.principal, request.key)
  const known = draft.get(key) as TableRows["key"] | undefined
  if (known === undefined) return undefined
  if (known.bodyHash === request.bodyHash) return { ok: true, run: known.run, existing: true }
  return { ok: false, code: "conflict", detail: known.run }
}

/** `item` is its place in the entry: it makes the run's id. */
export function submit(draft: Draft, submitted: SubmitItem, item: number): ItemResult {
  return accept(draft, { ...submitted, kept: [] }, item)
}

/** A new run; members in `kept` have succeeded before it begins. */
export function accept(
  draft: Draft,
  submitted: SubmitItem & Pick<RetryItem, "kept">,
  item: number,
): ItemResult {
  const cluster = draft.cluster
  if (cluster === undefined) return stale("the cluster is not founded yet")
  if (cluster.dissolvedInto !== undefined) {
    return { ok: false, code: "dissolved", detail: cluster.dissolvedInto }
  }
  const known = knownRequest(draft, submitted)
  if (known !== undefined) return known
  const { plan } = submitted
  const fault = planFault(plan)
  if (fault !== undefined) return { ok: false, code: "invalid", detail: fault }
  const id = keys.runId(draft.index, item)
  if (cluster.pristine) draft.put(keys.clusterKey, { ...cluster, pristine: false })
  if (submitted.key !== "") {
    const key = keys.idempotencyKey(submitted.principal, submitted.key)
    draft.put(key, { run: id, bodyHash: submitted.bodyHash, at: draft.time })
  }
  const run: Run = {
    id,
    label: takeLabel(draft, plan.label, id),
    kind: plan.kind,
    state: "active",
    principal: submitted.principal,
    ...(submitted.key !== "" && { key: submitted.key }),
    entryNode: submitted.entryNode,
    createdAt: draft.time,
    deadlineAt: draft.time + plan.timeoutMs,
    events: 0,
  }
  const created = draft.addRun(run, plan)
  for (const group of plan.groups) created.setGroup(newGroup(id, group))
  for (const { group, index, outputs } of submitted.kept) {
    const task = created.task(group, index)
    if (task === undefined) continue
    created.setTask({ ...task, state: "finished", result: "succeeded", outputs: [...outputs] })
  }
  // A plan without groups is over at once.
  created.moved = true
  created.event("run-accepted", { message: run.label, node: submitted.entryNode })
  advance(created)
  // A placement that no longer holds is dropped: the task stays pending and is placed in the usual way.
  for (const placement of submitted.placements) assign(draft, { ...placement, run: id })
  return { ok: true, run: id, id: draft.index }
}

/** Members that are carried over have every mark from the start. */
function newGroup(run: string, group: TaskGroup): GroupRow {
  const carried = carriedCount(group)
  return {
    run,
    name: group.name,
    count: group.count,
    started: carried,
    ready: carried,
    succeeded: carried,
    finished: carried,
    untouched: carried === group.count ? "finished" : "blocked",
  }
}

/** Everything of the roles that waits ends at once, everything that runs is told to stop; bookkeeping goes on. */
function stopRoles(run: RunDraft, result: "cancelled" | "timed_out", reason: string): void {
  for (const group of run.plan.groups) {
    if (group.role) endGroup(run, group, { result, reason, stop: { why: result, reason } })
  }
  run.moved = true
  advance(run)
}

/** Idempotent; a run whose outcome is decided stays as it is. */
export function cancel(draft: Draft, id: string, reason: string): ItemResult {
  if (draft.isFinished(id)) return { ok: true, run: id, existing: true }
  const run = draft.run(id)
  if (run === undefined) return notFound(`no run ${id}`)
  if (run.run.state !== "active" || run.run.cancelRequested !== undefined) {
    return { ok: true, run: id, existing: true }
  }
  run.change({ cancelRequested: reason })
  blame(run, "cancelled", `cancelled: ${reason}`)
  run.event("run-cancelling", { message: reason })
  stopRoles(run, "cancelled", "the run was cancelled")
  return { ok: true, run: id }
}

/** Something that waits or runs and was not told to stop. */
function hasWork(run: RunDraft, group: TaskGroup): boolean {
  const { untouched } = run.group(group.name)
  if (untouched !== "finished" && run.untouched(group.name) > 0) return true
  return run.touched(group.name).some(isOpen)
}

/** The run's own deadline. Once the roles have ended, bookkeeping has deadlines of its own. */
export function timeOut(draft: Draft, id: string): ItemResult {
  if (draft.isFinished(id)) return stale(`run ${id} is finished`)
  const run = draft.run(id)
  if (run === undefined) return notFound(`no run ${id}`)
  if (run.run.state !== "active") return stale(`run ${id} is ${run.run.state}`)
  if (draft.time < run.run.deadlineAt) return stale(`run ${id} has time left`)
  const open = run.plan.groups.filter((group) => group.role && hasWork(run, group))
  if (open.length === 0) return stale(`run ${id} is being stopped already`)
  const names = open.map((group) => group.name).join(", ")
  const seconds = Math.round(run.plan.timeoutMs / 100) / 10
  // Who never found a node is not blamed for being slow.
  const begun = open.some((group) =>
    run.touched(group.name).some((task) => task.attempts.length > 0),
  )
  const what = begun ? "ended" : "been started on any node"
  blame(run, "timed_out", `timed out: ${names} had not ${what} after ${seconds} s`)
  run.event("run-cancelling", { message: `timed out after ${seconds} s` })
  stopRoles(run, "timed_out", "the run timed out")
  return { ok: true, run: id }
}

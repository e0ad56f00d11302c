/** What only the leader answers about runs that are there: reads that must not be stale, cancelling, pinning. */
import { type Output, type PeerRef, type Run, type RunView, TroupeError } from "../schema/index.ts"
import * as state from "../state/index.ts"
import type { View } from "../state/index.ts"
import { blobsOf } from "./blobs-of.ts"
import type { CallOptions } from "./context.ts"
import type { EventPage } from "./face.ts"
import { groupOf, type RunRows } from "./launch.ts"
import type { OperationParts } from "./operations.ts"
import { runNotFound, runRows as rowsOf, runView } from "./run-rows.ts"

export interface LogPlace {
  readonly task: string
  readonly attempt: number
  readonly node: string
  readonly fence: number
  readonly peer: PeerRef
  /** The attempt may still write. */
  readonly live: boolean
  readonly finished: boolean
  /** Once collected. */
  readonly output: Output | undefined
}

export async function listRuns(
  parts: OperationParts,
  body: { state?: string; limit: number; cursor?: string },
  options: CallOptions,
): Promise<{ items: readonly Run[]; nextCursor?: string }> {
  await parts.replica.readBarrier(options.signal)
  const { runs, next } = state.listRuns(parts.replica.tables, {
    state: body.state,
    limit: body.limit,
    after: body.cursor,
  })
  return { items: runs, ...(next !== undefined && { nextCursor: next }) }
}

/** With a view that has the run's rows, wherever they are. */
export async function find(
  parts: OperationParts,
  idOrLabel: string,
): Promise<{ readonly id: string; readonly view: View }> {
  const run = state.findRun(parts.replica.tables, idOrLabel)
  if (!run) throw runNotFound(idOrLabel)
  return { id: run.id, view: await parts.replica.viewOf(run.id) }
}

export async function getRun(
  parts: OperationParts,
  body: { run: string; tasks?: "all" },
  options: CallOptions,
): Promise<RunView> {
  await parts.replica.readBarrier(options.signal)
  return await withReasons(parts, body.run, body.tasks)
}

export async function runRows(
  parts: OperationParts,
  body: { run: string },
  options: CallOptions,
): Promise<RunRows> {
  await parts.replica.readBarrier(options.signal)
  const { id, view } = await find(parts, body.run)
  return rowsOf(view, id)
}

/** The view with the first failing constraint of every task that waits. */
async function withReasons(
  parts: OperationParts,
  run: string,
  wanted: "all" | "some" = "some",
): Promise<RunView> {
  const { id, view: rows } = await find(parts, run)
  const view = runView(rows, id, wanted)
  const tasks = view.tasks.map((task) => {
    if (task.state !== "pending" && task.state !== "blocked") return task
    const explanation = parts.leadership.scheduler.explain(task, parts.leadership.placing())
    return explanation?.waiting === undefined ? task : { ...task, waiting: explanation.waiting }
  })
  return { ...view, tasks }
}

export async function cancelRun(
  parts: OperationParts,
  body: { run: string; reason: string; brief?: boolean },
  options: CallOptions,
): Promise<RunView | undefined> {
  const run = await idOf(parts, body.run, options.signal)
  await parts.replica.propose({ type: "cancel", items: [{ run, reason: body.reason }] })
  if (body.brief === true) return undefined
  return await withReasons(parts, run)
}

/** A pinned run is kept, however old it is and however many there are. Idempotent. */
export async function pinRun(
  parts: OperationParts,
  body: { run: string; pinned: boolean },
  options: CallOptions,
): Promise<RunView> {
  const run = await idOf(parts, body.run, options.signal)
  const { pinned } = body
  const { results } = await parts.replica.propose({ type: "pin", items: [{ run, pinned }] })
  if (results[0]?.ok !== true) throw runNotFound(body.run)
  return await withReasons(parts, run)
}

export async function readEvents(
  parts: OperationParts,
  body: { run: string; after?: string; limit: number; waitMs: number },
  options: CallOptions,
): Promise<EventPage> {
  const { clock } = parts.context.parts
  const deadline = clock.boottime() + body.waitMs
  await parts.replica.readBarrier(options.signal)
  for (;;) {
    const { id, view } = await find(parts, body.run)
    const page = state.readEvents(view, id, { after: body.after, limit: body.limit })
    const left = deadline - clock.boottime()
    if (page.events.length > 0 || page.ended || page.reset || left <= 0) return page
    await parts.changed(left, options.signal)
    if (!parts.replica.isLeading()) return page
  }
}

export async function locateLog(
  parts: OperationParts,
  body: { run: string; task: string; attempt?: number; stream: "stdout" | "stderr" },
  options: CallOptions,
): Promise<LogPlace | undefined> {
  await parts.replica.readBarrier(options.signal)
  const { id: run, view } = await find(parts, body.run)
  const rows = rowsOf(view, run)
  const roles = rows.run.tasks.filter((task) => groupOf(rows.plan, task.group)?.role)
  const task = roles.find((one) => one.name === body.task)
  if (!task) {
    const names = roles.map((one) => one.name).join(", ")
    throw new TroupeError(
      "ERR_TASK_NOT_FOUND",
      `run ${rows.run.label} has no task '${body.task}' with a log; there are: ${names}`,
      { run, task: body.task },
    )
  }
  const attempt =
    body.attempt === undefined ? task.attempts.at(-1) : task.attempts[body.attempt - 1]
  if (!attempt) return undefined
  const member = rows.members.find((one) => one.id === attempt.node)
  const path = `roles/${task.name}/${body.stream}.log`
  const last = attempt === task.attempts.at(-1)
  return {
    task: task.name,
    attempt: attempt.n,
    node: member?.name ?? String(attempt.node),
    fence: attempt.fence,
    peer: { peerId: member?.peerId ?? "", addresses: member?.addresses ?? [] },
    live: attempt.state !== "ended",
    finished: rows.run.state === "finished",
    output: last
      ? rows.run.tasks.flatMap((one) => one.outputs).find((one) => one.path === path)
      : undefined,
  }
}

async function idOf(
  parts: OperationParts,
  idOrLabel: string,
  signal: AbortSignal,
): Promise<string> {
  const known = state.findRun(parts.replica.tables, idOrLabel)
  if (known) return known.id
  // A leader that has been replaced and does not know it yet may lack what another has accepted.
  await parts.replica.readBarrier(signal)
  const run = state.findRun(parts.replica.tables, idOrLabel)
  if (!run) throw runNotFound(idOrLabel)
  return run.id
}

// ---------------------------------------------------------------- blobs that runs name

export interface BlobUses {
  readonly digests: readonly string[]
  /** Ask `after` this for the next page; undefined at the end. */
  readonly next?: string | undefined
}

/** Runs of one page: those of finished runs are read from disk. */
const runsPerPage = 20

/** Digests of every blob that a run which is kept names, a page of runs at a time. */
export async function blobUses(
  parts: OperationParts,
  body: { after?: string },
  options: CallOptions,
): Promise<BlobUses> {
  await parts.replica.readBarrier(options.signal)
  const { tables } = parts.replica
  const after = body.after === undefined ? undefined : state.runKey(body.after)
  const page = tables.page(state.runPrefix, { after, limit: runsPerPage })
  const digests = new Set<string>()
  for (const [, row] of page) {
    const { id } = row as Run
    for (const digest of blobsOf(await parts.replica.viewOf(id), id)) digests.add(digest)
  }
  const [, last] = page[runsPerPage - 1] ?? []
  return { digests: [...digests], ...(last !== undefined && { next: (last as Run).id }) }
}

/** `troupe runs list|show|wait|cancel`. */

import type { Run, RunView } from "../../schema/index.ts"
import { formatBytes, formatDuration, formatTime } from "../duration.ts"
import { connect } from "../connect.ts"
import { exitCodes, verdictExit } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { follow } from "../follow.ts"
import { type Format, printList, printOne, runValue } from "../output.ts"
import { countsText, isRole, taskWords } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"
import { type Column, renderTable } from "../table.ts"
import type { Colour, Paint } from "../terminal.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

const states = ["active", "ending", "finished"] as const

export async function list(
  session: Session,
  options: Options & { state?: string; limit: number; quiet?: true },
): Promise<number> {
  const format = formatOf(session, options.output)
  const state = states.find((each) => each === options.state)
  if (options.state !== undefined && state === undefined) {
    throw new UsageError(
      `no state ${JSON.stringify(options.state)}`,
      `there are: ${states.join(", ")}`,
    )
  }
  const client = connect(session, options)
  const { limit } = options
  const { items, nextCursor } = await client.listRuns({ limit, ...(state && { state }) })
  const { terminal } = session
  if (options.quiet === true) {
    for (const run of items) terminal.print(run.id)
    return exitCodes.ok
  }
  await printList(terminal, format, {
    kind: "Run",
    items,
    dataOf: runValue,
    columns: runColumns(terminal.paint, session.clock.now()),
    empty: "no runs yet; start one with: troupe run FILE",
    ...(nextCursor !== undefined && { more: { nextCursor } }),
  })
  return exitCodes.ok
}

export async function show(
  session: Session,
  run: string,
  options: Options & { all?: true },
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const tasks = options.all === true ? "all" : undefined
  await printRun(session, format, await client.getRun(run, { tasks }))
  return exitCodes.ok
}

export async function wait(
  session: Session,
  run: string,
  options: Options & { timeout: number },
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const first = await client.getRun(run)
  const signal = session.clock.timeoutSignal(options.timeout, `run ${first.label}`)
  const last = await follow(client, first, { clock: session.clock, signal })
  await printRun(session, format, last)
  return last.verdict === undefined ? exitCodes.internal : verdictExit[last.verdict]
}

export async function cancel(
  session: Session,
  run: string,
  options: Options & { reason: string },
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const view = await client.cancelRun(run, { reason: options.reason })
  await printRun(session, format, view)
  const { terminal } = session
  if (view.state === "finished") terminal.tell(`it had ended before: ${view.verdict ?? "unknown"}`)
  else terminal.tell(`cancelling; wait for its end with: troupe runs wait ${view.id}`)
  return exitCodes.ok
}

export async function pin(session: Session, run: string, options: Options): Promise<number> {
  return await setPinned(session, { run, pinned: true }, options)
}

export async function unpin(session: Session, run: string, options: Options): Promise<number> {
  return await setPinned(session, { run, pinned: false }, options)
}

async function setPinned(
  session: Session,
  what: { readonly run: string; readonly pinned: boolean },
  options: Options,
): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  await printRun(session, format, await client.pinRun(what.run, what.pinned))
  session.terminal.tell(
    what.pinned ? "kept until it is unpinned" : "kept as long as other finished runs",
  )
  return exitCodes.ok
}

async function printRun(session: Session, format: Format, view: RunView): Promise<void> {
  const { terminal } = session
  await printOne(terminal, format, {
    kind: "Run",
    value: runValue(view),
    text: () => runText(view, { width: terminal.columns, paint: terminal.paint }),
  })
}

/** A verdict in its colour; what has none yet is shown by its state. */
function standing(run: Run): string {
  return run.state === "finished" ? (run.verdict ?? "finished") : run.state
}

function standingColour(run: Run): Colour {
  if (run.state !== "finished") return "cyan"
  return run.verdict === "succeeded" ? "green" : "red"
}

function runColumns(paint: Paint, now: number): readonly Column<Run>[] {
  return [
    { title: "RUN", value: (run) => run.id },
    { title: "LABEL", value: (run) => run.label },
    {
      title: "STATE",
      value: standing,
      style: (text, run) => paint(standingColour(run), text),
    },
    { title: "STARTED (UTC)", value: (run) => formatTime(run.createdAt) },
    {
      title: "DURATION",
      value: (run) => formatDuration((run.endedAt ?? now) - run.createdAt),
      align: "right",
    },
    { title: "ENTRY", value: (run) => run.entryNode },
    { title: "REASON", value: (run) => run.reason },
  ]
}

/** Of a group with many members nobody reports that one has started: it was told to. */
function isUntold(view: RunView, task: RunView["tasks"][number]): boolean {
  const isLarge = (view.groups ?? []).some(({ name, count }) => name === task.group && count > 16)
  return isLarge && task.state === "active" && task.attempts.at(-1)?.state === "assigned"
}

function runText(view: RunView, options: { width: number | undefined; paint: Paint }): string {
  const { width, paint } = options
  const lines: (readonly [string, string])[] = [
    ["run", `${view.id}  ${view.label}`],
    [
      "state",
      paint(standingColour(view), standing(view)) + (view.reason ? `: ${view.reason}` : ""),
    ],
    ["phase", view.phase],
    ["started", `${formatTime(view.createdAt)} UTC, through ${view.entryNode}`],
  ]
  if (view.endedAt !== undefined) {
    lines.push(["duration", formatDuration(view.endedAt - view.createdAt)])
  }
  if (view.bundle) {
    const { bytes, digest, files, holders } = view.bundle
    const copies = holders.length === 1 ? "1 copy" : `${holders.length} copies`
    lines.push(["bundle", `${files} files, ${formatBytes(bytes)}, ${copies}, sha256:${digest}`])
  }
  if (view.origin !== undefined) {
    const what = view.origin.how === "failed" ? "what did not succeed of" : "all of"
    lines.push(["again", `${what} ${view.origin.run}`])
  }
  for (const group of (view.groups ?? []).filter(({ count }) => count > 1)) {
    lines.push([group.name, `${group.count} members: ${countsText(group)}`])
  }
  const tasks = [...view.tasks].toSorted((a, b) => Number(isRole(b)) - Number(isRole(a)))
  const table = renderTable(
    tasks,
    [
      { title: "TASK", value: (task) => task.name },
      { title: "NODE", value: (task) => task.node },
      { title: "TRIES", value: (task) => task.attempts.length, align: "right" },
      { title: "STATE", value: (task) => (isUntold(view, task) ? "running" : taskWords(task)) },
    ],
    { width, bold: (text) => paint("bold", text) },
  )
  const head = lines.map(([name, value]) => `${name.padEnd(9)} ${value}`)
  const more = view.omitted === undefined ? [] : [`… and ${view.omitted} more; all with --all`]
  return [...head, "", ...table, ...more].join("\n")
}

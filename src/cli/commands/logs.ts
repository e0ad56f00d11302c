/** `troupe logs`: what the tasks of a run write, merged by time, while they do and afterwards. */
import type { OutputPart } from "../../client/index.ts"
import type { RunView } from "../../schema/index.ts"
import { nearest } from "../../lib/index.ts"
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { createJsonLines } from "../output-lines.ts"
import { createPrinter, type Printer } from "../output-printer.ts"
import { isRole } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"
import { textWidth } from "../width.ts"

type StreamName = "stdout" | "stderr"

interface Options {
  readonly api?: string
  readonly output?: string
  readonly follow?: true
  readonly stream: StreamName | "both"
  readonly stdout?: true
  readonly stderr?: true
  readonly since?: { readonly ms?: number; readonly at?: number }
  readonly tail?: number
  readonly timestamps?: true
}

export async function logs(
  session: Session,
  run: string,
  tasks: readonly string[],
  options: Options,
): Promise<number> {
  const format = formatOf(session, options.output)
  if (format !== "table" && format !== "jsonl") {
    throw new UsageError(`logs have no form ${format}`, "there are: -o jsonl, or none for text")
  }
  const client = connect(session, options)
  const view = await client.getRun(run)
  checkTasks(view, tasks)
  const stream = streamOf(options)
  const single = singleTask(view, tasks)
  const printer =
    format === "jsonl"
      ? createJsonLines(session.terminal)
      : createPrinter(session.terminal, {
          timestamps: options.timestamps === true,
          raw: single !== undefined,
          both: stream === undefined,
          cells: cellsOf(view, tasks),
        })
  const parts = client.output(view.id, {
    tasks,
    stream,
    follow: options.follow,
    ...(options.since?.ms !== undefined && { sinceMs: options.since.ms }),
    ...(options.since?.at !== undefined && { since: options.since.at }),
    tail: options.tail,
  })
  const { lost } = await pourOutput(parts, printer)
  return lost === 0 ? exitCodes.ok : exitCodes.lost
}

/** Writes everything; answers of how many attempts something is missing. */
export async function pourOutput(
  parts: AsyncIterable<OutputPart>,
  printer: Printer,
): Promise<{ lost: number }> {
  for await (const part of parts) {
    if (part.type === "output") await printer.print(part)
    else if (part.type === "notice") printer.tell(part.message)
    else {
      await printer.end()
      return { lost: part.lost }
    }
  }
  throw new Error("the output ended without its end")
}

function streamOf({ stream, stdout, stderr }: Options): StreamName | undefined {
  if (stdout === true && stderr === true) return undefined
  if (stdout === true) return "stdout"
  if (stderr === true) return "stderr"
  return stream === "both" ? undefined : stream
}

/** Names of tasks and of their groups; a view may leave out tasks of large groups, the node then says what is wrong. */
function checkTasks(view: RunView, tasks: readonly string[]): void {
  const roles = view.tasks.filter(isRole)
  const names = [...new Set(roles.flatMap(({ name, group }) => [name, group]))]
  for (const task of tasks) {
    const isMember = names.includes(task.replace(/\[\d+\]$/, ""))
    if (names.includes(task) || isMember || roles.length === 0) continue
    const meant = nearest(task, names)
    const hint = meant === undefined ? "" : `; did you mean ${meant}?`
    throw new UsageError(
      `run ${view.label} has no task ${JSON.stringify(task)}${hint}`,
      `it has: ${roles.map(({ name }) => name).join(", ")}`,
    )
  }
}

/** The only task whose output is asked for. */
function singleTask(view: RunView, tasks: readonly string[]): string | undefined {
  const roles = view.tasks.filter(isRole)
  const isWhole = (view as { readonly omitted?: unknown }).omitted === undefined
  if (tasks.length === 0) return roles.length === 1 && isWhole ? roles[0]!.name : undefined
  if (tasks.length > 1) return undefined
  const [task] = tasks
  const members = roles.filter(({ name, group }) => name === task || group === task)
  const isMember = /\[\d+\]$/.test(task!)
  return isMember || (members.length === 1 && isWhole) ? task : undefined
}

function cellsOf(view: RunView, tasks: readonly string[]): number {
  const asked = view.tasks.filter(
    (task) =>
      isRole(task) &&
      (tasks.length === 0 || tasks.includes(task.name) || tasks.includes(task.group)),
  )
  return Math.max(0, ...asked.map(({ name }) => textWidth(name)))
}

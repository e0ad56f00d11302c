/** `troupe explain`: why tasks wait, and what each node lacks. */
import type { ExplainedTask, ExplainView } from "../../schema/index.ts"
import { connect } from "../connect.ts"
import { formatDuration } from "../duration.ts"
import { exitCodes } from "../exit.ts"
import { printOne } from "../output.ts"
import { countsText, isRole } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"
import { renderTable } from "../table.ts"
import type { Paint } from "../terminal.ts"
import { safeLine } from "../width.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

/** `place` is RUN or RUN/TASK. */
export async function explain(session: Session, place: string, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const slash = place.indexOf("/")
  const run = slash < 0 ? place : place.slice(0, slash)
  const task = slash < 0 ? undefined : place.slice(slash + 1)
  const view = await connect(session, options).explainRun(run, { task })
  const { terminal, clock } = session
  const { columns: width, paint } = terminal
  const text = () => explainText(view, { width, paint, now: clock.now() })
  await printOne(terminal, format, { kind: "Explanation", value: view, text })
  return exitCodes.ok
}

interface Screen {
  readonly width: number | undefined
  readonly paint: Paint
  readonly now: number
}

function explainText(view: ExplainView, screen: Screen): string {
  const standing = view.state === "finished" ? (view.verdict ?? "finished") : view.state
  const why = view.reason === undefined ? "" : `: ${safeLine(view.reason)}`
  const lines = [`${view.run}  ${view.label}  ${standing}${why}`]
  for (const group of view.groups.filter(
    ({ name, count }) => count > 1 && isRole({ group: name }),
  )) {
    lines.push(`${group.name}: ${countsText(group)}`)
  }
  if (view.tasks.length === 0) {
    lines.push(view.state === "finished" ? "it is over: nothing waits" : "nothing waits")
  }
  for (const task of view.tasks) lines.push("", ...taskLines(task, screen))
  return lines.join("\n")
}

function taskLines(item: ExplainedTask, { width, paint, now }: Screen): string[] {
  const alike = item.count === 1 ? "" : ` and ${item.count - 1} more like it`
  const waitMs = (item.notBefore ?? 0) - now
  const wait = waitMs > 0 ? ` (in ${formatDuration(waitMs)})` : ""
  const head = `${paint("bold", item.task)}${alike}: ${item.state}, ${safeLine(item.reason)}${wait}`
  if (item.rejected.length === 0) return [head]
  const table = renderTable(
    item.rejected,
    [
      { title: "NODE", value: ({ node }) => node },
      { title: "CANNOT TAKE IT", value: ({ reason }) => reason },
    ],
    { width: width === undefined ? undefined : width - 2, bold: (text) => paint("bold", text) },
  )
  return [head, ...table.map((line) => `  ${line}`)]
}

/** `troupe runs artifacts`: brings the bundle of a finished run home again, with its artifacts and what is said of them. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { bringHome } from "../bring-home.ts"
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { printOne } from "../output.ts"
import { isRole } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"
import { safeLine } from "../width.ts"

interface Options {
  readonly api?: string
  readonly output?: string
  readonly out: string
}

/** Of each task at most so many are named on the screen; the file in the bundle names more. */
const namedMax = 5
const listFile = "artifacts_left_out.jsonl"

export async function artifacts(session: Session, run: string, options: Options): Promise<number> {
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const view = await client.getRun(run)
  if (view.state === "finished" && view.bundle === undefined) {
    throw new UsageError(
      `run ${view.label} has no artifacts: nothing was to come home`,
      `a job's do with \`troupe job run --artifacts GLOB\`; its output is there: troupe logs ${view.id}`,
    )
  }
  const { signal } = new AbortController()
  const home = await bringHome(client, view, {
    session,
    bundleDir: options.out,
    format: "dir",
    signal,
  })
  const { terminal } = session
  if (home.problem !== undefined) terminal.tell(`error: ${safeLine(home.problem)}`)
  const { path } = home
  if (path === undefined) return home.exitCode
  const leftOut = view.tasks.filter(isRole).flatMap(({ name }) => leftOutOf(path, name))
  for (const { task, path: file, reason, more } of leftOut) {
    const what = more === undefined ? `${file}: ${reason}` : `and ${more} more`
    terminal.tell(`warning: of ${safeLine(task)} not as it was: ${safeLine(what)}`)
  }
  const value = { run: view.id, path, verified: home.verified ?? "no", valid: home.valid }
  await printOne(terminal, format, { kind: "Artifacts", value, text: () => path })
  return home.valid ? exitCodes.ok : home.exitCode
}

interface LeftOut {
  readonly task: string
  readonly path?: string
  readonly reason?: string
  readonly more?: number
}

function leftOutOf(bundle: string, task: string): readonly LeftOut[] {
  let text: string
  try {
    text = readFileSync(join(bundle, "roles", task, listFile), "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
  const all = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Omit<LeftOut, "task">)
  const named = all.slice(0, namedMax).map((one) => ({ ...one, task }))
  const rest = all.slice(namedMax).reduce((sum, { more = 1 }) => sum + more, 0)
  return rest === 0 ? named : [...named, { task, more: rest }]
}

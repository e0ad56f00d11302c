/** `troupe runs retry|rerun`: a finished run once more, all of it or what did not succeed. */
import { randomUUID } from "node:crypto"
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { tellHowToFollow } from "../leaving.ts"
import { printOne, runValue } from "../output.ts"
import { countsText } from "../progress.ts"
import { formatOf, type Session } from "../session.ts"

interface Options {
  readonly output?: string
  readonly api?: string
}

export async function retry(
  session: Session,
  run: string,
  options: Options & { readonly failed?: true },
): Promise<number> {
  if (options.failed !== true) {
    throw new UsageError(
      "retry runs only what did not succeed: say so with --failed",
      `write: troupe runs retry ${run} --failed, or for all of it: troupe runs rerun ${run}`,
    )
  }
  return await again(session, { run, failed: true }, options)
}

export async function rerun(session: Session, run: string, options: Options): Promise<number> {
  return await again(session, { run, failed: false }, options)
}

async function again(
  session: Session,
  what: { readonly run: string; readonly failed: boolean },
  options: Options,
): Promise<number> {
  const { terminal } = session
  const format = formatOf(session, options.output)
  const client = connect(session, options)
  const { failed } = what
  const key = `cli-${randomUUID()}`
  const { run, warnings } = await client.retryRun(what.run, { failed, key })
  for (const warning of warnings) terminal.tell(`warning: ${warning}`)
  const [group] = run.groups ?? []
  const counts = failed && group !== undefined && group.count > 1 ? `: ${countsText(group)}` : ""
  terminal.tell(`accepted as ${run.id} (${run.label})${counts}`)
  await printOne(terminal, format, { kind: "Run", value: runValue(run), text: () => run.id })
  tellHowToFollow(session, run)
  return exitCodes.ok
}

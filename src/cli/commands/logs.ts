/** `troupe logs`: what tasks wrote, byte for byte of one, line by line with names of several. */
import type { Client } from "../../client/index.ts"
import type { RunView } from "../../schema/index.ts"
import { connect } from "../connect.ts"
import { exitCodes } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { nearest } from "../../lib/index.ts"
import { createLines } from "../lines.ts"
import { isRole } from "../progress.ts"
import type { Session } from "../session.ts"
import type { Colour } from "../terminal.ts"
import { pad, textWidth } from "../width.ts"

type StreamName = "stdout" | "stderr"

interface Options {
  readonly api?: string
  readonly follow?: true
  readonly stream: StreamName | "both"
}

const colours: readonly Colour[] = ["cyan", "magenta", "yellow", "green", "blue"]
const startPollMs = 300

export async function logs(
  session: Session,
  run: string,
  task: string | undefined,
  options: Options,
): Promise<number> {
  const client = connect(session, options)
  const view = await client.getRun(run)
  const names = tasksOf(view, task)
  const isFollowed = options.follow === true && view.state !== "finished"
  const streams: StreamName[] = options.stream === "both" ? ["stdout", "stderr"] : [options.stream]
  const sinks = names.length === 1 ? rawSinks(session, options.stream) : namedSinks(session, names)
  const pour = async (name: string, stream: StreamName) => {
    if (!(await hasBegun(session, { client, view, name, wait: isFollowed }))) return
    const sink = sinks(name, stream)
    const query = { task: name, stream, follow: isFollowed }
    for await (const piece of client.logs(view.id, query)) sink.write(piece)
    sink.end()
  }
  const all = names.flatMap((name) => streams.map((stream) => [name, stream] as const))
  if (isFollowed) {
    await Promise.all(all.map(([name, stream]) => pour(name, stream)))
  } else {
    for (const [name, stream] of all) await pour(name, stream)
  }
  return exitCodes.ok
}

function tasksOf(view: RunView, task: string | undefined): readonly string[] {
  const names = view.tasks.map(({ name }) => name)
  if (task === undefined) return view.tasks.filter(isRole).map(({ name }) => name)
  if (names.includes(task)) return [task]
  const meant = nearest(task, names)
  throw new UsageError(
    `run ${view.label} has no task ${JSON.stringify(task)}${meant === undefined ? "" : `; did you mean ${meant}?`}`,
    `it has: ${view.tasks
      .filter(isRole)
      .map(({ name }) => name)
      .join(", ")}`,
  )
}

/** A task that waits has written nothing; when its log is followed, it is waited for. */
async function hasBegun(
  session: Session,
  what: { client: Client; view: RunView; name: string; wait: boolean },
): Promise<boolean> {
  for (let { view } = what; ; view = await what.client.getRun(view.id)) {
    const task = view.tasks.find(({ name }) => name === what.name)
    if (task !== undefined && task.attempts.length > 0) return true
    if (!what.wait || task?.state === "finished" || view.state === "finished") return false
    await session.clock.sleep(startPollMs)
  }
}

interface Sink {
  write(piece: Uint8Array): void
  end(): void
}

/** One task: its streams go where its own would have gone; one stream alone is the data that was asked for. */
function rawSinks({ terminal }: Session, chosen: Options["stream"]) {
  return (_name: string, stream: StreamName): Sink => {
    const toError = chosen === "both" && stream === "stderr"
    return {
      write: (piece) => {
        if (toError) process.stderr.write(piece)
        else terminal.write(piece)
      },
      end: () => undefined,
    }
  }
}

/** Several tasks: whole lines, each with the name of its task, a mark for standard error. */
function namedSinks({ terminal }: Session, names: readonly string[]) {
  const cells = Math.max(...names.map(textWidth))
  return (name: string, stream: StreamName): Sink => {
    const colour = colours[names.indexOf(name) % colours.length]!
    const mark = stream === "stderr" ? "!" : "|"
    const prefix = terminal.paint(colour, `${pad(name, cells)} ${mark}`)
    return createLines((line) => terminal.print(`${prefix} ${line}`))
  }
}

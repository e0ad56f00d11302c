/** Leaving a run that goes on: what Ctrl-C means to who follows one. */
import type { Client } from "../client/index.ts"
import type { RunView } from "../schema/index.ts"
import { describeFailure } from "./failure.ts"
import { askDetachOrCancel } from "./interrupt.ts"
import type { Session } from "./session.ts"

/** Why following stopped before the run did. */
export class Left extends Error {
  readonly how: "detached" | "before-accepted"
  constructor(how: "detached" | "before-accepted") {
    super(how)
    this.how = how
  }
}

/** Where notices go, and what holds still while a question is on the screen. */
interface Screen {
  tell(text: string): void
  pause?(): void
  resume?(): void
}

/** The first Ctrl-C of an accepted run: who sits at a terminal is asked, everybody else cancels it. */
export async function stopOrLeave(
  session: Session,
  what: {
    readonly client: Client
    readonly run: RunView
    readonly screen: Screen
    readonly signal: "SIGINT" | "SIGTERM"
    readonly interrupted: AbortController
    /** What cancelling still brings. */
    readonly notice: string
  },
): Promise<void> {
  const { client, run, screen, signal, interrupted, notice } = what
  const { terminal } = session
  screen.pause?.()
  const isAsked = signal === "SIGINT" && terminal.interactive
  const choice = isAsked ? await askDetachOrCancel(session) : "cancel"
  if (choice === "detach") {
    interrupted.abort(new Left("detached"))
    return
  }
  screen.resume?.()
  screen.tell(`${notice} (Ctrl-C once more leaves at once)`)
  try {
    await client.cancelRun(run.id, { reason: signal === "SIGINT" ? "by Ctrl-C" : "by SIGTERM" })
  } catch (error) {
    // Following goes on: the run itself tells how it ends.
    const context = { paint: terminal.paintError, debug: false, sources: session.sources }
    terminal.tell(describeFailure(error, context))
  }
}

export function tellHowToFollow({ terminal }: Session, { id }: RunView): void {
  terminal.tell(
    `the run goes on: troupe runs wait ${id}, troupe logs -f ${id}, troupe runs cancel ${id}`,
  )
}

/** Telling how a run goes: a live block on a terminal, lines elsewhere, JSON lines for programs. */
import type { ManifestSpec } from "../manifests/index.ts"
import type { Phase, RunEvent, RunView } from "../schema/index.ts"
import { createLive } from "./live.ts"
import { type Format, printItem } from "./output.ts"
import { createNarrator, phaseChanges, progressLines } from "./progress.ts"
import type { Session } from "./session.ts"
import { safeLine } from "./width.ts"

export interface Reporter {
  onEvent(this: void, event: RunEvent): void
  onView(this: void, view: RunView): void
  tell(text: string): void
  /** While a question is on the screen. */
  pause(): void
  resume(): void
  stop(): void
}

export function createReporter(
  session: Session,
  options: { format: Format; verbose: boolean; spec: ManifestSpec },
): Reporter {
  const { terminal, clock } = session
  const { verbose, format } = options
  const { roles } = options.spec
  const narrate = createNarrator({
    servers: new Set(roles.filter(({ life }) => life === "server").map(({ name }) => name)),
    waited: new Set(roles.filter(({ readiness }) => readiness).map(({ name }) => name)),
  })
  const live = terminal.live && !verbose ? createLive(terminal, clock) : undefined
  const began = clock.boottime()
  let phases: readonly Phase[] = []
  let lines: (() => string[]) | undefined
  let isPaused = false
  const waits = new Set<string>()
  return {
    onEvent(event) {
      if (format === "jsonl") printItem(terminal, "RunEvent", event)
      if (verbose) for (const line of narrate(event)) terminal.tell(line)
    },
    onView(view) {
      if (live) {
        lines = () =>
          progressLines(view, {
            columns: terminal.liveSize().columns,
            paint: terminal.paintError,
            elapsedMs: clock.boottime() - began,
          })
        if (!isPaused) live.show(lines)
      } else if (!verbose) {
        for (const line of phaseChanges(phases, view.phases)) terminal.tell(line)
      }
      if (!live) for (const line of newWaits(view, waits)) terminal.tell(line)
      phases = view.phases
    },
    tell(text) {
      if (live) live.tell(text)
      else terminal.tell(text)
    },
    pause() {
      isPaused = true
      live?.hide()
    },
    resume() {
      isPaused = false
      if (lines) live?.show(lines)
    },
    stop: () => live?.stop(),
  }
}

/** What the scheduler says of a task that a node fits. */
const placedSoon = "is about to be placed"

/** Tasks that no node fits, each reason once: otherwise a log would be silent until the run's timeout. */
function newWaits(view: RunView, told: Set<string>): readonly string[] {
  const lines: string[] = []
  for (const { name, state, waiting } of view.tasks) {
    if (state !== "pending" || waiting === undefined || waiting === placedSoon) continue
    const line = `${name} waits: ${safeLine(waiting)}`
    if (told.has(line)) continue
    told.add(line)
    lines.push(line)
  }
  return lines
}

/** A run's view as lines: redrawn in place on a terminal, or one line a change elsewhere. */
import type { GroupView, Phase, RunEvent, RunView } from "../schema/index.ts"
import { formatDuration } from "./duration.ts"
import type { Colour, Paint } from "./terminal.ts"
import { pad, safeLine, textWidth, truncate } from "./width.ts"

type TaskView = RunView["tasks"][number]

const phaseMarks: Readonly<Record<Phase["state"], readonly [string, Colour]>> = {
  waiting: ["·", "gray"],
  active: ["▸", "cyan"],
  completed: ["✓", "green"],
  failed: ["✗", "red"],
  skipped: ["-", "gray"],
}

const attemptWords = { assigned: "starting", started: "running", ready: "ready", ended: "ending" }
const waitWords = {
  blocked: "waits for other tasks",
  pending: "waits for a node",
  stopping: "stopping",
}

/** What begins with a phase, in the words of the original. */
const phaseSentences: Readonly<Record<string, string>> = {
  init: "Initializing run",
  stage: "Staging resources",
  server_start: "Starting server",
  server_ready: "Waiting for server readiness",
  client_start: "Starting client",
  client_done: "Waiting for client completion",
  server_stop: "Stopping server",
  collect: "Collecting artifacts",
  bundle: "Finalizing bundle",
  analyze: "Running analysis",
  diff: "Comparing with the baseline",
  done: "Run complete",
}

/** What the engine itself adds to a manifest's roles. */
const builtinPattern = /^(stage-.+|collect-.+|bundle|analyze|diff|seal)$/

/** True for the user's own tasks. */
export function isRole(task: Pick<TaskView, "group">): boolean {
  return !builtinPattern.test(task.group)
}

/** At most `columns` wide each. */
export function progressLines(
  view: RunView,
  options: { columns: number; paint: Paint; elapsedMs: number },
): string[] {
  const { columns, paint, elapsedMs } = options
  const title = `${view.label} (${view.id})  ${view.phase}  ${formatDuration(elapsedMs)}`
  const shown = view.tasks.filter((task) => isRole(task) || isNotable(task))
  const nameCells = Math.max(0, ...shown.map((task) => textWidth(task.name)))
  const nodeCells = Math.max(0, ...shown.map((task) => textWidth(task.node ?? "")))
  const tasks = shown.map((task) => {
    const line = `  ${pad(task.name, nameCells)}  ${pad(task.node ?? "", nodeCells)}  ${taskWords(task)}`
    return paint(taskColour(task), truncate(line.trimEnd(), columns - 1))
  })
  return [
    paint("bold", truncate(title, columns - 1)),
    ...phaseLines(view.phases, columns - 1, paint),
    ...tasks,
  ]
}

/** Lines for the phases that changed since `before`, in their order. */
export function phaseChanges(before: readonly Phase[], after: readonly Phase[]): string[] {
  const states = new Map(before.map((phase) => [phase.name, phase.state]))
  return after.flatMap((phase) => {
    const was = states.get(phase.name) ?? "waiting"
    if (was === phase.state) return []
    const began = was === "waiting" && phase.state !== "skipped"
    const lines = began ? [`[${phase.name}] ${phaseSentences[phase.name] ?? "Begins"}`] : []
    if (phase.state === "failed") lines.push(`[${phase.name}] Failed`)
    return lines
  })
}

/** One event as a line of `-v`. */
export function eventLine(event: RunEvent, phase: string): string {
  const subject = event.task === undefined ? "run" : `task ${event.task}`
  const words = event.type.replace(/^(task|run)-/, "")
  const node = event.node === undefined ? "" : ` on ${event.node}`
  const tries =
    event.attempt !== undefined && event.attempt > 1 ? ` (attempt ${event.attempt})` : ""
  const why = event.message === undefined ? "" : `: ${event.message}`
  return safeLine(`[${phase}] ${subject} ${words}${node}${tries}${why}`)
}

/** `-v`: the lines of each event, after the line of the phase that it begins. */
export function createNarrator(roles: {
  /** Tasks that others are served by. */
  readonly servers: ReadonlySet<string>
  /** Tasks that say when they are ready. */
  readonly waited: ReadonlySet<string>
}): (event: RunEvent) => string[] {
  const begun = new Set<string>()
  let current = "init"
  const begin = (phase: string): string[] => {
    current = phase
    if (begun.has(phase)) return []
    begun.add(phase)
    return [`[${phase}] ${phaseSentences[phase] ?? "Begins"}`]
  }
  return (event) => {
    const { task, type } = event
    if (type === "run-finished") return [eventLine(event, current), ...begin("done")]
    if (task === undefined) return [...begin(current), eventLine(event, current)]
    const phase = phaseOfEvent(task, type, roles.servers)
    const lines = [...begin(phase), eventLine(event, phase)]
    if (type !== "task-started" || builtinPattern.test(task)) return lines
    // What is waited for from now on.
    if (!roles.servers.has(task)) return [...lines, ...begin("client_done")]
    return roles.waited.has(task) ? [...lines, ...begin("server_ready")] : lines
  }
}

/** The phase that an event of a task belongs to, as the view names them. */
export function phaseOfEvent(
  task: string,
  type: RunEvent["type"],
  servers: ReadonlySet<string>,
): string {
  if (task.startsWith("stage-")) return "stage"
  if (task.startsWith("collect-")) return "collect"
  if (task === "bundle" || task === "analyze" || task === "diff") return task
  // Sealing is the end of making the bundle; `done` is when the run is.
  if (task === "seal") return "bundle"
  if (!servers.has(task)) return type === "task-ended" ? "client_done" : "client_start"
  if (type === "task-ready") return "server_ready"
  return type === "task-stopping" || type === "task-ended" ? "server_stop" : "server_start"
}

/** How a task stands, in a few words. */
export function taskWords(task: TaskView): string {
  const attempt = task.attempts.at(-1)
  if (task.state === "finished") {
    const reason = task.reason ?? attempt?.ending?.reason
    const why = reason === undefined || task.result === "succeeded" ? "" : `: ${safeLine(reason)}`
    return `${task.result ?? "finished"}${why}`
  }
  if (task.state === "active") return attemptWords[attempt?.state ?? "assigned"]
  if (task.state === "pending" && task.waiting !== undefined) {
    return `waits: ${safeLine(task.waiting)}`
  }
  return waitWords[task.state]
}

/** `180 pending, 4 active, 16 succeeded`: what there is of each. */
export function countsText(group: GroupView): string {
  const parts = standings.flatMap((word) => (group[word] === 0 ? [] : [`${group[word]} ${word}`]))
  return parts.join(", ").replace("timed_out", "timed out")
}

const standings = [
  "blocked",
  "pending",
  "active",
  "stopping",
  "succeeded",
  "failed",
  "timed_out",
  "lost",
  "cancelled",
  "skipped",
] as const

/** Builtin work is worth a line while it runs and when it fails. */
function isNotable(task: TaskView): boolean {
  if (task.state === "finished") return task.result !== "succeeded" && task.result !== "skipped"
  return task.state === "active" || task.state === "stopping" || task.state === "pending"
}

function taskColour(task: TaskView): Colour {
  if (task.state !== "finished") return task.state === "active" ? "cyan" : "gray"
  return task.result === "succeeded" ? "green" : task.result === "skipped" ? "gray" : "red"
}

function phaseLines(phases: readonly Phase[], columns: number, paint: Paint): string[] {
  const lines: string[] = []
  let line = ""
  let cells = 0
  for (const { name, state } of phases) {
    const [mark, colour] = phaseMarks[state]
    const width = textWidth(name) + 4
    if (cells > 0 && cells + width > columns) {
      lines.push(line)
      line = ""
      cells = 0
    }
    line += `  ${paint(colour, `${mark} ${name}`)}`
    cells += width
  }
  return line === "" ? lines : [...lines, line]
}

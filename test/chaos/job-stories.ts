/** What became of rough jobs, by REST and by their own word: each accounted for, none run twice unless it may be. */
import { readdirSync, readFileSync } from "node:fs"
import type { RunEvent, RunView, SubmitJobInput } from "../../src/schema/index.ts"
import { badExit, isBad } from "./job-requests.ts"
import type { JobLine } from "./requests.ts"

export interface JobStory {
  readonly request: SubmitJobInput
  readonly view: RunView
  readonly events: readonly RunEvent[]
}

type TaskView = RunView["tasks"][number]
type AttemptView = TaskView["attempts"][number]

export interface JobFindings {
  readonly faults: readonly string[]
  /** Tasks by result, attempts by outcome. */
  readonly results: ReadonlyMap<string, number>
  readonly outcomes: ReadonlyMap<string, number>
  /** Attempts of one task beyond the first that did start. */
  readonly again: number
}

export function findingsOf(stories: readonly JobStory[], lines: readonly JobLine[]): JobFindings {
  const faults: string[] = []
  const results = new Map<string, number>()
  const outcomes = new Map<string, number>()
  const said = Map.groupBy(lines, ({ run, task, fence }) => `${run}/${task}/${fence}`)
  const runs = new Set(stories.map(({ view }) => view.id))
  let again = 0
  for (const [attempt, words] of said) {
    for (const word of ["start", "end"] as const) {
      const times = words.filter((line) => line.word === word).length
      if (times > 1) faults.push(`${attempt} said ${word} ${times} times`)
    }
    if (!runs.has(words[0]!.run)) faults.push(`${attempt} ran, and nobody submitted it`)
  }
  for (const { request, view, events } of stories) {
    faults.push(...runFaults(view, request, events))
    const known = new Set<string>()
    for (const task of view.tasks) {
      count(results, task.result ?? task.state)
      for (const { ending } of task.attempts) count(outcomes, ending?.outcome ?? "open")
      const wordsOf = (attempt: AttemptView): readonly string[] => {
        const key = `${view.id}/${task.name}/${attempt.fence}`
        known.add(key)
        return (said.get(key) ?? []).map(({ word }) => word)
      }
      const told = task.attempts.map((attempt) => ({ attempt, words: wordsOf(attempt) }))
      again += Math.max(0, told.filter(({ words }) => words.length > 0).length - 1)
      faults.push(
        ...taskFaults(request, task, told).map((fault) => `${view.id}/${task.name}: ${fault}`),
      )
    }
    for (const [attempt, [line]] of said) {
      if (line!.run === view.id && !known.has(attempt))
        faults.push(`${attempt} was never given out`)
    }
  }
  return { faults, results, outcomes, again }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1)
}

function runFaults(
  view: RunView,
  { count: members = 1 }: SubmitJobInput,
  events: readonly RunEvent[],
): string[] {
  const faults: string[] = []
  if (view.state !== "finished" || view.verdict === undefined) {
    faults.push(`${view.id} is ${view.state} with the verdict ${view.verdict}`)
  }
  if (view.tasks.length !== members) {
    faults.push(`${view.id} has ${view.tasks.length} tasks, not ${members}`)
  }
  const finished = events.filter(({ type }) => type === "run-finished").length
  if (finished !== 1) faults.push(`${view.id} finished ${finished} times`)
  const bad = view.tasks.filter(({ result }) => result === "failed" || result === "lost")
  if (view.verdict === "succeeded" && bad.length > 0) {
    faults.push(`${view.id} succeeded though ${bad[0]!.name} ${bad[0]!.result}`)
  }
  return faults
}

interface Told {
  readonly attempt: AttemptView
  readonly words: readonly string[]
}

function taskFaults(request: SubmitJobInput, task: TaskView, told: readonly Told[]): string[] {
  const faults: string[] = []
  const { retries = 0, onLoss = "wait" } = request
  if (task.state !== "finished" || task.result === undefined) return [`is ${task.state}`]
  for (const { attempt, words } of told) {
    const fault = attemptFault(task.index, attempt, words)
    if (fault !== undefined) faults.push(`attempt ${attempt.n} ${fault}`)
  }
  const last = told.at(-1)
  if (task.result === "succeeded" && last?.words.join() !== "start,end") {
    faults.push(`succeeded, and its last attempt said '${last?.words.join()}'`)
  }
  // Which is not to be moved is run again only after it has ended by its own word.
  const open = told.slice(0, -1).find(({ words }) => words.join() === "start")
  if (onLoss !== "requeue" && open) {
    faults.push(`attempt ${open.attempt.n} had begun and not ended, and another was started`)
  }
  const tries = told.filter(({ attempt }) => attempt.ending?.outcome === "exited").length
  if (tries > retries + 1) faults.push(`was tried ${tries} times with ${retries} retries`)
  if (task.result === "failed" && !isBad(task.index)) faults.push(`failed: ${task.reason}`)
  return faults
}

function attemptFault(
  index: number,
  { ending }: AttemptView,
  words: readonly string[],
): string | undefined {
  const { outcome, exitCode } = ending ?? {}
  const right = isBad(index) ? badExit : 0
  if (outcome === undefined) return "has not ended"
  if (outcome === "exited" && (words.join() !== "start,end" || exitCode !== right)) {
    return `exited with ${exitCode} and said '${words.join()}'; right is ${right}`
  }
  if (outcome === "not_started" && words.length > 0) return "is said not to have started, and did"
  return undefined
}

/** Processes that still carry this in their environment: jobs, and whatever they have started. */
export function processesWith(text: string): readonly string[] {
  const found: string[] = []
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8")
      if (!environment.includes(text)) continue
      found.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`)
    } catch {
      // It has ended meanwhile.
    }
  }
  return found
}

/** When everything is over: what the tables say of each attempt against what its process really did. */
import type { Attempt, Task } from "../../../src/schema/index.ts"
import { InvariantError } from "../cluster/watch.ts"
import type { Ledger } from "./ledger.ts"
import { nameOf, type Process } from "./processes.ts"
import { describe, type RunRows, runsIn } from "./rows.ts"
import type { Submission } from "./users.ts"

export interface Truth {
  readonly runs: number
  readonly attempts: number
  readonly verdicts: Readonly<Record<string, number>>
  readonly outcomes: Readonly<Record<string, number>>
}

type Counts = Record<string, number>

function count(counts: Counts, what: string): void {
  counts[what] = (counts[what] ?? 0) + 1
}

export function checkTruth(
  ledger: Ledger,
  rows: ReadonlyMap<string, string>,
  submissions: readonly Submission[],
): Truth {
  const runs = runsIn(rows)
  const verdicts: Counts = {}
  const outcomes: Counts = {}
  const told = new Set<string>()
  for (const run of runs) {
    checkRun(run)
    count(verdicts, run.run.verdict!)
    for (const { definition, tasks } of run.groups) {
      for (const task of tasks) {
        checkResult(run, task)
        for (const { fence } of task.attempts) told.add(`${task.run}/${task.name}/${fence}`)
        if (definition.work.driver !== "process") continue
        checkAttempts({ ledger, outcomes }, definition.onLoss, task)
      }
    }
  }
  checkAcknowledged(runs, submissions)
  for (const process of ledger.processes()) checkProcess(ledger, told, process)
  return { runs: runs.length, attempts: told.size, verdicts, outcomes }
}

function checkAttempts(
  { ledger, outcomes }: { readonly ledger: Ledger; readonly outcomes: Counts },
  onLoss: string,
  task: Task,
): void {
  for (const attempt of task.attempts) {
    count(outcomes, attempt.ending!.outcome)
    checkAttempt(task, attempt, ledger.find(task.run, task.name, attempt.fence))
    checkLoss(onLoss, task, attempt)
  }
}

function checkProcess(ledger: Ledger, told: ReadonlySet<string>, process: Process): void {
  if (process.endedAt === undefined) {
    throw new InvariantError(`${nameOf(process)} runs on, and everything is over`)
  }
  checkDeadline(ledger, process)
  const { run, task, fence } = process.spec
  // Of a service the oldest attempts are dropped.
  if (told.has(`${run}/${task}/${fence}`) || process.group.life === "service") return
  throw new InvariantError(`${nameOf(process)} with fence ${fence} ran, and no row knows of it`)
}

function checkAcknowledged(runs: readonly RunRows[], submissions: readonly Submission[]): void {
  const keys = runs.map(({ run }) => run.key)
  if (new Set(keys).size < keys.length) throw new InvariantError("two runs of one key")
  for (const { key, run: id } of submissions) {
    const found = runs.find(({ run }) => run.key === key)
    if (found?.run.id === id) continue
    throw new InvariantError(`${key} was acknowledged as ${id} and is ${found?.run.id}`)
  }
}

/** The verdict follows from the tasks. */
function checkRun({ run, groups }: RunRows): void {
  const vital = groups.filter(({ definition }) => definition.role && definition.vital)
  const bad = vital.flatMap(({ tasks }) =>
    tasks.filter(({ result }) => result === "failed" || result === "lost"),
  )
  const skipped = vital.some(({ row }) => row.untouchedResult === "skipped")
  const wrong = (why: string): InvariantError =>
    new InvariantError(`${run.id} is ${run.verdict} (${run.reason}): ${why}`)
  if (run.verdict === "succeeded" && bad.length > 0) throw wrong(describe(bad[0]!))
  if (run.verdict === "failed" && bad.length === 0 && !skipped) throw wrong("nothing of it failed")
  if (run.verdict === "cancelled" && run.cancelRequested === undefined) throw wrong("nobody asked")
  if (run.verdict === "timed_out" && run.endedAt! < run.deadlineAt) throw wrong("it had time left")
  if (run.reason === undefined && run.verdict !== "succeeded") throw wrong("no reason is given")
}

function checkResult({ run, groups }: RunRows, task: Task): void {
  const { definition } = groups.find((one) => one.definition.name === task.group)!
  const last = task.attempts.at(-1)?.ending
  const wrong = (why: string): InvariantError => new InvariantError(`${describe(task)}: ${why}`)
  if (task.result === undefined) throw wrong(`${run.id} has ended`)
  const isStopped = task.stop !== undefined
  if (task.result === "succeeded" && !isStopped) {
    const isWell = last?.outcome === "done" || (last?.outcome === "exited" && last.exitCode === 0)
    if (!isWell) throw wrong("its last attempt did not end well")
  }
  if (task.result !== "succeeded" && task.reason === undefined) throw wrong("no reason is given")
  const tries = task.attempts.filter(({ ending, drained }) => {
    return ending && ending.outcome !== "lost" && ending.outcome !== "unknown" && drained !== true
  })
  if (definition.life !== "service" && tries.length > definition.retries + 1) {
    throw wrong(`${definition.retries} retries were allowed`)
  }
}

function checkAttempt(task: Task, attempt: Attempt, process: Process | undefined): void {
  const { outcome, exitCode, signal } = attempt.ending!
  const wrong = (why: string): InvariantError =>
    new InvariantError(`attempt ${attempt.n} of ${describe(task)}: ${why}`)
  if (outcome === "exited" && (!process || process.exitCode !== exitCode)) {
    throw wrong(`it really ended with ${process?.exitCode} ${process?.signal}`)
  }
  if (outcome === "signalled" && (!process || process.signal !== signal)) {
    throw wrong(`it was really killed by ${process?.signal}`)
  }
  if (outcome === "not_started" && process) throw wrong("it did start")
}

/** A task that waits for its node is given up by nobody's silence. */
function checkLoss(onLoss: string, task: Task, { n, ending }: Attempt): void {
  if (onLoss !== "wait" || ending?.outcome !== "lost") return
  const isKnown = /host was restarted|after its deadline|declared dead/.test(ending.reason ?? "")
  if (isKnown || task.stop !== undefined) return
  throw new InvariantError(`attempt ${n} of ${describe(task)}: ${ending.reason}`)
}

/** Only where host and keeper were there all the time. */
function checkDeadline(ledger: Ledger, process: Process): void {
  const { spec, startedAt, endedAt, machine } = process
  if (spec.deadlineMs === undefined || ledger.wasAway(machine.name, startedAt)) return
  const tookMs = endedAt! - startedAt
  if (tookMs <= spec.deadlineMs + spec.graceMs + 500) return
  throw new InvariantError(`${nameOf(process)} had ${spec.deadlineMs} ms and took ${tookMs}`)
}

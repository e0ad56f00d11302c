/** Checks logged histories in files: a verdict for each, compared with its label where it has one. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path"
import { checkHistory, type CheckOptions } from "./check.ts"
import { describeFailure } from "./describe-failure.ts"
import { isKvLog, parseKvLog } from "./kv-log.ts"
import { kvModel } from "./kv-model.ts"
import { type Label, Labels, LabelsError } from "./labels.ts"
import { FormatError } from "./log-format.ts"
import type { Call, HistoryEvent, Model } from "./model.ts"
import { isRegisterLog, parseRegisterLog } from "./register-log.ts"
import { registerModel } from "./register-model.ts"
import type { Verdict } from "./search.ts"

export interface FileCheck {
  readonly path: string
  readonly verdict: Verdict
  readonly calls: number
  readonly work: number
  /** Why it is bad, in lines. */
  readonly failure: string | undefined
}

/** The files of a directory that look like histories by name, or the one file that was named. */
export function historyFiles(path: string): { root: string; files: string[] } {
  if (statSync(path).isFile()) return { root: dirname(path), files: [path] }
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && /\.(?:log|txt)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
  return { root: path, files }
}

export function checkFile(path: string, options: CheckOptions): FileCheck {
  const lines = readFileSync(path, "utf8").split(/\r?\n/)
  const first = lines.findIndex((line) => line.trim() !== "")
  const firstLine = lines[first] ?? ""
  const check = <State extends {} | null, C extends Call, Output>(
    model: Model<State, C, Output>,
    history: readonly HistoryEvent<C, Output>[],
  ): FileCheck => {
    const { verdict, work, failure } = checkHistory(model, history, options)
    const described = failure && describeFailure(model, failure, { unit: "line" })
    return { path, verdict, calls: history.length, work, failure: described }
  }
  // A cluster that never came up leaves an empty log: nothing happened, and that is linearizable.
  if (first < 0) return check(registerModel, [])
  if (isKvLog(firstLine)) return check(kvModel, parseKvLog(lines))
  if (isRegisterLog(firstLine)) return check(registerModel, parseRegisterLog(lines))
  throw new FormatError(first + 1, "neither a Jepsen register log nor a map's history")
}

export interface DirectoryOptions extends CheckOptions {
  readonly print: (line: string) => void
  /** Milliseconds, for the times that are shown. */
  readonly now: () => number
}

interface Counts {
  ok: number
  bad: number
  unknown: number
  labels: number
  disagree: number
  unreadable: number
  /** Without a label to agree with. */
  unlabelledBad: number
}

/** Prints the verdicts and returns the exit code: 2 unreadable, 1 against a label or bad without one, 3 unknown. */
export function checkDirectory(path: string, options: DirectoryOptions): number {
  const { print, now } = options
  const { root, files } = historyFiles(path)
  const counts: Counts = {
    ok: 0,
    bad: 0,
    unknown: 0,
    labels: 0,
    disagree: 0,
    unreadable: 0,
    unlabelledBad: 0,
  }
  const start = now()
  const labels = new Labels(root)
  const reading = <T>(name: string, read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      if (error instanceof FormatError) print(`${name}:${error.line}: ${error.message}`)
      else if (error instanceof LabelsError) print(error.message)
      else throw error
      counts.unreadable++
      return undefined
    }
  }
  for (const file of files) {
    const name = relative(root, file) || basename(file)
    const fileStart = now()
    const label = reading(name, () => labels.labelOf(file))
    const check = reading(name, () => checkFile(file, options))
    if (check === undefined) continue
    const ms = Math.round(now() - fileStart)
    print(`${name}: ${check.verdict} (${check.calls} operations, ${ms} ms)${remark(check, label)}`)
    if (check.failure !== undefined) print(check.failure.replaceAll(/^/gm, "    "))
    tally(counts, check, label)
  }
  print(summary(counts, Math.round(now() - start)))
  if (counts.unreadable > 0 || files.length === 0) return 2
  if (counts.disagree + counts.unlabelledBad > 0) return 1
  return counts.unknown > 0 ? 3 : 0
}

function remark({ verdict, work }: FileCheck, label: Label | undefined): string {
  if (verdict === "unknown") return `, gave up after ${work} steps of work`
  return label !== undefined && label !== verdict ? `, BUT ITS LABEL SAYS ${label}` : ""
}

function tally(counts: Counts, { verdict }: FileCheck, label: Label | undefined): void {
  counts[verdict]++
  if (label === undefined) {
    if (verdict === "bad") counts.unlabelledBad++
    return
  }
  counts.labels++
  if (verdict !== "unknown" && verdict !== label) counts.disagree++
}

function summary(counts: Counts, ms: number): string {
  const { ok, bad, unknown, unreadable, labels, disagree } = counts
  const verdicts = `${ok + bad + unknown} histories: ${ok} ok, ${bad} bad, ${unknown} unknown`
  const broken = unreadable > 0 ? `, ${unreadable} unreadable` : ""
  return `${verdicts}${broken}; ${labels} labels, ${disagree} disagree; ${ms} ms`
}

/** What can be wrong with a job before anything is known of the nodes: every mistake at once, each with its remedy. */
import type { Issue, SubmitJob } from "../schema/index.ts"

const countMax = 100_000
const retriesMax = 1000
const hourMs = 3_600_000
const backoffMsMax = 24 * hourMs
/** A year: longer is a slip of a unit. */
const durationMsMax = 366 * 24 * hourMs
const priorityMax = 100
const argumentsMax = 4096
/** Of the command and the environment together: they travel in the log, and the kernel has a limit too. */
const textBytesMax = 128 * 1024
const labelPattern = /^[A-Za-z0-9._-]{1,128}$/
const variablePattern = /^[A-Za-z_][A-Za-z0-9_]*$/
/** What a bundle holds is brought to one node. */
const bundledCountMax = 1

type Report = (path: string, message: string) => void

/** In the order of the request's fields. */
export function issuesOfJob(job: SubmitJob): readonly Issue[] {
  const issues: Issue[] = []
  const report: Report = (path, message) => void issues.push({ path, message })
  checkCommand(job, report)
  checkEnvironment(job, report)
  checkCounts(job, report)
  checkTimes(job, report)
  checkPlaces(job, report)
  return issues
}

function checkCommand({ command, name }: SubmitJob, report: Report): void {
  const [program] = command
  if (program === undefined) {
    report("command", "is empty; write what to run behind `--`, e.g. troupe job run -- make test")
  } else if (program.trim() === "") {
    report("command", "the program's name is empty; write what to run behind `--`")
  }
  if (command.length > argumentsMax) {
    report("command", `has ${command.length} words, at most ${argumentsMax}; put them into a file`)
  }
  if (command.some((word) => word.includes("\0"))) {
    report("command", "holds a NUL byte, which no program can be given; leave it out")
  }
  if (name === undefined) return
  if (!labelPattern.test(name) || name === "." || name === "..") {
    const rule = "must be 1 to 128 of A-Z a-z 0-9 . _ -, not . or .."
    report("name", `(--name) ${rule}, got ${quoted(name)}`)
  } else if (/^r-\d/.test(name)) {
    report("name", `(--name) ${quoted(name)} looks like the id of a run; choose another`)
  }
}

function checkEnvironment({ command, env }: SubmitJob, report: Report): void {
  let chars = command.reduce((sum, word) => sum + word.length + 1, 0)
  for (const [key, value] of Object.entries(env)) {
    chars += key.length + value.length + 2
    const path = `env.${key}`
    if (!variablePattern.test(key)) {
      report(path, `(--env) ${quoted(key)} is no name of a variable; write NAME=VALUE`)
    } else if (key.startsWith("TROUPE_")) {
      report(path, "(--env) names that begin with TROUPE_ are given by troupe; choose another")
    }
    if (value.includes("\0")) report(path, "(--env) holds a NUL byte; leave it out")
  }
  if (chars > textBytesMax) {
    const what = `command and environment have ${chars} characters, at most ${textBytesMax}`
    report("command", `${what}; put what is long into a file that the nodes have`)
  }
}

/** A whole number from least to most; absent is right. */
function checkWhole(
  value: number | undefined,
  { path, flag, least, most }: { path: string; flag: string; least: number; most: number },
  report: Report,
): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return
  const range = `from ${least} to ${most}`
  report(path, `(${flag}) must be a whole number ${range}, got ${value}`)
}

function checkCounts(job: SubmitJob, report: Report): void {
  const { count, parallel, retries, priority } = job
  checkWhole(count, { path: "count", flag: "--count", least: 1, most: countMax }, report)
  checkWhole(parallel, { path: "parallel", flag: "--parallel", least: 1, most: countMax }, report)
  checkWhole(retries, { path: "retries", flag: "--retries", least: 0, most: retriesMax }, report)
  const bounds = { least: -priorityMax, most: priorityMax }
  checkWhole(priority, { path: "priority", flag: "--priority", ...bounds }, report)
}

function checkTimes(job: SubmitJob, report: Report): void {
  const { backoffMs, deadlineMs, timeoutMs } = job
  checkDuration(
    backoffMs,
    { path: "backoffMs", flag: "--backoff", least: 0, most: backoffMsMax },
    report,
  )
  const most = durationMsMax
  checkDuration(deadlineMs, { path: "deadlineMs", flag: "--deadline", least: 1, most }, report)
  checkDuration(timeoutMs, { path: "timeoutMs", flag: "--timeout", least: 1, most }, report)
  if (deadlineMs !== undefined && timeoutMs !== undefined && deadlineMs > timeoutMs) {
    const what = `an attempt may take ${seconds(deadlineMs)}, the whole run only ${seconds(timeoutMs)}`
    report("deadlineMs", `(--deadline) ${what}; give a shorter --deadline or a longer --timeout`)
  }
}

function checkDuration(
  value: number | undefined,
  { path, flag, least, most }: { path: string; flag: string; least: number; most: number },
  report: Report,
): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return
  const wrong =
    value < 0
      ? "is negative"
      : value < least
        ? "is nothing"
        : value > most
          ? "is too long"
          : "is no whole number"
  const hint = `write a duration up to ${seconds(most)}, e.g. ${flag} 90s`
  report(path, `(${flag}) ${wrong}: ${value} ms; ${hint}`)
}

function checkPlaces(job: SubmitJob, report: Report): void {
  const { cwd, artifacts, count } = job
  if (cwd !== undefined && !cwd.startsWith("/")) {
    report("cwd", `(--cwd) must be an absolute path on the node, got ${quoted(cwd)}`)
  }
  if (cwd?.includes("\0") === true) report("cwd", "(--cwd) holds a NUL byte; leave it out")
  for (const [place, glob] of artifacts.entries()) {
    const path = `artifacts.${place}`
    if (glob === "" || glob.includes("\0")) {
      report(path, "(--artifacts) is no pattern; write e.g. --artifacts 'results/*.json'")
    } else if (glob.startsWith("/") || glob.split("/").includes("..")) {
      const rule = "is relative to the attempt's own directory, where the command runs"
      report(path, `(--artifacts) ${rule}: no leading / and no .., got ${quoted(glob)}`)
    }
  }
  if (artifacts.length > 0 && cwd !== undefined) {
    const what = "the command runs in --cwd, artifacts are taken from the attempt's own directory"
    report("artifacts", `${what}; leave one of the two out`)
  }
  if (artifacts.length > 0 && count > bundledCountMax) {
    const what = `(--artifacts) come home in one bundle, of at most ${bundledCountMax} member`
    report(
      "artifacts",
      `${what}, not ${count}; let each member hand its results to a place of yours`,
    )
  }
}

function seconds(ms: number): string {
  if (ms % (24 * hourMs) === 0) return `${ms / (24 * hourMs)} d`
  return `${Math.round(ms / 100) / 10} s`
}

/** Cut, since it is somebody's text in somebody's terminal. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text)
}

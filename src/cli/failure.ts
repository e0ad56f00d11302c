/** An error as a person reads it: what, where, and what to do; and the exit code that goes with it. */
import { type AnyTroupeError, type ErrorCode, type Issue, isTroupeError } from "../schema/index.ts"
import { errorExit, exitCodes } from "./exit.ts"
import type { Paint } from "./terminal.ts"
import { safeLine, truncate } from "./width.ts"

/** A mistake on the command line, found by us rather than by the parser. Exit 2. */
export class UsageError extends Error {
  override readonly name = "UsageError"
  readonly remedy: string | undefined

  constructor(message: string, remedy?: string) {
    super(message)
    this.remedy = remedy
  }
}

export interface FailureContext {
  readonly paint: Paint
  readonly debug: boolean
  /** Texts of files that issues point into, by the name that the issues use. */
  readonly sources: ReadonlyMap<string, string>
}

const excerptColumns = 100

/** Where the remedy is the same for every error of a code. */
const remedies: Partial<Record<ErrorCode, string>> = {
  ERR_NO_LEADER: "see: troupe cluster health",
  ERR_UNKNOWN_OUTCOME: "see whether it was accepted: troupe runs list",
  ERR_PEER_UNREACHABLE: "or name the API of a running one: --api URL, or TROUPE_API",
  ERR_BUSY: "try again in a moment",
  ERR_RUN_NOT_FOUND: "see: troupe runs list",
  ERR_NODE_NOT_FOUND: "see: troupe cluster list",
  ERR_RUN_NOT_FINISHED: "wait for it: troupe runs wait RUN",
}

export function exitCodeOf(error: unknown): number {
  if (isTroupeError(error)) return errorExit[error.code]
  return error instanceof UsageError ? exitCodes.usage : exitCodes.internal
}

/** Lines for standard error, without a trailing newline. */
export function describeFailure(error: unknown, context: FailureContext): string {
  const { paint } = context
  const lines: string[] = []
  if (isTroupeError(error)) {
    for (const issue of issuesOf(error)) lines.push(...describeIssue(issue, context))
    lines.push(`${paint("red", "error:")} ${error.message}`)
    lines.push(...detailsOf(error))
    const remedy = remedyOf(error)
    if (remedy !== undefined) lines.push(`  ${remedy}`)
  } else if (error instanceof UsageError) {
    lines.push(`${paint("red", "error:")} ${error.message}`)
    if (error.remedy !== undefined) lines.push(`  ${error.remedy}`)
  } else {
    const message = error instanceof Error ? error.message : String(error)
    lines.push(`${paint("red", "error:")} ${message}`)
    if (!context.debug) lines.push("  this is a fault in troupe itself; --debug shows where")
  }
  if (context.debug) lines.push(paint("gray", stackOf(error)))
  return lines.join("\n")
}

/** `file:line:col: path: message`, and the line itself with a caret when its text is known. */
export function describeIssue(
  issue: Issue,
  context: Pick<FailureContext, "paint" | "sources">,
): string[] {
  const { paint, sources } = context
  const { file, line, column } = issue
  const place = [file, line, column].filter((part) => part !== undefined).join(":")
  const subject = [place, safeLine(issue.path)].filter((part) => part !== "").join(": ")
  const head = subject === "" ? issue.message : `${paint("bold", subject)}: ${issue.message}`
  if (file === undefined || line === undefined) return [head]
  const text = sources.get(file)?.split(/\r?\n/)[line - 1]
  if (text === undefined || text.trim() === "") return [head]
  const margin = `${String(line).padStart(5)} | `
  const shown = truncate(text.replaceAll("\t", " "), excerptColumns)
  const caretAt = (column ?? 1) - 1
  if (caretAt >= excerptColumns) return [head, margin + shown]
  const blank = `${" ".repeat(5)} | `
  return [head, margin + shown, `${blank}${" ".repeat(caretAt)}${paint("red", "^")}`]
}

function issuesOf({ details }: AnyTroupeError): readonly Issue[] {
  return "issues" in details ? details.issues : []
}

function detailsOf(error: AnyTroupeError): string[] {
  if (error.code !== "ERR_UNPLACEABLE") return []
  return error.details.reasons.map((reason) => `  - ${safeLine(reason)}`)
}

function remedyOf(error: AnyTroupeError): string | undefined {
  if (error.code === "ERR_ADDRESS_IN_USE") {
    const { flag } = error.details
    return error.message.includes(flag)
      ? "or stop what listens there"
      : `choose another with ${flag}`
  }
  if (error.code === "ERR_NODE_NOT_FOUND" && error.details.nearest !== undefined) {
    return `did you mean ${error.details.nearest}? See: troupe cluster list`
  }
  if (error.code === "ERR_STORAGE") return storageRemedyOf(error.details.reason)
  return remedies[error.code]
}

/** Only what the system refused has its remedy outside; the rest says in its message what to do. */
function storageRemedyOf(reason: string): string | undefined {
  if (/\b(ENOSPC|EDQUOT)\b/.test(reason)) return "make room on that disk"
  if (/\b(EACCES|EPERM|EROFS)\b/.test(reason)) return "may this user write there?"
  if (/\bEIO\b/.test(reason)) return "look at that disk: it fails"
  return undefined
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return ""
  const own = error.stack ?? error.message
  return error.cause === undefined ? own : `${own}\ncaused by: ${stackOf(error.cause)}`
}

/** Replays transcript files and compares what our core prints with what they expect. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createConfChangeReplay } from "./conf-change.ts"
import { type Directive, parseTranscript, TranscriptError } from "./datadriven.ts"
import { createInteractionReplay } from "./interaction.ts"
import { replayQuorum } from "./quorum.ts"

export interface Difference {
  readonly line: number
  readonly command: string
  readonly expected: string
  readonly actual: string
}

export interface Replayed {
  /** Those before the difference. */
  readonly commands: number
  readonly difference: Difference | undefined
  /** Commands equal but for the wording of log lines. */
  readonly otherWording: number
}

export interface FileResult extends Replayed {
  readonly path: string
  /** It is no transcript, or nobody may read it: nothing was replayed. */
  readonly unreadable?: { readonly line: number | undefined; readonly reason: string }
}

const quorumCommands: ReadonlySet<string> = new Set(["committed", "vote"])
const confChangeCommands: ReadonlySet<string> = new Set(["simple", "enter-joint", "leave-joint"])

/** What is wrong with one file stops no other. */
export function replayFile(directory: string, path: string): FileResult {
  try {
    return { path, ...replayText(readFileSync(join(directory, path), "utf8")) }
  } catch (error) {
    const line = error instanceof TranscriptError ? error.line : undefined
    const reason = error instanceof TranscriptError ? error.reason : (error as Error).message
    const nothing = { commands: 0, difference: undefined, otherWording: 0 }
    return { path, ...nothing, unreadable: { line, reason } }
  }
}

/** TranscriptError for what is no transcript. */
export function replayText(text: string): Replayed {
  const directives = parseTranscript(text)
  const isLogged = !directives.some(
    ({ command }) => quorumCommands.has(command) || confChangeCommands.has(command),
  )
  const replay = replayOf(directives)
  let otherWording = 0
  for (const [position, directive] of directives.entries()) {
    const actual = trimmed(outcome(replay, directive))
    const expected = trimmed(directive.expected)
    if (actual === expected) continue
    if (isLogged && withoutLog(actual) === withoutLog(expected)) {
      otherWording++
      continue
    }
    const { line, command } = directive
    const shown = isLogged ? withoutLog : trimmed
    const difference = { line, command, expected: shown(expected), actual: shown(actual) }
    return { commands: position, difference, otherWording }
  }
  return { commands: directives.length, difference: undefined, otherWording }
}

function replayOf(directives: readonly Directive[]): (directive: Directive) => string {
  const command = directives[0]?.command ?? ""
  if (quorumCommands.has(command)) return replayQuorum
  return confChangeCommands.has(command) ? createConfChangeReplay() : createInteractionReplay()
}

/** A broken invariant is an outcome too: it is shown where it happened. */
function outcome(replay: (directive: Directive) => string, directive: Directive): string {
  try {
    return replay(directive)
  } catch (error) {
    return `threw: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
  }
}

function trimmed(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
    .trimEnd()
}

/** Messages, states and Ready blocks: all that a log line is not. `ok` stands for nothing. */
function withoutLog(text: string): string {
  const kept = text.split("\n").filter((line) => !/^\s*(?:DEBUG|INFO|WARN|ERROR) /.test(line))
  return kept.length === 1 && kept[0] === "ok" ? "" : kept.join("\n")
}

/** The first line that differs, with a few before it. */
export function showDifference({ line, command, expected, actual }: Difference): string {
  const want = expected.split("\n")
  const have = actual.split("\n")
  const at = want.findIndex((text, position) => text !== have[position])
  const first = at < 0 ? want.length : at
  const context = want.slice(Math.max(0, first - 3), first).map((text) => `    ${text}`)
  const differing = [
    ...want.slice(first, first + 3).map((text) => `  - ${text}`),
    ...have.slice(first, first + 3).map((text) => `  + ${text}`),
  ]
  return [`  line ${line}: ${command}`, ...context, ...differing].join("\n")
}

/** The text format of transcripts: `command arg key=value key=(a,b)`, input lines, `----`, the expected output. */

export interface Argument {
  readonly key: string
  readonly values: readonly string[]
}

export interface Directive {
  readonly line: number
  readonly command: string
  readonly args: readonly Argument[]
  readonly input: string
  readonly expected: string
}

/** The text is no transcript. */
export class TranscriptError extends Error {
  readonly line: number
  readonly reason: string

  constructor(line: number, reason: string) {
    super(`line ${line}: ${reason}`)
    this.line = line
    this.reason = reason
  }
}

const separator = "----"

/** TranscriptError for what is none. Comments and blank lines stand between directives. A doubled separator encloses output that has blank lines. */
export function parseTranscript(text: string): Directive[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""))
  if (lines.at(-1) === "") lines.pop()
  const directives: Directive[] = []
  let at = 0
  while (at < lines.length) {
    const line = at + 1
    let head = lines[at++]!.trim()
    if (head === "" || head.startsWith("#")) continue
    while (head.endsWith("\\") && at < lines.length) {
      head = `${head.slice(0, -1)} ${lines[at++]!.trim()}`
    }
    const { command, args } = parseHead(head, line)
    // Only names a part of the file.
    if (command === "subtest") continue
    const input: string[] = []
    while (at < lines.length && lines[at] !== separator) input.push(lines[at++]!)
    if (at >= lines.length) throw new TranscriptError(line, `no ${separator} after ${head}`)
    const output = readOutput(lines, at + 1)
    if (!output) throw new TranscriptError(line, `the doubled ${separator} never ends`)
    at = output.end
    directives.push({
      command,
      args,
      line,
      input: input.join("\n").trim(),
      expected: output.lines.join("\n"),
    })
  }
  return directives
}

/** Undefined: a doubled separator without end. */
function readOutput(
  lines: readonly string[],
  start: number,
): { readonly lines: readonly string[]; readonly end: number } | undefined {
  let at = start
  if (lines[at] !== separator) {
    while (at < lines.length && lines[at]!.trim() !== "") at++
    return { lines: lines.slice(start, at), end: at }
  }
  at++
  while (at < lines.length && !(lines[at] === separator && lines[at + 1] === separator)) at++
  return at < lines.length ? { lines: lines.slice(start + 1, at), end: at + 2 } : undefined
}

function parseHead(head: string, line: number): Pick<Directive, "command" | "args"> {
  const [command = "", ...rest] = words(head)
  const args = rest.map(parseArgument)
  if (args.some((arg) => arg === undefined || arg.key === "")) {
    throw new TranscriptError(line, `cannot read ${head}`)
  }
  return { command, args: args.filter((arg) => arg !== undefined) }
}

/** Between spaces, but for those in parentheses. */
function words(head: string): string[] {
  const found: string[] = []
  let depth = 0
  let word = ""
  for (const letter of head) {
    if (letter === " " && depth === 0) {
      if (word !== "") found.push(word)
      word = ""
      continue
    }
    // Parentheses count where a value begins with one.
    if (letter === "(" && (depth > 0 || word.endsWith("="))) depth++
    if (letter === ")" && depth > 0) depth--
    word += letter
  }
  return word === "" ? found : [...found, word]
}

/** Undefined: a parenthesis that is never closed. */
function parseArgument(word: string): Argument | undefined {
  const equals = word.indexOf("=")
  if (equals < 0) return { key: word, values: [] }
  const key = word.slice(0, equals)
  const value = word.slice(equals + 1)
  if (!value.startsWith("(")) return { key, values: [value] }
  return value.endsWith(")") ? { key, values: splitList(value.slice(1, -1)) } : undefined
}

/** At commas outside of inner parentheses. */
function splitList(text: string): string[] {
  const items = [""]
  let depth = 0
  for (const letter of text) {
    if (letter === "(") depth++
    if (letter === ")") depth--
    if (letter === "," && depth === 0) items.push("")
    else items.push(items.pop()! + letter)
  }
  return items.map((item) => item.trimStart())
}

/** The values of an argument that are not empty, or none. */
export function valuesOf(directive: Directive, key: string): readonly string[] {
  const args = directive.args.filter((arg) => arg.key === key)
  return args.flatMap(({ values }) => values.filter((value) => value !== ""))
}

/** `true`, `t`, `1`, … */
export function isSet(directive: Directive, key: string): boolean {
  return /^(?:1|t|true)$/i.test(valuesOf(directive, key).at(-1) ?? "")
}

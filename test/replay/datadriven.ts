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

const separator = "----"

/** Comments and blank lines stand between directives. A doubled separator encloses output that has blank lines. */
export function parseTranscript(text: string): Directive[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""))
  const directives: Directive[] = []
  let at = 0
  while (at < lines.length) {
    const start = at
    let head = lines[at++]!.trim()
    if (head === "" || head.startsWith("#")) continue
    while (head.endsWith("\\") && at < lines.length) {
      head = `${head.slice(0, -1).trim()} ${lines[at++]!.trim()}`
    }
    const input: string[] = []
    while (at < lines.length && lines[at] !== separator) {
      if (lines[at] === "" && input.length === 0) break
      input.push(lines[at++]!)
    }
    if (lines[at] !== separator) throw new Error(`line ${start + 1}: no ${separator} after ${head}`)
    at++
    const output: string[] = []
    if (lines[at] === separator) {
      at++
      while (at < lines.length && !(lines[at] === separator && lines[at + 1] === separator)) {
        output.push(lines[at++]!)
      }
      if (at >= lines.length)
        throw new Error(`line ${start + 1}: the doubled ${separator} never ends`)
      at += 2
    } else {
      while (at < lines.length && lines[at] !== "") output.push(lines[at++]!)
    }
    directives.push({
      ...parseHead(head, start + 1),
      line: start + 1,
      input: input.join("\n"),
      expected: output.join("\n"),
    })
  }
  return directives
}

function parseHead(head: string, line: number): Pick<Directive, "command" | "args"> {
  const words = head.match(/[^\s=]+(?:=(?:\([^)]*\)|\S*))?/g) ?? []
  const [command, ...rest] = words
  if (command === undefined) throw new Error(`line ${line}: no command`)
  return { command, args: rest.map(parseArgument) }
}

function parseArgument(word: string): Argument {
  const equals = word.indexOf("=")
  if (equals < 0) return { key: word, values: [] }
  const value = word.slice(equals + 1)
  const list = /^\((.*)\)$/s.exec(value)
  const values = list ? list[1]!.split(",").map((item) => item.trim()) : [value]
  return { key: word.slice(0, equals), values: values.filter((item) => item !== "") }
}

/** The values of an argument, or none. */
export function valuesOf(directive: Directive, key: string): readonly string[] {
  return directive.args.find((arg) => arg.key === key)?.values ?? []
}

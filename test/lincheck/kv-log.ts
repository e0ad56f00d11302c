/** Reads a history of a map: `{:process 0, :type :invoke, :f :append, :key "4", :value "x"}` a line. */
import type { KvCall } from "./kv-model.ts"
import { type Ending, FormatError, LoggedCalls } from "./log-format.ts"
import type { HistoryEvent } from "./model.ts"

type Calls = LoggedCalls<KvCall, string>

/** A keyword, a number, nil, or quoted text. */
const fieldPattern = /[\s,]*:([\w-]+)\s+(:[\w-]+|-?\d+|nil|"(?:[^"\\]|\\.)*")/y
const endPattern = /[\s,]*\}\s*$/y

export function isKvLog(firstLine: string): boolean {
  return firstLine.trimStart().startsWith("{")
}

export function parseKvLog(lines: readonly string[]): HistoryEvent<KvCall, string>[] {
  const calls: Calls = new LoggedCalls()
  for (const [index, text] of lines.entries()) {
    if (text.trim() !== "") readLine(calls, index + 1, text.trim())
  }
  return calls.history()
}

function readLine(calls: Calls, line: number, text: string): void {
  const fields = parseFields(line, text)
  const process = field(line, fields, "process")
  if (process === ":nemesis") return
  if (!/^\d+$/.test(process)) throw new FormatError(line, `:process is a number, not ${process}`)
  const type = field(line, fields, "type")
  const op = field(line, fields, "f").slice(1)
  if (op !== "get" && op !== "put" && op !== "append") {
    throw new FormatError(line, `:f is :get, :put or :append, not :${op}`)
  }
  const key = parseText(line, field(line, fields, "key"))
  if (type === ":invoke") {
    const call: KvCall =
      op === "get"
        ? { op, input: { key } }
        : { op, input: { key, text: parseText(line, field(line, fields, "value")) } }
    calls.begin(process, line, call)
    return
  }
  const call = calls.openCall(process, line, op)
  if (call.input.key !== key) {
    throw new FormatError(line, `the answer's key ${key} is not the call's key ${call.input.key}`)
  }
  calls.end(process, line, endingOf(line, { call, type, fields }))
}

function parseFields(line: number, text: string): Map<string, string> {
  const fields = new Map<string, string>()
  let at = text.startsWith("{") ? 1 : 0
  fieldPattern.lastIndex = at
  for (let match = fieldPattern.exec(text); match; match = fieldPattern.exec(text)) {
    fields.set(match[1]!, match[2]!)
    at = fieldPattern.lastIndex
  }
  endPattern.lastIndex = at
  if (!text.startsWith("{") || !endPattern.test(text)) {
    throw new FormatError(line, `expected {:name value, …}, cannot read on at column ${at + 1}`)
  }
  return fields
}

function field(line: number, fields: ReadonlyMap<string, string>, name: string): string {
  const value = fields.get(name)
  if (value === undefined) throw new FormatError(line, `there is no :${name}`)
  return value
}

const escapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  '"': '"',
  "\\": "\\",
}

function parseText(line: number, value: string): string {
  if (!value.startsWith('"')) throw new FormatError(line, `expected quoted text, not ${value}`)
  return value.slice(1, -1).replace(/\\(.)/g, (_, letter: string) => {
    const escape = escapes[letter]
    if (escape === undefined) throw new FormatError(line, `unknown escape \\${letter}`)
    return escape
  })
}

interface Answer {
  readonly call: KvCall
  readonly type: string
  readonly fields: ReadonlyMap<string, string>
}

function endingOf(line: number, { call, type, fields }: Answer): Ending<string> {
  if (type === ":info") return { type: "unknown" }
  if (type === ":fail") return { type: "failed" }
  if (type !== ":ok") {
    throw new FormatError(line, `:type is :invoke, :ok, :fail or :info, not ${type}`)
  }
  const text = parseText(line, field(line, fields, "value"))
  if (call.op === "get") return { type: "completed", output: text }
  if (text !== call.input.text) throw new FormatError(line, "the answer's value is not the call's")
  return { type: "completed", output: undefined }
}

/** Reads a Jepsen log of a register: `INFO  jepsen.util - 3 :invoke :cas [1 2]`, then `:ok`, `:fail` or `:info`. */
import { type Ending, FormatError, LoggedCalls } from "./log-format.ts"
import type { HistoryEvent } from "./model.ts"
import type { RegisterCall, RegisterOutput, RegisterValue } from "./register-model.ts"

type Calls = LoggedCalls<RegisterCall, RegisterOutput>

const linePattern = /^[A-Z]+\s+([\w.$-]+)\s+-\s+(.*)$/
const operationPattern = /^(\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.*?)\s*$/
const valuePattern = /^(?:nil|-?\d+)$/
const pairPattern = /^\[\s*(nil|-?\d+)[\s,]+(nil|-?\d+)\s*\]$/

export function isRegisterLog(firstLine: string): boolean {
  return linePattern.test(firstLine)
}

export function parseRegisterLog(
  lines: readonly string[],
): HistoryEvent<RegisterCall, RegisterOutput>[] {
  const calls: Calls = new LoggedCalls()
  for (const [index, text] of lines.entries()) {
    if (text.trim() !== "") readLine(calls, index + 1, text)
  }
  return calls.history()
}

function readLine(calls: Calls, line: number, text: string): void {
  const [, logger, message] = linePattern.exec(text) ?? []
  if (message === undefined) throw new FormatError(line, "this is no line of a Jepsen log")
  // Other loggers, and the process that breaks things, tell nothing about the register.
  if (logger !== "jepsen.util" || message.startsWith(":nemesis")) return
  const [, process, type, op, value] = operationPattern.exec(message) ?? []
  if (process === undefined || type === undefined || op === undefined || value === undefined) {
    throw new FormatError(
      line,
      "expected a process, :invoke :ok :fail or :info, :read :write or :cas, and a value",
    )
  }
  if (type === "invoke") {
    calls.begin(process, line, parseCall(line, op, value))
    return
  }
  const call = calls.openCall(process, line, op)
  calls.end(process, line, endingOf(line, { call, type, value }))
}

function parseCall(line: number, op: string, value: string): RegisterCall {
  if (op === "read") return { op: "read", input: undefined }
  if (op === "write") return { op: "write", input: parseValue(line, value) }
  const pair = pairPattern.exec(value)
  if (!pair) throw new FormatError(line, `a cas has two values, not ${value}`)
  return { op: "cas", input: { from: parseValue(line, pair[1]!), to: parseValue(line, pair[2]!) } }
}

function parseValue(line: number, value: string): RegisterValue {
  if (!valuePattern.test(value))
    throw new FormatError(line, `expected an integer or nil, not ${value}`)
  return value === "nil" ? null : Number(value)
}

interface Answer {
  readonly call: RegisterCall
  readonly type: string
  readonly value: string
}

function endingOf(line: number, { call, type, value }: Answer): Ending<RegisterOutput> {
  if (type === "info") return { type: "unknown" }
  const isCompared = type === "fail" && call.op === "cas" && value.startsWith("[")
  // A cas that failed with its values has compared and found another; any other failure did nothing.
  if (type === "fail" && !isCompared) return { type: "failed" }
  if (call.op === "read") return { type: "completed", output: parseValue(line, value) }
  const answered = parseCall(line, call.op, value)
  if (JSON.stringify(answered.input) !== JSON.stringify(call.input)) {
    throw new FormatError(line, `the answer's value ${value} is not the call's`)
  }
  return { type: "completed", output: call.op === "cas" ? type === "ok" : undefined }
}

/** How a server says that it is ready: at the top of a manifest, or of one role. */
import type { Reading } from "./document.ts"
import {
  fieldAt,
  readEnum,
  readInt,
  readSection,
  readText,
  report,
  requireField,
  type Section,
  shapeOf,
  warn,
} from "./reader.ts"
import { readinessMethods, type ReadinessSpec, readinessTimeoutSecondsDefault } from "./spec.ts"

const readinessKeys = ["method", "timeout_seconds", "pattern", "seconds", "host", "port"] as const
/** Which further keys belong to which method. */
const keysOf: Readonly<Record<ReadinessSpec["method"], readonly string[]>> = {
  structured_stdout: [],
  tcp_connect: ["host", "port"],
  stdout_match: ["pattern"],
  delay: ["seconds"],
}
const patternCharsMax = 1000
const hourSeconds = 3600

export const readinessDefault: ReadinessSpec = {
  method: "structured_stdout",
  timeoutSeconds: readinessTimeoutSecondsDefault,
  pattern: undefined,
  seconds: undefined,
  host: undefined,
  port: undefined,
}

/** undefined when the section is absent. */
export function readReadiness(reading: Reading, parent: Section): ReadinessSpec | undefined {
  if (shapeOf(parent, "readiness") === "absent") return undefined
  const section = readSection(reading, { section: parent, key: "readiness" }, readinessKeys)
  const written = readEnum(reading, section, { key: "method", values: readinessMethods })
  const method = written ?? "structured_stdout"
  const timeout = readInt(reading, section, {
    key: "timeout_seconds",
    min: 0,
    max: 24 * hourSeconds,
  })
  const readiness: ReadinessSpec = {
    method,
    // As the original: 0 is the default.
    timeoutSeconds: timeout || readinessTimeoutSecondsDefault,
    pattern: readPattern(reading, section),
    seconds: readInt(reading, section, { key: "seconds", min: 0, max: 24 * hourSeconds }),
    host: readText(reading, section, "host"),
    port: readText(reading, section, "port"),
  }
  // A misspelt method has its message; what belongs to it cannot be told.
  if (written === undefined && shapeOf(section, "method") !== "absent") return readiness
  if (method === "stdout_match" && shapeOf(section, "pattern") === "absent") {
    const message = "required when method is 'stdout_match'; write a regular expression"
    requireField(reading, section, "pattern", message)
  }
  if (method === "delay" && shapeOf(section, "seconds") === "absent") {
    requireField(reading, section, "seconds", "required when method is 'delay'")
  }
  for (const key of ["pattern", "seconds", "host", "port"]) {
    if (keysOf[method].includes(key) || shapeOf(section, key) === "absent") continue
    warn(reading, fieldAt(reading, section, key), `has no effect when method is '${method}'`)
  }
  return readiness
}

function readPattern(reading: Reading, section: Section): string | undefined {
  const pattern = readText(reading, section, "pattern")
  if (pattern === undefined) return undefined
  const at = fieldAt(reading, section, "pattern")
  if (pattern.length > patternCharsMax) {
    report(reading, at, `has ${pattern.length} characters; at most ${patternCharsMax} are allowed`)
    return undefined
  }
  try {
    void new RegExp(pattern, "u")
    return pattern
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    report(reading, at, `is no regular expression: ${reason}`)
    return undefined
  }
}

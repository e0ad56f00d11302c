/** The three places a setting may come from, each read into checked values and issues that name their place. */
import { readFileSync } from "node:fs"
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml"
import type { $ZodIssue } from "zod/v4/core"
import { nearest } from "../lib/index.ts"
import type { Issue } from "../schema/index.ts"
import { fieldNames, type FieldName, flagName, NodeConfig, noteOf } from "./fields.ts"

/** The environment, read once. */
export type Environment = Readonly<Record<string, string | undefined>>
/** What the command line said, by field: text, repeated text, or a switch. */
export type Flags = Readonly<Partial<Record<FieldName, string | boolean | readonly string[]>>>

export interface Source {
  readonly values: NodeConfig
  readonly issues: readonly Issue[]
  readonly warnings: readonly string[]
  /** Where a value stands: `--listen`, `TROUPE_LISTEN`, or the key with its line. */
  place(name: FieldName): Omit<Issue, "message">
}

const fileBytesMax = 1 << 20

/** Variables of ours that are no settings of a node: of the command line, of jobs, of tests. */
const otherVariables =
  /^TROUPE_(API|OUTPUT|NO_COLOR|DEBUG|CONFIG|RUN_ID|ROLE|ATTEMPT|FENCE|CLUSTER_AUTH_TOKEN|TEST_.*|[A-Z0-9_]+_ADDR)$/

const atFlag = (name: FieldName) => ({ path: flagName(name) ?? name })
const atVariable = (name: FieldName) => ({ path: noteOf(name).env })

export function readFlags(flags: Flags): Source {
  const texts = Object.entries(flags).filter(([, value]) => value !== undefined)
  return checked(texts as [FieldName, string | boolean | readonly string[]][], atFlag, [])
}

export function readEnvironment(env: Environment): Source {
  const byVariable = new Map(fieldNames.map((name) => [noteOf(name).env, name]))
  const warnings: string[] = []
  const issues: Issue[] = []
  const texts: [FieldName, string][] = []
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith("TROUPE_") || value === undefined || value === "") continue
    const name = byVariable.get(variable)
    if (name !== undefined) {
      texts.push([name, value])
    } else if (!otherVariables.test(variable)) {
      const meant = nearest(
        variable.slice(7),
        [...byVariable.keys()].map((key) => key.slice(7)),
      )
      // Something else may own a TROUPE_ variable (Kubernetes makes some); only a near miss is surely a slip.
      if (meant === undefined) warnings.push(`${variable} is set but means nothing to troupe`)
      else
        issues.push({ path: variable, message: `no such variable; did you mean TROUPE_${meant}?` })
    }
  }
  const source = checked(texts, atVariable, issues)
  return { ...source, warnings }
}

/** Reads YAML. A file that cannot be read is an issue of `--config`. */
export function readConfigFile(file: string): Source {
  const empty = { values: {}, warnings: [], place: (name: FieldName) => ({ path: name, file }) }
  let text: string
  try {
    text = readFileSync(file, "utf8")
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { ...empty, issues: [{ path: "--config", message: `cannot be read: ${reason}` }] }
  }
  if (text.length > fileBytesMax) {
    return {
      ...empty,
      issues: [{ path: "--config", message: `is longer than ${fileBytesMax} bytes` }],
    }
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
  const place = (name: FieldName) => ({ path: name, ...at(offsetOf(document, [name], true)) })
  if (document.errors.length > 0) {
    const issues = document.errors.map((error) => ({
      path: "",
      message: error.message.split("\n")[0] ?? error.message,
      ...at(error.pos[0]),
    }))
    return { ...empty, issues }
  }
  const content: unknown = document.toJS() ?? {}
  if (!isRecord(content)) {
    const issues = [{ path: "", message: "must hold keys with values", ...at(0) }]
    return { ...empty, issues }
  }
  const { values, issues } = check(content, (path, isKey) => ({
    path: path.join("."),
    ...at(offsetOf(document, path, isKey)),
  }))
  // In the order of the file, as its writer goes through them.
  issues.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))
  return { values, issues, warnings: [], place }
}

/** Flags and variables: text by field → values, one check for all, issues at the flag or variable. */
function checked(
  texts: readonly (readonly [FieldName, string | boolean | readonly string[]])[],
  place: (name: FieldName) => { path: string },
  known: readonly Issue[],
): Source {
  const raw: Record<string, unknown> = {}
  const issues: Issue[] = [...known]
  for (const [name, text] of texts) {
    const read = fromText(name, text)
    if ("wrong" in read) issues.push({ ...place(name), message: read.wrong })
    else raw[name] = read.value
  }
  const result = check(raw, (path) => place(path[0] as FieldName))
  issues.push(...result.issues)
  return { values: result.values, issues, warnings: [], place }
}

/** Every issue of a source, and the values that are right in spite of them. */
function check(
  raw: Readonly<Record<string, unknown>>,
  place: (path: readonly string[], isKey: boolean) => Omit<Issue, "message">,
): { values: NodeConfig; issues: Issue[] } {
  const result = NodeConfig.safeParse(raw)
  if (result.success) return { values: result.data, issues: [] }
  const issues: Issue[] = []
  const right: Record<string, unknown> = { ...raw }
  for (const issue of result.error.issues) {
    if (issue.code === "unrecognized_keys" && issue.path.length === 0) {
      for (const key of issue.keys) {
        delete right[key]
        const message = `unknown key${suggestion(key, fieldNames)}`
        issues.push({ ...place([key], true), message })
      }
      continue
    }
    delete right[String(issue.path[0])]
    issues.push({ ...place(issue.path.map(String), false), message: sentence(issue, raw) })
  }
  return { values: NodeConfig.parse(right), issues: dropTwins(issues) }
}

function fromText(
  name: FieldName,
  text: string | boolean | readonly string[],
): { value: unknown } | { wrong: string } {
  const kind = noteOf(name).text
  if (typeof text === "boolean") return { value: text }
  const words = typeof text === "string" ? [text] : text
  const pieces = words.flatMap((word) => word.split(",")).map((word) => word.trim())
  switch (kind) {
    case "number":
      return { value: /^-?[0-9]+$/.test(words[0] ?? "") ? Number(words[0]) : words[0] }
    case "boolean": {
      const word = words[0]?.toLowerCase() ?? ""
      if (["1", "true", "yes", "on"].includes(word)) return { value: true }
      if (["0", "false", "no", "off"].includes(word)) return { value: false }
      return { value: word }
    }
    case "list":
      return { value: pieces.filter((piece) => piece !== "") }
    case "pairs":
      return pairs(pieces.filter((piece) => piece !== ""))
    case "text":
    default:
      return { value: words.at(-1) }
  }
}

function pairs(pieces: readonly string[]): { value: unknown } | { wrong: string } {
  const value: Record<string, string> = {}
  for (const piece of pieces) {
    const equals = piece.indexOf("=")
    if (equals < 1) return { wrong: `must be key=value, got ${JSON.stringify(piece)}` }
    value[piece.slice(0, equals)] = piece.slice(equals + 1)
  }
  return { value }
}

/** One sentence for one broken rule: what it must be, what it is, and what was probably meant. */
function sentence(issue: $ZodIssue, root: unknown): string {
  const name = issue.path[0] as FieldName
  const got = issue.path.reduce<unknown>(
    (value, key) => (isRecord(value) || Array.isArray(value) ? Reflect.get(value, key) : undefined),
    root,
  )
  const shown = got === undefined ? "" : `, got ${JSON.stringify(got)}`
  const meant =
    issue.code === "invalid_value" && typeof got === "string"
      ? suggestion(got, issue.values.map(String))
      : ""
  return `must be ${noteOf(name).rule}${shown}${meant}`
}

function suggestion(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates)
  return meant === undefined ? "" : `; did you mean ${meant}?`
}

/** One field breaking its rule in two ways is one mistake to its writer. */
function dropTwins(issues: readonly Issue[]): Issue[] {
  const seen = new Set<string>()
  return issues.filter((issue) => {
    const key = `${issue.path}\n${issue.message}`
    return !seen.has(key) && seen.add(key)
  })
}

/** Where the key or value at a path begins; the innermost that exists. */
function offsetOf(document: Document, path: readonly string[], wantKey: boolean): number {
  let node: unknown = document.contents
  let offset = 0
  for (const [depth, part] of path.entries()) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === part)
      if (!pair) return offset
      const key = pair.key as Node
      const value = pair.value as Node | null
      const last = depth === path.length - 1
      offset = (last && wantKey ? key : (value ?? key)).range?.[0] ?? offset
      node = value
    } else if (node !== null && typeof node === "object" && "items" in node) {
      node = (node.items as Node[])[Number(part)]
      offset = (node as Node | undefined)?.range?.[0] ?? offset
    }
  }
  return offset
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

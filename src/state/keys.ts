/** Keys of the tables: strings that sort as written. Numbers are padded with zeros, a namespace is reserved. */
import type { TaskRef } from "./types.ts"

/** The only one so far. */
const namespace = "default"
/** Digits of the largest safe integer. */
const indexDigits = 16
const itemDigits = 3
const memberDigits = 7
const eventDigits = 9

const pad = (value: number, digits: number): string => String(value).padStart(digits, "0")

const runPattern = /^r-(\d{1,16})(?:\.(\d{1,3}))?$/

/** `r-12` for the first item of entry 12, `r-12.3` for its fourth. */
export function runId(index: number, item: number): string {
  return item === 0 ? `r-${index}` : `r-${index}.${item}`
}

/** The part of a key that names a run. What is no run id gets a part that no run has. */
function runPart(run: string): string {
  const match = runPattern.exec(run)
  if (!match) return `?${run}`
  return `${match[1]!.padStart(indexDigits, "0")}.${(match[2] ?? "").padStart(itemDigits, "0")}`
}

function runOfPart(part: string): string {
  return runId(Number(part.slice(0, indexDigits)), Number(part.slice(indexDigits + 1)))
}

export const clusterKey = "cluster"
export const checkpointKey = "checkpoint"
export const memberPrefix = "member/"
export const sessionPrefix = "session/"
/** By peer id: who was removed is not admitted again. */
const removedPrefix = "removed/"
export const removedKey = (peerId: string): string => `${removedPrefix}${peerId}`
export const runPrefix = `run/${namespace}/`

export const memberKey = (id: number): string => `${memberPrefix}${pad(id, indexDigits)}`
export const sessionKey = (node: number): string => `${sessionPrefix}${pad(node, indexDigits)}`
export const runKey = (run: string): string => `${runPrefix}${runPart(run)}`
/** Keys of runs that were accepted after this index sort behind it. */
export const runsAfter = (index: number): string => `${runPrefix}${pad(index + 1, indexDigits)}`
export const planKey = (run: string): string => `plan/${namespace}/${runPart(run)}`
export const groupPrefix = (run: string): string => `group/${namespace}/${runPart(run)}/`
export const groupKey = (run: string, group: string): string => `${groupPrefix(run)}${group}`
export const taskPrefix = (run: string): string => `task/${namespace}/${runPart(run)}/`
export const taskGroupPrefix = (run: string, group: string): string => `${taskPrefix(run)}${group}/`
export const taskKey = (task: TaskRef): string =>
  `${taskGroupPrefix(task.run, task.group)}${pad(task.index, memberDigits)}`
export const eventPrefix = (run: string): string => `event/${namespace}/${runPart(run)}/`
export const eventKey = (run: string, n: number): string =>
  `${eventPrefix(run)}${pad(n, eventDigits)}`
/** The run is collected, its rows are not all gone. */
export const wastePrefix = `waste/${namespace}/`
export const wasteKey = (run: string): string => `${wastePrefix}${runPart(run)}`
export const idempotencyPrefix = `key/${namespace}/`
export const labelKey = (label: string): string => `label/${namespace}/${label}`
/** The length keeps (a, b/c) and (a/b, c) apart. */
export const idempotencyKey = (principal: string, key: string): string =>
  `${idempotencyPrefix}${principal.length}:${principal}/${key}`

/** Begins the keys of every row that is no row of one run: these are few or small and always in memory. */
export const standingPrefixes = [
  clusterKey,
  checkpointKey,
  memberPrefix,
  sessionPrefix,
  removedPrefix,
  runPrefix,
  idempotencyPrefix,
  `label/${namespace}/`,
  wastePrefix,
] as const

/** Begins the keys of everything that belongs to a run beside its own row. The plan's is the whole key, and first:
 *  whoever finds a plan finds the rest. */
export function rowPrefixesOf(run: string): readonly string[] {
  return [planKey(run), groupPrefix(run), taskPrefix(run), eventPrefix(run)]
}

/** What a key names. */
export type ParsedKey =
  | { readonly table: "cluster" | "checkpoint" | "label" | "key" }
  | { readonly table: "member" | "session"; readonly id: number }
  | { readonly table: "run" | "plan" | "event" | "waste"; readonly run: string }
  | { readonly table: "group"; readonly run: string; readonly group: string }
  | { readonly table: "task"; readonly task: TaskRef }

/** undefined: a key of no table that this version knows. */
export function parseKey(key: string): ParsedKey | undefined {
  const [table = "", first, run, group, index] = key.split("/")
  switch (table) {
    case "cluster":
    case "checkpoint":
    case "label":
    case "key":
      return { table }
    case "member":
    case "session":
      return { table, id: Number(first) }
    case "run":
    case "plan":
    case "event":
    case "waste":
      return { table, run: runOfPart(run!) }
    case "group":
      return { table, run: runOfPart(run!), group: group! }
    case "task":
      return { table, task: { run: runOfPart(run!), group: group!, index: Number(index) } }
    default:
      return undefined
  }
}

const memberOfGroup = /^(.*)\[(\d+)\]$/

/** `shard[3]` → group shard, index 3; `server` → group server, index 0. The other way of schema's taskName. */
export function taskRefOf(run: string, name: string): TaskRef {
  const match = memberOfGroup.exec(name)
  return match ? { run, group: match[1]!, index: Number(match[2]) } : { run, group: name, index: 0 }
}

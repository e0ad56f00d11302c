/** The file of a chaos run: a line of JSON for each call, page, attempt and fault. Times are µs since the machine's boot. */
import { appendFileSync, readFileSync } from "node:fs"
import type { AttemptSight, Page, RunCall, RunOutput } from "../histories/index.ts"

/** A call as its client saw it; without `completedAt` its outcome is unknown. */
export interface CallRecord {
  readonly type: "call"
  readonly call: RunCall
  readonly client: string
  readonly node: string
  readonly invokedAt: number
  readonly completedAt: number | undefined
  /** When its client had an answer, or gave it up. */
  readonly endedAt: number
  readonly output: RunOutput | undefined
  /** For people: how it ended, as `201`, `ERR_NO_LEADER`, `timeout`. */
  readonly ending: string
  /** It certainly had no effect. */
  readonly isRefused: boolean
}

export interface PageRecord extends Page {
  readonly type: "page"
  readonly node: string
}

export interface AttemptRecord extends AttemptSight {
  readonly type: "attempt"
}

/** What was done to which nodes. */
export interface FaultRecord {
  readonly type: "fault"
  readonly kind: string
  readonly nodes: readonly string[]
  readonly text: string
  readonly from: number
  readonly to: number
}

/** Who led, when somebody looked. */
export interface LeaderRecord {
  readonly type: "leader"
  readonly at: number
  readonly node: string
  readonly term: number
}

export type Record = CallRecord | PageRecord | AttemptRecord | FaultRecord | LeaderRecord

/** The machine's monotonic clock: processes share it, and no jump of the wall clock moves it. */
export function microseconds(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

export function appendRecord(file: string, record: Record): void {
  appendFileSync(file, `${JSON.stringify(record)}\n`)
}

export function readRecords(file: string): Record[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => withUndefined(JSON.parse(line) as Record))
}

/** JSON has no undefined; the checker's histories do. */
function withUndefined(record: Record): Record {
  if (record.type === "call") {
    const { completedAt, output } = record
    return {
      ...record,
      completedAt,
      output: output?.type === "seen" ? { ...output, sight: sight(output.sight) } : output,
    }
  }
  if (record.type !== "page") return record
  return { ...record, items: record.items.map((item) => ({ ...item, ...sight(item) })) }
}

function sight<
  T extends { readonly verdict: string | undefined; readonly cancelled: string | undefined },
>(given: T): T {
  return { ...given, verdict: given.verdict, cancelled: given.cancelled }
}

/** What the keeper knows, as its journal tells it: replayed after a restart, written out whole when the journal is rewritten. */
import type { Ending } from "../schema/index.ts"
import type { LaunchSpec } from "../wire/index.ts"
import type { JournalRecord } from "./journal.ts"
import type { Stop } from "./outcome.ts"
import type { ProcessId } from "./process-table.ts"
import type { Target } from "./protocol.ts"

/** Attempts that are not yet forgotten. */
export const attemptsMax = 10_000
/** Tasks of forgotten attempts whose fences are still refused; the oldest go first. */
const fencesMax = 20_000

export interface Attempt {
  readonly spec: LaunchSpec
  readonly nonce: string
  /** The host's boot it was accepted in. */
  readonly bootId: string
  readonly acceptedAt: number
  /** Place in `list`. */
  readonly order: number
  process?: ProcessId
  cgroup?: string | undefined
  /** Cgroups that were made to hold it to its limits. */
  limited?: readonly string[]
  startedAt?: number
  readyAt?: number
  stop?: Stop
  /** Decided; on the disk only when `ended` is true, and told only then. */
  ending?: Ending
  ended: boolean
}

export function taskKey(target: Pick<Target, "run" | "task">): string {
  return `${target.run}\n${target.task}`
}

export function attemptKey(target: Target): string {
  return `${taskKey(target)}\n${target.fence}`
}

export class Book {
  #clusterId: string | undefined
  #term = 0
  #order = 0
  readonly #attempts = new Map<string, Attempt>()
  /** Highest fence seen of each task, the longest unchanged first. */
  readonly #fences = new Map<string, Target>()

  get clusterId(): string | undefined {
    return this.#clusterId
  }

  get term(): number {
    return this.#term
  }

  get size(): number {
    return this.#attempts.size
  }

  find(target: Target): Attempt | undefined {
    return this.#attempts.get(attemptKey(target))
  }

  /** 0 when none was seen. */
  fenceOf(task: Pick<Target, "run" | "task">): number {
    return this.#fences.get(taskKey(task))?.fence ?? 0
  }

  all(): Attempt[] {
    return [...this.#attempts.values()]
  }

  live(): Attempt[] {
    return this.all().filter((attempt) => !attempt.ended)
  }

  /** In the order of acceptance, behind a place. */
  after(order: number, max: number): Attempt[] {
    const found: Attempt[] = []
    for (const attempt of this.#attempts.values()) {
      if (attempt.order > order) found.push(attempt)
      if (found.length === max) break
    }
    return found
  }

  /** An accepted attempt whose journal record could not be written never was: the same order may come again. */
  retract({ spec }: Attempt, fenceBefore: number): void {
    const { run, task, fence } = spec
    this.#attempts.delete(attemptKey(spec))
    if (this.fenceOf(spec) !== fence) return
    if (fenceBefore === 0) this.#fences.delete(taskKey(spec))
    else this.#fences.set(taskKey(spec), { run, task, fence: fenceBefore })
  }

  /** Records that say nothing new are taken without harm: a rewritten journal may repeat what queued behind it. */
  apply(record: JournalRecord): void {
    switch (record.type) {
      case "bound":
        return this.#bind(record)
      case "accepted":
        return this.#accept(record)
      case "forgotten":
        this.#seeFence(record)
        this.#attempts.delete(attemptKey(record))
        return
      case "started":
      case "ready":
      case "stopping":
      case "limited":
      case "ended": {
        const attempt = this.find(record)
        if (attempt) change(attempt, record)
      }
    }
  }

  #bind({ clusterId, term }: { clusterId: string; term: number }): void {
    if (this.#clusterId !== undefined && this.#clusterId !== clusterId) {
      this.#attempts.clear()
      this.#fences.clear()
    }
    this.#clusterId = clusterId
    this.#term = term
  }

  #accept(record: Extract<JournalRecord, { type: "accepted" }>): void {
    const { spec, nonce, bootId, at } = record
    const key = attemptKey(spec)
    this.#term = Math.max(this.#term, spec.term)
    this.#seeFence(spec)
    if (this.#attempts.has(key)) return
    const order = ++this.#order
    this.#attempts.set(key, { spec, nonce, bootId, acceptedAt: at, order, ended: false })
  }

  #seeFence({ run, task, fence }: Target): void {
    const key = taskKey({ run, task })
    if (fence < this.fenceOf({ run, task })) return
    this.#fences.delete(key)
    this.#fences.set(key, { run, task, fence })
    if (this.#fences.size <= fencesMax) return
    for (const [oldest, target] of this.#fences) {
      if (this.#attempts.has(attemptKey(target))) continue
      this.#fences.delete(oldest)
      return
    }
  }

  /** What a keeper of a later generation takes over: cluster, term and the fences that were used. */
  heritage(): JournalRecord[] {
    const records: JournalRecord[] = []
    if (this.#clusterId !== undefined) {
      records.push({ type: "bound", clusterId: this.#clusterId, term: this.#term })
    }
    for (const target of this.#fences.values()) records.push({ type: "forgotten", ...target })
    return records
  }

  /** The shortest journal that replays to this. */
  records(): JournalRecord[] {
    const records: JournalRecord[] = []
    if (this.#clusterId !== undefined) {
      records.push({ type: "bound", clusterId: this.#clusterId, term: this.#term })
    }
    for (const target of this.#fences.values()) {
      if (!this.#attempts.has(attemptKey(target))) records.push({ type: "forgotten", ...target })
    }
    for (const attempt of this.#attempts.values()) records.push(...recordsOf(attempt))
    return records
  }
}

type Change = Exclude<JournalRecord, { type: "bound" | "accepted" | "forgotten" }>

function change(attempt: Attempt, record: Change): void {
  switch (record.type) {
    case "started":
      attempt.process = { pid: record.pid, ticks: record.ticks }
      attempt.startedAt = record.at
      attempt.cgroup = record.cgroup
      return
    case "limited":
      attempt.limited = record.paths
      return
    case "ready":
      attempt.readyAt = record.at
      return
    case "stopping":
      attempt.stop = { at: record.at, graceMs: record.graceMs, reason: record.reason }
      return
    case "ended":
      attempt.ending = record.ending
      attempt.ended = true
  }
}

function recordsOf(attempt: Attempt): JournalRecord[] {
  const { spec, nonce, bootId, acceptedAt, process, cgroup, limited, startedAt } = attempt
  const { readyAt, stop, ending } = attempt
  const target = { run: spec.run, task: spec.task, fence: spec.fence }
  const records: JournalRecord[] = [{ type: "accepted", spec, nonce, bootId, at: acceptedAt }]
  if (limited && !ending) records.push({ type: "limited", ...target, paths: limited })
  if (process && startedAt !== undefined) {
    records.push({ type: "started", ...target, ...process, at: startedAt, cgroup })
  }
  if (readyAt !== undefined) records.push({ type: "ready", ...target, at: readyAt })
  if (stop) records.push({ type: "stopping", ...target, ...stop })
  if (ending) records.push({ type: "ended", ...target, ending })
  return records
}

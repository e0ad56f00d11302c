/** Processes as their hosts saw them, with what ran beside them at moments that are judged later. */
import type { Plan, TaskGroup } from "../../../src/schema/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { Machine } from "../cluster/machine.ts"

/** A process of an attempt. Times are ms of the world. */
export interface Process {
  readonly machine: Machine
  readonly spec: LaunchSpec
  readonly plan: Plan
  readonly group: TaskGroup
  readonly index: number
  readonly startedAt: number
  readyAt: number | undefined
  stoppedAt: number | undefined
  endedAt: number | undefined
  exitCode: number | undefined
  signal: string | undefined
}

/** A start, and what ran then. */
export interface Start {
  readonly process: Process
  /** On the same host, this one too. */
  readonly beside: readonly Process[]
  /** Of the same task, anywhere; away: its host keeps no promise. */
  readonly others: readonly { readonly process: Process; readonly isAway: boolean }[]
}

/** A server was told that nothing needs it, and these of its clients ran. */
export interface Stop {
  readonly server: Process
  readonly running: readonly Process[]
}

export function nameOf({ spec }: Process): string {
  return `${spec.run}/${spec.task}.${spec.attempt}`
}

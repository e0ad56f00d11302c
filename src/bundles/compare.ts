/** Two bundles side by side: what differs, and whether it matters. */
import type { RoleSummary, Summary } from "./summary.ts"

interface Change {
  readonly baseline: number | null
  readonly compare: number | null
  /** Percent of the baseline; null when there is nothing to divide by. */
  readonly change_percent: number | null
}

/** The content of analysis/diff.json. */
export interface Comparison {
  readonly baseline_run_id: string
  readonly compare_run_id: string
  readonly baseline_status: string
  readonly compare_status: string
  readonly duration_seconds: Change
  readonly roles_added: readonly string[]
  readonly roles_removed: readonly string[]
  readonly roles: Readonly<Record<string, Readonly<Record<string, Change>>>>
  /** Sentences, one a difference that matters. */
  readonly differences: readonly string[]
  readonly has_significant_diff: boolean
}

/** A rate that moved further than this is more than the noise of a busy host. */
const significantPercent = 10
const rates = new Set(["bits_per_second", "sent_bits_per_second"])

export function compareSummaries(baseline: Summary, compare: Summary): Comparison {
  const before = Object.keys(baseline.roles)
  const now = Object.keys(compare.roles)
  const added = now.filter((name) => !before.includes(name))
  const removed = before.filter((name) => !now.includes(name))
  const common = before.filter((name) => now.includes(name))
  const roles = Object.fromEntries(
    common.map((name) => [name, compareRoles(baseline.roles[name]!, compare.roles[name]!)]),
  )
  const differences = [
    ...(baseline.status === compare.status
      ? []
      : [`status: ${baseline.status} before, ${compare.status} now`]),
    ...added.map((name) => `role ${name} is new`),
    ...removed.map((name) => `role ${name} is gone`),
    ...common.flatMap((name) => significant(name, roles[name]!)),
  ]
  return {
    baseline_run_id: baseline.run_id,
    compare_run_id: compare.run_id,
    baseline_status: baseline.status,
    compare_status: compare.status,
    duration_seconds: change(baseline.duration_seconds, compare.duration_seconds),
    roles_added: added,
    roles_removed: removed,
    roles,
    differences,
    has_significant_diff: differences.length > 0,
  }
}

function change(baseline: number | null, compare: number | null): Change {
  const comparable = baseline !== null && compare !== null && baseline !== 0
  const percent = comparable ? ((compare - baseline) / Math.abs(baseline)) * 100 : null
  const rounded = percent === null ? null : Math.round(percent * 100) / 100
  return { baseline, compare, change_percent: rounded }
}

function compareRoles(baseline: RoleSummary, compare: RoleSummary): Record<string, Change> {
  const changes: Record<string, Change> = {
    exit_code: change(baseline.exit_code, compare.exit_code),
    duration_seconds: change(baseline.duration_seconds, compare.duration_seconds),
    stdout_bytes: change(baseline.stdout_bytes, compare.stdout_bytes),
    stderr_bytes: change(baseline.stderr_bytes, compare.stderr_bytes),
    error_lines: change(baseline.error_lines, compare.error_lines),
  }
  for (const { tool, figures } of baseline.measurements) {
    const other = compare.measurements.find((measurement) => measurement.tool === tool)
    for (const [name, value] of Object.entries(figures)) {
      if (Object.hasOwn(changes, name)) continue
      changes[name] = change(value, other?.figures[name] ?? null)
    }
  }
  return changes
}

function significant(role: string, changes: Readonly<Record<string, Change>>): string[] {
  return Object.entries(changes).flatMap(
    ([name, { baseline, compare, change_percent: percent }]) => {
      if (name === "exit_code" && baseline !== compare) {
        return [`${role}: exit code ${baseline} before, ${compare} now`]
      }
      if (!rates.has(name)) return []
      if (compare === null) return [`${role}: ${name} is no longer reported`]
      if (percent === null || Math.abs(percent) <= significantPercent) return []
      return [`${role}: ${name} ${percent > 0 ? "+" : ""}${percent} %`]
    },
  )
}

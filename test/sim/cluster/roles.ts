/** What a machine's own metrics say of it. */
import type { Machine } from "./machine.ts"

export function leads(machine: Machine): boolean {
  const metrics = machine.node?.metrics() ?? []
  return metrics.some(({ name, value }) => name === "troupe_is_leader" && value === 1)
}

export function gauge(machine: Machine, wanted: string): number | undefined {
  return machine.node?.metrics().find(({ name }) => name === wanted)?.value
}

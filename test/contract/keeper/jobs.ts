/** Jobs of real processes, and what they tell of themselves. */
import { readStat } from "../../../src/keeper/process-table.ts"
import type { Script } from "./worlds.ts"

export const shell = (text: string): Script => ({ argv: ["sh", "-c", text], fake: {} })

export const readyBy = (pattern: string) => ({
  readiness: { method: "stdout_match", pattern, timeoutMs: 10_000 } as const,
})

/** Pids that a job printed, one a line, with the start times by which they are known. */
export function printed(text: string) {
  return text
    .split("\n")
    .filter((line) => /^\d+$/.test(line))
    .map((line) => ({ pid: Number(line), ticks: readStat(Number(line))?.ticks ?? "gone" }))
}

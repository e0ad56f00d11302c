/** Majorities that are lost for good: what the recovered copy held is there, and everybody else joins it. */
import { expect, test } from "vitest"
import { runRecovery } from "./recovery.ts"

const seeds = 40

test(`what is recovered becomes one cluster for ${seeds} seeds`, { timeout: 240_000 }, async () => {
  let runs = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await runRecovery({ seed })
    expect(result.failure).toBeUndefined()
    runs += result.runs
  }
  expect(runs).toBeGreaterThan(3 * seeds)
})

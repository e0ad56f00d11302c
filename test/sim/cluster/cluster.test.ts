/** Whole nodes over many seeds: they become one cluster, work while they are hurt, and come out right. */
import { expect, test } from "vitest"
import { runCluster } from "./run.ts"

const seeds = 48

test(`whole clusters come out right for ${seeds} seeds`, { timeout: 240_000 }, async () => {
  let faults = 0
  let runs = 0
  let succeeded = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await runCluster({ seed })
    expect(result.failure).toBeUndefined()
    faults += result.faults
    runs += result.runs
    succeeded += result.succeeded
  }
  // The worlds were rough, yet work got done.
  expect(faults).toBeGreaterThan(5 * seeds)
  expect(runs).toBeGreaterThan(3 * seeds)
  expect(succeeded).toBeGreaterThan(0.9 * runs)
})

test("a seed decides everything", { timeout: 60_000 }, async () => {
  const one: string[] = []
  const other: string[] = []
  const seed = 7
  const first = await runCluster({ seed, onLine: (line) => one.push(line) })
  const second = await runCluster({ seed, onLine: (line) => other.push(line) })
  expect(second).toEqual(first)
  expect(other).toEqual(one)
})

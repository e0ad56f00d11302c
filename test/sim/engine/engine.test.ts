/** The whole engine over many seeds: random plans on hosts that crash, sleep and lose each other come out right. */
import { expect, test } from "vitest"
import { runEngine } from "./run.ts"

const seeds = 24

test(`plans come out right for ${seeds} seeds`, { timeout: 240_000 }, async () => {
  const sums = { faults: 0, starts: 0, runs: 0, succeeded: 0, checks: 0 }
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await runEngine({ seed })
    expect(result.failure).toBeUndefined()
    sums.faults += [...result.faults.values()].reduce((sum, times) => sum + times, 0)
    sums.starts += result.starts
    sums.runs += result.runs
    sums.succeeded += result.verdicts["succeeded"] ?? 0
    sums.checks += result.checks
  }
  // The worlds were rough, yet work got done.
  expect(sums.faults).toBeGreaterThan(10 * seeds)
  expect(sums.starts).toBeGreaterThan(10 * seeds)
  expect(sums.runs).toBeGreaterThan(2 * seeds)
  expect(sums.succeeded).toBeGreaterThan(seeds / 4)
  expect(sums.checks).toBeGreaterThan(20 * seeds)
})

test("a seed decides everything", { timeout: 60_000 }, async () => {
  const one: string[] = []
  const other: string[] = []
  const first = await runEngine({ seed: 9, onLine: (line) => one.push(line) })
  const second = await runEngine({ seed: 9, onLine: (line) => other.push(line) })
  expect(second).toEqual(first)
  expect(other).toEqual(one)
})

/** Clusters begin, over many seeds: one, or as many as have accepted work, and nothing that was accepted is gone. */
import { expect, test } from "vitest"
import { runBootstrap } from "./bootstrap.ts"

const seeds = 60

test(`beginnings come out right for ${seeds} seeds`, { timeout: 240_000 }, async () => {
  let accepted = 0
  let apart = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await runBootstrap({ seed })
    expect(result.failure).toBeUndefined()
    accepted += result.accepted
    if (result.clusters > 1) apart++
  }
  expect(accepted).toBeGreaterThan(seeds / 2)
  expect(apart).toBeGreaterThan(0)
})

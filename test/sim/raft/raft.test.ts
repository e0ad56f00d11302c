/** The safety and liveness of the core over many seeds, and proof that the checks would notice. */
import { expect, test } from "vitest"
import { type Mutant, mutants } from "./member.ts"
import { runSimulation } from "./run.ts"

const seeds = 400
const minute = 60_000

test(
  `${seeds} seeds hold: crashes, loss, torn writes, and what clients are told`,
  { timeout: 4 * minute },
  () => {
    const sums = { leaders: 0, acknowledged: 0, calls: 0, unjudged: 0 }
    for (let seed = 1; seed <= seeds; seed++) {
      const result = runSimulation({ seed, size: seed % 2 === 0 ? 3 : 5, steps: 5000 })
      expect(result.failure).toBeUndefined()
      sums.leaders += result.leaders
      sums.acknowledged += result.acknowledged
      sums.calls += result.calls
      sums.unjudged += result.unjudged
    }
    // The worlds were rough, yet work got done.
    expect(sums.leaders).toBeGreaterThan(2 * seeds)
    expect(sums.acknowledged).toBeGreaterThan(10 * seeds)
    expect(sums.calls).toBeGreaterThan(5 * seeds)
    expect(sums.unjudged).toBeLessThan(seeds / 100)
  },
)

test.each([1, 2, 3, 4, 6, 7])("clusters of %i hold too", { timeout: minute }, (size) => {
  for (let seed = 1000; seed < 1020; seed++) {
    expect(runSimulation({ seed, size, steps: 3000 }).failure).toBeUndefined()
  }
})

/** The leader was gone, and only a demoted member knew that the change was committed (C-35). */
test("a seed that once failed holds: 1110", { timeout: minute }, () => {
  expect(runSimulation({ seed: 1110, size: 4, steps: 5000 }).failure).toBeUndefined()
})

test("a seed decides everything", () => {
  const options = { seed: 42, size: 5, steps: 4000 }
  expect(runSimulation(options)).toEqual(runSimulation(options))
})

/** B-nn: the bug that each mutant is, and what must give it away. */
const givenAwayBy: Readonly<Record<Mutant, RegExp>> = {
  // B-08, B-22: answers leave before their data is durable.
  "answer-before-sync":
    /leader completeness|past the last entry|election safety|committed was|votes of a majority/,
  // B-01: a vote is forgotten in a crash.
  "vote-not-written": /election safety|votes of a majority|empty entries of term/,
  // B-23: the applied index is written apart from the state.
  "applied-apart": /state machine safety/,
  // B-25: an emptied disk comes back under its old id.
  "wiped-disk": /election safety|leader completeness|past the last entry/,
  // B-32: reads are answered from what a member happens to know.
  "local-read": /stale read/,
}

test.each(mutants)("the checks notice the mutant %s", { timeout: 2 * minute }, (mutant) => {
  const seedsMax = 400
  const failures: string[] = []
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { failure } = runSimulation({ seed, size: 5, steps: 4000, mutant })
    if (failure === undefined) continue
    failures.push(failure.split("\n")[0]!)
    if (givenAwayBy[mutant].test(failure)) return
  }
  expect.fail(`${seedsMax} seeds did not show ${mutant}: ${failures.join("; ")}`)
})

/** The safety and liveness of the core over many seeds, and proof that the checks would notice. */
import { expect, test } from "vitest"
import { type Mutant, mutants } from "./member.ts"
import { runSimulation } from "./run.ts"

const seeds = 500
const minute = 60_000

test(
  `five nodes hold Raft's promises for ${seeds} seeds of crashes, loss and torn writes`,
  { timeout: 4 * minute },
  () => {
    let leaders = 0
    let acknowledged = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const result = runSimulation({ seed, size: 5, steps: 5000 })
      expect(result.failure).toBeUndefined()
      leaders += result.leaders
      acknowledged += result.acknowledged
    }
    // The worlds were rough, yet work got done.
    expect(leaders).toBeGreaterThan(2 * seeds)
    expect(acknowledged).toBeGreaterThan(10 * seeds)
  },
)

test.each([1, 2, 3, 4, 7])("clusters of %i hold them too", { timeout: minute }, (size) => {
  for (let seed = 1000; seed < 1020; seed++) {
    expect(runSimulation({ seed, size, steps: 3000 }).failure).toBeUndefined()
  }
})

/** A change applied while a snapshot waited to be written told the membership of that snapshot; a crash then lost it. */
test("a seed that once failed holds: 10455", { timeout: minute }, () => {
  expect(runSimulation({ seed: 10_455, size: 5, steps: 5000 }).failure).toBeUndefined()
})

test("a seed decides everything", () => {
  const options = { seed: 42, size: 5, steps: 4000 }
  expect(runSimulation(options)).toEqual(runSimulation(options))
})

/** B-nn: the bug that each mutant is, and what must give it away. */
const givenAwayBy: Readonly<Record<Mutant, RegExp>> = {
  // B-08, B-22: answers leave before their data is durable.
  "answer-before-sync": /leader completeness|past the last entry|election safety|committed was/,
  // B-01: a vote is forgotten in a crash.
  "vote-not-written": /election safety/,
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

/** What was written of a run makes the same run again. */
import { expect, test } from "vitest"
import { minimise } from "./minimise.ts"
import { readRecipe, writeRecipe } from "./recipe.ts"
import { type RunOptions, runSimulation } from "./run.ts"

test(
  "a failure that was made smaller fails from its text in the same way",
  { timeout: 60_000 },
  () => {
    const broken = { size: 5, steps: 4000, mutant: "wiped-disk" } as const
    let seed = 1
    while (runSimulation({ ...broken, seed }).failure === undefined) seed++
    let trials = 40
    const smaller = minimise(
      { ...broken, seed },
      { run: runSimulation, hasTime: () => trials-- > 0 },
    )
    const again = readRecipe(writeRecipe(smaller!.options)) as RunOptions
    expect(again).toEqual(smaller!.options)
    expect(runSimulation(again).failure).toBe(smaller!.failure)
  },
)

test("the plan of a seed is no part of its text", () => {
  const options = { seed: 3, size: 1, steps: 9 }
  expect(readRecipe(writeRecipe(options))).toEqual({ ...options, without: new Set() })
})

test.each([
  ["", /JSON/],
  ["[]", /expected object/],
  ['{"seed":1,"size":8,"steps":1,"without":[]}', /size/],
  ['{"seed":1,"size":3,"steps":1,"without":["rain"]}', /without/],
  ['{"seed":1,"size":3,"steps":1,"without":[],"events":[{"at":1,"kind":"war","dice":1}]}', /kind/],
  ['{"seed":1,"size":3,"steps":1,"without":[],"sede":1}', /sede/],
])("%j is no run", (text, why) => {
  expect(readRecipe(text)).toMatch(why)
})

/** The bug bank is whole, and each of its bugs can still be planted: `npm run mutants` then shows that the tests notice. */
import { existsSync } from "node:fs"
import { expect, test } from "vitest"
import { planted } from "../../chaos/planted.ts"
import { bugCount, mutants } from "../../mutants/bank.ts"
import { type Mutant, mutate } from "../../mutants/mutant.ts"
import { sourceText } from "../../mutants/scratch.ts"

test("every bug of the bank has a row, and no two rows have one id", () => {
  const bugs = mutants.filter(({ id }) => !/^[CS]-\d\d[a-z]?$/.test(id))
  const numbers = new Set(bugs.map(({ id }) => Number(/^B-(\d\d)[a-z]?$/.exec(id)?.[1])))
  expect([...numbers]).toEqual(Array.from({ length: bugCount }, (_, place) => place + 1))
  expect(new Set(mutants.map(({ id }) => id)).size).toBe(mutants.length)
})

test.each(mutants)("$id can be planted, and its tests are there", async (mutant) => {
  const sound = await sourceText(mutant.file)
  expect(mutate(sound, mutant)).not.toBe(sound)
  const missing = mutant.tests.filter(
    (file) => !existsSync(new URL(`../../../${file}`, import.meta.url)),
  )
  expect(missing).toEqual([])
})

test.each(Object.entries(planted))("%s can be planted for a chaos run", async (_, bug) => {
  const text = await sourceText(bug.file)
  expect(text.split(bug.find)).toHaveLength(2)
})

test("a text that is gone, or is there twice, is an error and not a bug", () => {
  const mutant: Mutant = { id: "B-00", what: "", file: "f", find: "a", replace: "$&b", tests: [] }
  expect(mutate("xay", mutant)).toBe("x$&by")
  expect(() => mutate("xy", mutant)).toThrow("0 places")
  expect(() => mutate("xaya", mutant)).toThrow("2 places")
})

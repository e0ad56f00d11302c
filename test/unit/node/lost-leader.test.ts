/** The lost-leader hint, clause by clause (DESIGN.md §5.6). */
import { expect, test } from "vitest"
import { LostLeader } from "../../../src/node/lost-leader.ts"

const first = { turn: 0, random: 0.5 }
const second = { turn: 1, random: 0.5 }

test("survivors wait in turns, the first at most 5 ms", () => {
  for (const random of [0, 0.5, 0.999]) {
    const one = new LostLeader().hint({ leader: 1, term: 4 }, { turn: 0, random })!
    const other = new LostLeader().hint({ leader: 1, term: 4 }, { turn: 1, random })!
    expect(one).toBeLessThan(5)
    expect(other).toBeGreaterThanOrEqual(25)
    expect(other).toBeLessThan(30)
  }
})

test("no leader, no hint", () => {
  const one = new LostLeader()
  expect(one.hint({ leader: 0, term: 4 }, first)).toBeUndefined()
  expect(one.hints).toBe(0)
})

test("one hint a term, whoever leads it", () => {
  const one = new LostLeader()
  expect(one.hint({ leader: 1, term: 4 }, first)).toBeDefined()
  expect(one.hint({ leader: 1, term: 4 }, first)).toBeUndefined()
  expect(one.hint({ leader: 2, term: 5 }, first)).toBeDefined()
  expect(one.hint({ leader: 1, term: 4 }, first)).toBeUndefined()
})

test("after a false hint the wait is doubled, and again, up to a bound", () => {
  const one = new LostLeader()
  const waits: number[] = []
  for (let term = 1; term <= 8; term++) {
    waits.push(one.hint({ leader: 1, term }, second)!)
    // The same leader of the same term is heard again.
    one.heard({ leader: 1, term })
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 16, 16, 16].map((times) => times * 27.5))
  expect(one.falseHints).toBe(8)
})

test("a hint that was right ends the doubt", () => {
  const one = new LostLeader()
  one.hint({ leader: 1, term: 1 }, second)
  one.heard({ leader: 1, term: 1 })
  expect(one.hint({ leader: 1, term: 2 }, second)).toBe(55)
  one.heard({ leader: 2, term: 3 })
  expect(one.hint({ leader: 2, term: 3 }, second)).toBe(27.5)
  expect(one.falseHints).toBe(1)
})

test("to forget the leader is not to hear it, and one that is heard twice is one false hint", () => {
  const one = new LostLeader()
  one.hint({ leader: 1, term: 1 }, second)
  one.heard({ leader: 0, term: 1 })
  expect(one.falseHints).toBe(0)
  one.heard({ leader: 1, term: 1 })
  one.heard({ leader: 1, term: 1 })
  expect(one.falseHints).toBe(1)
})

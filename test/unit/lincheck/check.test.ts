/** Verdicts by tables: what is linearizable and what is not, and why. */
import { expect, test } from "vitest"
import { checkHistory, kvModel, registerModel, type Verdict } from "../../lincheck/index.ts"
import {
  append,
  cas,
  get,
  isLinearizable,
  type KvEvent,
  put,
  read,
  type RegisterEvent,
  write,
} from "./histories.ts"

const registers: readonly [string, Verdict, readonly RegisterEvent[]][] = [
  ["nothing happened", "ok", []],
  ["a read before any write finds nil", "ok", [read([1, 2], null)]],
  ["a read finds what was written", "ok", [write([1, 2], 5), read([3, 4], 5)]],
  ["a read finds what nobody wrote", "bad", [write([1, 2], 5), read([3, 4], 6)]],
  ["a read after a write finds what was before", "bad", [write([1, 2], 5), read([3, 4], null)]],
  ["a read during a write finds the old", "ok", [write([1, 4], 5), read([2, 3], null)]],
  ["a read during a write finds the new", "ok", [write([1, 4], 5), read([2, 3], 5)]],
  [
    "reads during a write go back from new to old",
    "bad",
    [write([1, 8], 5), read([2, 3], 5), read([4, 5], null)],
  ],
  [
    "overlapping reads during a write may see it in any order",
    "ok",
    [write([1, 8], 5), read([2, 5], 5), read([3, 4], null)],
  ],
  [
    "two writes at once: readers agree on the last",
    "ok",
    [write([1, 4], 1), write([2, 3], 2), read([5, 6], 1), read([7, 8], 1)],
  ],
  [
    "two writes at once: readers disagree on the last",
    "bad",
    [write([1, 4], 1), write([2, 3], 2), read([5, 6], 1), read([7, 8], 2)],
  ],
  ["what touches is concurrent", "ok", [write([1, 3], 5), read([3, 4], null)]],
  ["what touches may also follow", "ok", [write([1, 3], 5), read([3, 4], 5)]],
  ["a read from the future", "bad", [read([1, 2], 5), write([3, 4], 5)]],
  ["a cas finds its value", "ok", [write([1, 2], 1), cas([3, 4], 1, 2, true), read([5, 6], 2)]],
  [
    "a cas finds another value",
    "ok",
    [write([1, 2], 1), cas([3, 4], 3, 2, false), read([5, 6], 1)],
  ],
  [
    "a cas fails though it must find its value",
    "bad",
    [write([1, 2], 1), cas([3, 4], 1, 2, false)],
  ],
  [
    "a cas succeeds though it cannot find its value",
    "bad",
    [write([1, 2], 1), cas([3, 4], 3, 2, true)],
  ],
  [
    "of two cas from one value only one succeeds",
    "bad",
    [write([1, 2], 1), cas([3, 6], 1, 2, true), cas([4, 5], 1, 3, true)],
  ],
  [
    "two cas at once, the later first",
    "ok",
    [write([1, 2], 1), cas([3, 6], 2, 3, true), cas([4, 5], 1, 2, true), read([7, 8], 3)],
  ],
  [
    "a write that needs not be ordered where it changes nothing",
    "ok",
    [write([1, 2], 1), write([3, 10], 1), write([4, 5], 2), read([6, 7], 2), read([8, 9], 1)],
  ],
]

const unknowns: readonly [string, Verdict, readonly RegisterEvent[]][] = [
  ["a write without answer may have happened", "ok", [write([1], 5), read([2, 3], 5)]],
  ["a write without answer may never happen", "ok", [write([1], 5), read([2, 3], null)]],
  [
    "a write without answer may happen late",
    "ok",
    [write([1], 5), read([2, 3], null), write([4, 5], 6), read([6, 7], 6), read([8, 9], 5)],
  ],
  [
    "a write without answer happens at most once",
    "bad",
    [write([1], 5), read([2, 3], 5), write([4, 5], 6), read([6, 7], 6), read([8, 9], 5)],
  ],
  [
    "two such writes explain two such reads",
    "ok",
    [
      write([1], 5),
      write([1], 5),
      read([2, 3], 5),
      write([4, 5], 6),
      read([6, 7], 6),
      read([8, 9], 5),
    ],
  ],
  ["it does not happen before it was asked for", "bad", [read([1, 2], 5), write([3], 5)]],
  [
    "the second of two alike was not asked for yet",
    "bad",
    [write([1], 5), read([2, 3], 5), write([4, 5], 6), read([6, 7], 5), write([8], 5)],
  ],
  [
    "a chain of cas without answers",
    "ok",
    [write([1, 2], 1), cas([3], 3, 4), cas([4], 2, 3), cas([5], 1, 2), read([6, 7], 4)],
  ],
  [
    "a chain of cas without answers lacks one",
    "bad",
    [write([1, 2], 1), cas([3], 3, 4), cas([5], 1, 2), read([6, 7], 4)],
  ],
  ["only unknown outcomes", "ok", [write([1], 5), cas([2], 7, 8)]],
  [
    "a read without answer says nothing",
    "ok",
    [write([1, 2], 5), { ...read([3], null), output: 9 }],
  ],
]

test.each([...registers, ...unknowns])("register: %s: %s", (_, verdict, history) => {
  expect(checkHistory(registerModel, history).verdict).toBe(verdict)
  expect(isLinearizable(registerModel, history)).toBe(verdict === "ok")
})

const maps: readonly [string, Verdict, readonly KvEvent[]][] = [
  ["a key that nobody wrote is empty", "ok", [get([1, 2], "a", "")]],
  [
    "appends add up",
    "ok",
    [append([1, 2], "a", "x"), append([3, 4], "a", "y"), get([5, 6], "a", "xy")],
  ],
  [
    "appends in the wrong order",
    "bad",
    [append([1, 2], "a", "x"), append([3, 4], "a", "y"), get([5, 6], "a", "yx")],
  ],
  [
    "appends at once come in any order",
    "ok",
    [append([1, 4], "a", "x"), append([2, 3], "a", "y"), get([5, 6], "a", "yx")],
  ],
  [
    "an append is lost",
    "bad",
    [append([1, 4], "a", "x"), append([2, 3], "a", "y"), get([5, 6], "a", "x")],
  ],
  ["an append counts twice", "bad", [append([1], "a", "x"), get([5, 6], "a", "xx")]],
  [
    "a put replaces",
    "ok",
    [append([1, 2], "a", "x"), put([3, 4], "a", "y"), get([5, 6], "a", "y")],
  ],
  [
    "keys do not see each other",
    "ok",
    [put([1, 2], "a", "x"), get([3, 4], "b", ""), get([5, 6], "a", "x")],
  ],
  [
    "one bad key is enough",
    "bad",
    [put([1, 2], "a", "x"), get([3, 4], "a", "x"), get([3, 4], "b", "x")],
  ],
  ["a key called like the empty text", "bad", [get([1, 2], "", "x")]],
]

test.each(maps)("map: %s: %s", (_, verdict, history) => {
  expect(checkHistory(kvModel, history).verdict).toBe(verdict)
})

test("a failure is the shortest prefix, its end and the states that were possible", () => {
  const history = [
    write([1, 2], 1),
    write([3], 2),
    read([4, 5], 1),
    read([6, 7], 9),
    read([8, 9], 8),
  ]
  const { failure } = checkHistory(registerModel, history)
  expect(failure?.last).toBe(history[3])
  expect(failure?.prefix).toEqual(history.slice(0, 4))
  expect(failure?.states.toSorted()).toEqual([1, 2])
  expect(failure?.isShortest).toBe(true)
})

test("what completes after the end of the prefix stands there without outcome", () => {
  // With all answers known nothing fits at 4: the cas is known to fail. Up to 4 it might still succeed.
  const write1 = write([1, 2], 1)
  const late = cas([2.5, 6], 1, 2, false)
  const history = [write1, late, read([3, 4], 2), read([7, 8], 2)]
  const { failure } = checkHistory(registerModel, history)
  expect(failure?.last).toBe(late)
  const other = checkHistory(registerModel, [...history.slice(0, 1), late, read([3, 4], 7)]).failure
  expect(other?.prefix[1]).toEqual({ ...late, completedAt: undefined, output: undefined })
})

test("the bad partition is named", () => {
  const { failure } = checkHistory(kvModel, [put([1, 2], "a", "x"), get([3, 4], "b", "x")])
  expect(failure?.partition).toBe("b")
})

test("a history that runs backwards is refused", () => {
  expect(() => checkHistory(registerModel, [write([2, 1], 1)])).toThrow(
    "completes at 1, invoked at 2",
  )
  expect(() => checkHistory(registerModel, [write([Number.NaN, 1], 1)])).toThrow("invoked at NaN")
})

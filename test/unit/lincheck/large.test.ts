/** Long histories and hard ones: work grows with the length, and what is too hard is given up, not endured. */
import { expect, test } from "vitest"
import { checkHistory, kvModel, registerModel } from "../../lincheck/index.ts"
import {
  append,
  cas,
  get,
  type KvEvent,
  put,
  read,
  type RegisterEvent,
  write,
} from "./histories.ts"

const keys = ["a", "b", "c"]

/** One call after the other: puts and gets in turn for each of three keys. */
function sequential(callsPerKey: number): KvEvent[] {
  return keys.flatMap((key) =>
    Array.from({ length: callsPerKey }, (_, index) => {
      const text = `${key}${index >> 1}`
      return index % 2 === 0
        ? put([index, index + 0.5], key, text)
        : get([index, index + 0.5], key, text)
    }),
  )
}

test("10,000 calls a key, one after the other, cost ten times what 1,000 cost", () => {
  const small = checkHistory(kvModel, sequential(1000))
  const large = checkHistory(kvModel, sequential(10_000))
  expect([small.verdict, large.verdict]).toEqual(["ok", "ok"])
  expect(large.work).toBeLessThan(11 * small.work)
})

function appends(calls: number): KvEvent[] {
  return Array.from({ length: calls }, (_, index) => append([index, index + 0.5], "a", `${index} `))
}

test("appends of 10,000 calls are linear too", () => {
  const small = checkHistory(kvModel, appends(1000))
  const large = checkHistory(kvModel, appends(10_000))
  expect([small.verdict, large.verdict]).toEqual(["ok", "ok"])
  expect(large.work).toBeLessThan(11 * small.work)
})

/** Writes and reads in turn, one call under way from first to last, and a lost write beside every tenth. */
function busy(calls: number): RegisterEvent[] {
  const turns = Array.from({ length: calls }, (_, index) =>
    index % 2 === 0 ? write([index, index + 0.5], index) : read([index, index + 0.5], index - 1),
  )
  const lost = Array.from({ length: calls / 10 }, (_, index) => write([index * 10], -2 - index))
  return [...turns, ...lost, write([-1, calls], -1)]
}

test("a call that lasts all the time and lost ones do not change that", () => {
  const small = checkHistory(registerModel, busy(1000))
  const large = checkHistory(registerModel, busy(10_000))
  expect([small.verdict, large.verdict]).toEqual(["ok", "ok"])
  expect(large.work).toBeLessThan(11 * small.work)
})

test("a value from nowhere is found after many lost writes", () => {
  const { verdict, failure } = checkHistory(registerModel, [...busy(2000), read([3000, 3001], 77)])
  expect(verdict).toBe("bad")
  expect(failure?.last.invokedAt).toBe(3000)
})

test("1,000 calls at once that fit in one order only", () => {
  const chain = Array.from({ length: 1000 }, (_, from) => cas([1, 3], from, from + 1, true))
  const history = [write([0, 2], 0), ...chain.toReversed(), read([4, 5], 1000)]
  expect(checkHistory(registerModel, history).verdict).toBe("ok")
})

/** As many appends at once, read afterwards: only the texts tell which order it was. */
function appendsAtOnce(count: number, text: string): KvEvent[] {
  const at = Array.from({ length: count }, (_, index) => append([0, 1], "a", `<${index}>`))
  return [...at, get([2, 3], "a", text)]
}

test("appends are ordered by what is read of them later", () => {
  const order = Array.from({ length: 200 }, (_, index) => `<${(index * 7) % 200}>`)
  expect(checkHistory(kvModel, appendsAtOnce(200, order.join(""))).verdict).toBe("ok")
  const { verdict, failure } = checkHistory(kvModel, appendsAtOnce(200, `${order.join("")}<1>`))
  expect([verdict, failure?.last.op]).toEqual(["bad", "get"])
})

/** A put at the end could hide any order of the appends: 12! of them. */
const hopeless = [...appendsAtOnce(12, "nonsense"), put([0, 3], "a", "x")]

test("what is too hard is unknown", () => {
  const workMax = 20_000
  const result = checkHistory(kvModel, hopeless, { workMax })
  expect(result.verdict).toBe("unknown")
  expect(result.failure).toBeUndefined()
  expect(result.work).toBeLessThan(workMax * 1.1)
})

test("a bad key is found beside one that is too hard", () => {
  const history = [...hopeless, put([0, 1], "b", "x"), get([2, 3], "b", "y")]
  const result = checkHistory(kvModel, history, { workMax: 20_000 })
  expect(result.verdict).toBe("bad")
  expect(result.failure?.partition).toBe("b")
})

/** For how long attempts may run on without a lease: by the host's boot-time clock, from the newest word only. */
import { expect, test } from "vitest"
import { cutOffText, Tenure } from "../../../src/keeper/tenure.ts"
import { anOrder } from "./orders.ts"

function at(now: number): { tenure: Tenure; pass: (ms: number) => void } {
  let time = now
  const pass = (ms: number): void => {
    time += ms
  }
  return { tenure: new Tenure(() => time), pass }
}

test("counted from the newest word, whatever comes after it", () => {
  const { tenure, pass } = at(10_000)
  tenure.renew(9500)
  tenure.renew(8000)
  pass(5499)
  expect(tenure.isOver(6000, 0)).toBe(false)
  pass(1)
  expect(tenure.isOver(6000, 0)).toBe(true)
  tenure.renew(15_000)
  expect(tenure.isOver(6000, 0)).toBe(false)
})

test("before any word it counts from when the attempt began here", () => {
  const { tenure, pass } = at(10_000)
  expect(tenure.isOver(6000, 10_000)).toBe(false)
  pass(6000)
  expect(tenure.isOver(6000, 10_000)).toBe(true)
})

test("nobody has a lease of the future", () => {
  const { tenure, pass } = at(10_000)
  tenure.renew(1_000_000)
  pass(6000)
  expect(tenure.isOver(6000, 0)).toBe(true)
})

test("an order that would be ended at once is refused; one that may run on anyway is not", () => {
  const { tenure, pass } = at(10_000)
  tenure.check(anOrder({ selfStopMs: 6000 }))
  tenure.renew(10_000)
  pass(6000)
  tenure.check(anOrder())
  expect(() => tenure.check(anOrder({ selfStopMs: 6000 }))).toThrow(cutOffText(6000))
})

/** Which start of a member counts, and when its log is known to be lost. */
import { expect, test } from "vitest"
import { bootCount, Boots, bootTag, isOutdated } from "../../../src/node/boots.ts"

const first = bootTag("6-00001aaa")
const second = bootTag("7-00002bbb")
const twin = bootTag("7-00003ccc")

test("a boot's tag holds its count and sorts two starts of one disk", () => {
  expect(bootCount(second)).toBe(7)
  expect(Number.isSafeInteger(bootTag("999999999-fffff"))).toBe(true)
  for (const text of [undefined, "", "boot", "12345678-1234-4abc-8def-123456789abc"]) {
    expect(bootTag(text)).toBe(0)
  }
})

test.each([
  ["an earlier start is outdated", first, second, true],
  ["a later one is not", second, first, false],
  ["the same one is not", second, second, false],
  ["of two starts with one count the one that came second is", twin, second, true],
  ["who says nothing is not judged", 0, second, false],
  ["nothing is known: all is well", first, 0, false],
])("B-25: %s", (_, tag, known, expected) => {
  expect(isOutdated(tag, known)).toBe(expected)
})

test("B-25: what was heard and what the session says both count", () => {
  const boots = new Boots()
  expect(boots.refusal(3, second, undefined)).toBeUndefined()
  expect(boots.refusal(3, first, undefined)).toMatch(/start 6 .* start 7/)
  expect(boots.refusal(4, first, "7-00002bbb")).toMatch(/older copy/)
  expect(boots.refusal(4, second, "7-00002bbb")).toBeUndefined()
  expect(boots.refusal(4, second, "6-00001aaa")).toBeUndefined()
  // All of a cluster start again: each is newer than what the sessions say.
  const fresh = new Boots()
  for (const id of [1, 2, 3]) {
    expect(fresh.refusal(id, bootTag("8-00009"), "7-00002bbb")).toBeUndefined()
  }
})

test("a log is lost when another start of the same term refuses below what was acknowledged", () => {
  const boots = new Boots()
  boots.acknowledged(3, { term: 5, boot: first, index: 100 })
  boots.acknowledged(3, { term: 5, boot: first, index: 90 })
  // A refusal of the same start may be older than the acknowledgement.
  expect(boots.lost(3, { term: 5, boot: first, index: 60 })).toBeUndefined()
  expect(boots.lost(3, { term: 6, boot: second, index: 60 })).toBeUndefined()
  expect(boots.lost(3, { term: 5, boot: second, index: 100 })).toBeUndefined()
  expect(boots.lost(3, { term: 5, boot: 0, index: 60 })).toBeUndefined()
  expect(boots.lost(3, { term: 5, boot: second, index: 60 })).toBe(
    "its log ends at 60, it had acknowledged 100",
  )
  expect(boots.lost(4, { term: 5, boot: second, index: 60 })).toBeUndefined()
})

test("a member is told once a second", () => {
  const boots = new Boots()
  expect([0, 10, 999, 1000, 1500, 2000].map((now) => boots.mayTell(3, now))).toEqual([
    true,
    false,
    false,
    true,
    false,
    true,
  ])
})

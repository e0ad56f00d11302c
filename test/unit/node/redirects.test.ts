/** Ways of clusters: dissolved into others, recovered by hand. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { redirectsOf, wayTo } from "../../../src/node/redirects.ts"
import { incarnationOf, nextIncarnation } from "../../../src/schema/index.ts"

test("a recovery's id counts on, and two of one cluster differ", () => {
  const first = nextIncarnation("c0", "0000000a")
  expect([incarnationOf("c0"), incarnationOf(first)]).toEqual([0, 1])
  const second = nextIncarnation(first, "0000000b")
  expect(second).toBe("c0-2-0000000b")
  expect(nextIncarnation("c0", "0000000c")).not.toBe(first)
})

test("the way leads along the chain, and names its first step", () => {
  const redirects = [
    { from: "b", into: "c", index: 9 },
    { from: "a", into: "b" },
  ]
  expect(wayTo(redirects, "a", "c")).toEqual({ from: "a", into: "b" })
  expect(wayTo(redirects, "b", "c")).toEqual({ from: "b", into: "c", index: 9 })
  expect(wayTo(redirects, "c", "a")).toBeUndefined()
})

test("whatever redirects say, a way ends: no circle holds anybody", () => {
  const name = fc.constantFrom("a", "b", "c", "d", "e")
  const redirect = fc.record({ from: name, into: name })
  fc.assert(
    fc.property(fc.array(redirect, { maxLength: 12 }), name, name, (redirects, from, into) => {
      const way = wayTo(redirects, from, into)
      if (way) expect(redirects).toContainEqual(way)
    }),
  )
})

test("a node tells its own way and the recoveries of its cluster, each once", () => {
  const own = [
    { from: "x", into: "c0" },
    { from: "c0", into: "other", index: 1 },
  ]
  const earlier = [
    { clusterId: "c0", index: 5 },
    { clusterId: "c0-1-0000000a", index: 8 },
  ]
  expect(redirectsOf(own, { clusterId: "c0-2-0000000b", earlier })).toEqual([
    { from: "x", into: "c0" },
    { from: "c0", into: "c0-1-0000000a", index: 5 },
    { from: "c0-1-0000000a", into: "c0-2-0000000b", index: 8 },
  ])
})

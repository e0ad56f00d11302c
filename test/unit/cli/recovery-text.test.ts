/** When `cluster recover` refuses, and what it says may be lost. */
import { expect, test } from "vitest"
import {
  consequences,
  type Copy,
  isAhead,
  refusalOf,
  sortOut,
} from "../../../src/cli/recovery-text.ts"

function copy(node: string, fields: Partial<Copy> = {}): Copy {
  return {
    node,
    where: `/data/${node}`,
    clusterId: "c0",
    term: 4,
    lastTerm: 4,
    lastIndex: 100,
    commit: 100,
    ...fields,
  }
}

test("of two logs the one with the newer term has more, then the longer one", () => {
  expect(isAhead(copy("a", { lastTerm: 5, lastIndex: 1 }), copy("b"))).toBe(true)
  expect(isAhead(copy("a", { lastIndex: 101 }), copy("b"))).toBe(true)
  expect(isAhead(copy("a"), copy("b"))).toBe(false)
  // The term that a node has voted in says nothing of its log.
  expect(isAhead(copy("a", { term: 9 }), copy("b"))).toBe(false)
})

test.each<[string, Copy[], boolean, RegExp | undefined]>([
  ["nobody answers", [], false, undefined],
  ["others have as much, or less", [copy("b"), copy("c", { lastIndex: 3 })], false, undefined],
  ["another has more: that one is named", [copy("b", { lastIndex: 101 })], false, /^b has more/],
  [
    "of several the one with most",
    [copy("b", { lastIndex: 101 }), copy("c", { lastTerm: 5 })],
    false,
    /^c has more/,
  ],
  ["somebody gives that up in so many words", [copy("b", { lastIndex: 101 })], true, undefined],
  ["one of them follows a leader", [copy("b", { leader: "c" })], false, /the cluster works/],
  ["which no word overrules", [copy("b", { leader: "c" })], true, /the cluster works/],
  [
    "one was recovered before",
    [copy("b", { clusterId: "c0-1-0000000a" })],
    true,
    /recovered already/,
  ],
])("%s", (_title, others, loseNewer, refusal) => {
  const found = refusalOf(copy("a"), others, loseNewer)
  if (refusal === undefined) expect(found).toBeUndefined()
  else expect(found?.reason).toMatch(refusal)
})

test("the only voter is not recovered: it leads when it is started", () => {
  const refusal = refusalOf(copy("a", { isOnlyVoter: true }), [], true)
  expect(refusal?.reason).toContain("needs no recovery")
  expect(refusal?.remedy).toContain("start it")
})

test("whoever has shown a copy is not missed at another address of its", () => {
  const own = copy("a")
  const silent = (node?: string) => ({ where: `http://${node}`, reason: "no answer", node })
  const { others, unreached } = sortOut(
    [silent("b"), silent("c"), silent(), silent("a"), copy("b"), copy("a")],
    own,
  )
  expect(others.map(({ node }) => node)).toEqual(["b"])
  expect(unreached.map(({ node }) => node)).toEqual(["c", undefined])
})

test("who runs and follows a leader says so, whatever its files said", () => {
  const live = copy("b", { leader: "c" })
  expect(sortOut([live, copy("b")], copy("a")).others).toEqual([live])
  expect(sortOut([copy("b"), live], copy("a")).others).toEqual([live])
})

test("who answered that it has nothing leaves no doubt", () => {
  const worker = { where: "http://w", reason: "w has no copy of the log", hasNothing: true }
  const text = consequences(copy("a"), { others: [], unreached: [worker] }).join("\n")
  expect(text).not.toContain("Nobody knows")
})

test("what may be lost is said: what others have, what nobody knows, what was not yet accepted", () => {
  const own = copy("a", { commit: 90 })
  const unreached = [{ where: "http://10.0.0.3:8770", reason: "does not answer" }]
  const text = consequences(own, { others: [copy("b", { lastIndex: 107 })], unreached }).join("\n")
  expect(text).toContain("Entries 91 to 100")
  expect(text).toMatch(/What b has .* LOST: entries up to 107/)
  expect(text).toContain("Nobody knows")
  const calm = consequences(copy("a"), { others: [copy("b")], unreached: [] }).join("\n")
  expect(calm).not.toMatch(/LOST|Nobody knows|perhaps/)
})

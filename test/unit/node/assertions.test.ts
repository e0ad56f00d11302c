/** Assertions stay on in production: a broken invariant ends the process rather than going on with it (C-49). */
import { expect, test } from "vitest"
import type { Entry } from "../../../src/consensus/index.ts"
import { openReplica, voters } from "./one-replica.ts"

function entry(index: number, term: number): Entry {
  return { index, term, type: "EntryNormal", data: new Uint8Array(0) }
}

test("C-49: a leader of rolled-back disks ends this node with 70, which answers nothing and says why", async () => {
  const one = await openReplica({ memberId: 2, confState: voters(1, 2, 3) })
  const entries = [entry(2, 2), entry(3, 2), entry(4, 2)]
  const append = { type: "MsgApp", to: 2, index: 1, logTerm: 1 } as const
  one.hear({ ...append, from: 1, term: 2, entries, commit: 4 })
  await one.clock.pass(100)
  expect(one.replica.applied.index).toBe(4)
  const before = one.sent.length
  // 3 was elected by disks that forgot 3 and 4.
  one.hear({ ...append, from: 3, term: 3, entries: [entry(2, 2), entry(3, 3)], commit: 2 })
  one.hear({ type: "MsgVote", to: 2, from: 1, term: 4, index: 50, logTerm: 4 })
  await one.clock.pass(5000)
  expect(one.fatal.map(({ code }) => code)).toEqual([70])
  expect(one.fatal[0]?.error.message).toMatch(
    /^leader 3 of term 3 has another entry at 3 .* the disks of a majority were rolled back/,
  )
  expect(one.sent.slice(before)).toEqual([])
})

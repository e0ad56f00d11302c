/** Without a leader a node says what it knows and no more, and never begins with the last resort. */
import { expect, test } from "vitest"
import { Hearing } from "../../../src/node/health-hearing.ts"
import { leaderlessProblems, type VoterSeen } from "../../../src/node/health-leaderless.ts"
import { Returning } from "../../../src/node/health-returning.ts"

const here = (name: string): VoterSeen => ({
  name,
  answers: true,
  silentMs: 0,
  isReturning: false,
})
const away = (name: string, silentMs?: number): VoterSeen => ({
  name,
  answers: false,
  silentMs,
  isReturning: false,
})
const back = (name: string): VoterSeen => ({ ...here(name), isReturning: true })

test("most voters are in reach: an election", () => {
  expect(leaderlessProblems("n2", [here("n2"), here("n3"), away("n1", 4000)])).toEqual([
    "no leader answers, though 2 of 3 voters are in reach: an election is under way",
  ])
})

test("nobody answers this node: since when, and recovery is the last thing to think of", () => {
  const [text = "", ...more] = leaderlessProblems("n2", [here("n2"), away("n3", 5600), away("n1")])
  expect(more).toEqual([])
  expect(text).toMatch(
    /^n3 \(silent for 6 s\) and n1 \(not heard since this node started\) do not answer n2; 2 of 3 voters must, 1 does\./,
  )
  expect(text).not.toContain("majority is lost")
  expect(text.indexOf("network")).toBeGreaterThan(0)
  expect(text.indexOf("only if their disks are gone for good: 'troupe cluster recover")).toBe(
    text.lastIndexOf("only if"),
  )
  expect(text.indexOf("recover")).toBeGreaterThan(text.indexOf("network"))
})

test("a voter that has lost its log is no election: the missing ones are named", () => {
  const problems = leaderlessProblems("n2", [here("n2"), back("n3"), away("n1", 9000)])
  expect(problems[0]).toBe(
    "n3 has lost its log and asks to come back as a new member, which takes a leader: start n1",
  )
  expect(problems[1]).toMatch(
    /^n1 \(silent for 9 s\) does not answer n2; 2 of 3 voters must, 1 does/,
  )
  expect(problems.join("\n")).not.toContain("election")
})

test("too many have lost their logs, nobody is missing: only a recovery is left", () => {
  const problems = leaderlessProblems("n2", [here("n2"), back("n3"), back("n1")])
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatch(/^n3 and n1 have lost their logs .*cluster recover/)
})

test("silence counts from what was last heard, else from the end of the connection", () => {
  const hearing = new Hearing()
  expect(hearing.silentMs("a", 5)).toBeUndefined()
  hearing.heard("a", 1000)
  // A cut way: the mesh notices six seconds later.
  hearing.lost("a", 7000, false)
  expect(hearing.silentMs("a", 9000)).toBe(8000)
  // Followers say nothing to each other for hours; their connection is their word.
  hearing.lost("a", 100_000, false)
  expect(hearing.silentMs("a", 103_000)).toBe(3000)
  hearing.lost("b", 100_000, false)
  expect(hearing.silentMs("b", 100_500)).toBe(500)
  // Its process was there until it was killed, whatever it said last.
  hearing.heard("b", 101_000)
  hearing.lost("b", 105_000, true)
  expect(hearing.silentMs("b", 105_200)).toBe(200)
})

test("who asks to come back is known until it is granted, or it asks no more", async () => {
  const returning = new Returning()
  const ask = (answer: string, now: number) =>
    returning.during("a", () => now, {
      ask: async () => answer,
      granted: (word) => word === "admitted",
    })
  await ask("refused", 1000)
  expect([...returning.peers(2000)]).toEqual(["a"])
  expect([...returning.peers(60_000)]).toEqual([])
  await ask("refused", 61_000)
  await ask("admitted", 62_000)
  expect([...returning.peers(62_001)]).toEqual([])
})

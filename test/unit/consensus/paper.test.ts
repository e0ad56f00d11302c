/** Figure 2 of the Raft paper, line by line: §5.1 to §5.4. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { MessageType } from "../../../src/consensus/index.ts"
import { SeededRandom } from "../../support/random.ts"
import { entry, exchange, Member } from "./member.ts"

const append = { type: "MsgApp", index: 1, logTerm: 1 } as const

function inState(state: "follower" | "candidate" | "leader"): Member {
  const member = new Member(1)
  if (state === "leader") return member.lead()
  if (state === "candidate") {
    member.raft.campaign()
    return member.settle()
  }
  return member.step({ type: "MsgHeartbeat", from: 2, term: 1 })
}

test.each(["follower", "candidate", "leader"] as const)(
  "§5.1, C-06: a %s that hears of a newer term enters it and follows",
  (state) => {
    const member = inState(state).step({ ...append, from: 3, term: 2 })
    expect(member.raft.status()).toMatchObject({ raftState: "StateFollower", term: 2, lead: 3 })
  },
)

test.each(["follower", "candidate", "leader"] as const)(
  "§5.1, C-06: a %s takes nothing of an older term",
  (state) => {
    const member = inState(state).tick(0)
    const before = { ...member.raft.status(), terms: member.terms() }
    // Term 1 is theirs; 0 would mean that the message has none.
    const newer = member.step({ ...append, from: 3, term: 2 }).raft.status().term
    const types: MessageType[] = ["MsgApp", "MsgHeartbeat", "MsgVote", "MsgVoteResp", "MsgAppResp"]
    for (const type of types) {
      member.step({ type, from: 2, term: 1, index: 1, logTerm: 1, entries: [entry(2, 1, "old")] })
    }
    expect(member.raft.status()).toMatchObject({ term: newer, lead: 3, commit: before.commit })
    expect(member.terms()).toEqual(before.terms)
  },
)

test("§5.2: a member starts as follower", () => {
  expect(new Member(1).raft.status()).toMatchObject({
    raftState: "StateFollower",
    term: 0,
    lead: 0,
  })
})

test("§5.2: a leader sends heartbeats at its interval, to all others", () => {
  const leader = new Member(1, { config: { heartbeatTicks: 3 } }).lead().acknowledge(2)
  leader.take()
  expect(leader.tick(2).take("MsgHeartbeat")).toEqual([])
  expect(
    leader
      .tick(1)
      .take("MsgHeartbeat")
      .map(({ to }) => to),
  ).toEqual([2, 3])
})

test.each(["follower", "candidate"] as const)(
  "§5.2: a %s that hears nobody begins a term, votes for itself and asks all others",
  (state) => {
    const member = inState(state)
    const { term } = member.raft.status()
    member.take()
    member.tick(10)
    expect(member.raft.status()).toMatchObject({
      raftState: "StateCandidate",
      term: term + 1,
      vote: 1,
    })
    expect(member.take("MsgVote")).toMatchObject([
      { to: 2, term: term + 1, index: 1, logTerm: 1 },
      { to: 3, term: term + 1, index: 1, logTerm: 1 },
    ])
  },
)

test.each([
  { size: 1, votes: [], state: "StateLeader" },
  { size: 3, votes: [true], state: "StateLeader" },
  { size: 3, votes: [true, false], state: "StateLeader" },
  { size: 3, votes: [false], state: "StateCandidate" },
  { size: 3, votes: [false, false], state: "StateFollower" },
  { size: 5, votes: [true], state: "StateCandidate" },
  { size: 5, votes: [true, true], state: "StateLeader" },
  { size: 5, votes: [true, false, false], state: "StateCandidate" },
  { size: 5, votes: [false, false, false], state: "StateFollower" },
  { size: 5, votes: [false, false, true, true], state: "StateLeader" },
])("§5.2: of $size voters, answered $votes: $state", ({ size, votes, state }) => {
  const voters = Array.from({ length: size }, (_, place) => place + 1)
  const member = new Member(1, { voters })
  member.raft.campaign()
  member.settle()
  for (const [place, granted] of votes.entries()) {
    if (member.raft.status().raftState !== "StateCandidate") break
    member.step({ type: "MsgVoteResp", from: place + 2, term: 1, reject: !granted })
  }
  expect(member.raft.status().raftState).toBe(state)
})

test.each([
  { vote: 0, from: 2, granted: true },
  { vote: 2, from: 2, granted: true },
  { vote: 3, from: 2, granted: false },
])("§5.2, C-01: who voted for $vote answers $from: $granted", ({ vote, from, granted }) => {
  const member = new Member(1, { hardState: { term: 1, vote, commit: 1 } })
  member.step({ type: "MsgVote", from, term: 1, index: 1, logTerm: 1 })
  expect(member.take("MsgVoteResp")[0]?.reject ?? false).toBe(!granted)
})

test.each(["MsgApp", "MsgHeartbeat"] as const)(
  "§5.2: a candidate that gets a %s of its term yields",
  (type) => {
    const member = inState("candidate").step({ type, from: 2, term: 1, index: 1, logTerm: 1 })
    expect(member.raft.status()).toMatchObject({
      raftState: "StateFollower",
      term: 1,
      lead: 2,
      vote: 1,
    })
  },
)

/** How many ticks until this member campaigns. */
function patience(member: Member): number {
  const { term } = member.raft.status()
  for (let ticks = 1; ticks < 100; ticks++) {
    if (member.tick(1).raft.status().term > term) return ticks
  }
  throw new Error("it never campaigns")
}

test("§5.2, C-07: timeouts are spread over one to two election timeouts, for followers and candidates alike", () => {
  const random = new SeededRandom(1)
  const follower = new Set<number>()
  const candidate = new Set<number>()
  for (let drawn = 0; drawn < 400; drawn++) {
    const member = new Member(1, { config: { random: () => random.next() } })
    follower.add(patience(member))
    candidate.add(patience(member))
  }
  const all = new Set(Array.from({ length: 10 }, (_, place) => place + 10))
  expect(follower).toEqual(all)
  expect(candidate).toEqual(all)
})

test("§5.2, C-07: members rarely lose patience together", () => {
  const random = new SeededRandom(2)
  const rounds = 400
  let together = 0
  for (let round = 0; round < rounds; round++) {
    const ticks = [1, 2, 3].map((id) =>
      patience(new Member(id, { config: { random: () => random.next() } })),
    )
    const first = Math.min(...ticks)
    if (ticks.filter((count) => count === first).length > 1) together++
  }
  // Of three draws out of ten, two are the least in 28.5 % of all cases.
  expect(together / rounds).toBeLessThan(0.35)
})

test("§5.3: a proposal goes to all others at once, with what is before it; it is not committed yet", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.acknowledge(3).take()
  leader.propose("x")
  expect(leader.take("MsgApp")).toMatchObject([
    { to: 2, index: 2, logTerm: 1, commit: 2, entries: [{ index: 3, term: 1 }] },
    { to: 3, index: 2, logTerm: 1, commit: 2, entries: [{ index: 3, term: 1 }] },
  ])
  expect(leader.raft.status().commit).toBe(2)
})

test("C-20: what is proposed together travels in one message to each, and in one write", () => {
  const leader = new Member(1).lead().acknowledge(2)
  leader.acknowledge(3).take()
  leader.holdsWrites = true
  leader.raft.propose([1, 2, 3].map((byte) => new Uint8Array([byte])))
  leader.settle()
  expect(leader.take("MsgApp").map(({ entries }) => entries?.length)).toEqual([3, 3])
  expect(leader.held.map(({ entries }) => entries?.length)).toEqual([3])
})

test.each([
  { size: 1, holders: 0, committed: true },
  { size: 3, holders: 0, committed: false },
  { size: 3, holders: 1, committed: true },
  { size: 5, holders: 1, committed: false },
  { size: 5, holders: 2, committed: true },
  { size: 5, holders: 4, committed: true },
])(
  "§5.3: of $size, $holders others hold it: committed $committed",
  ({ size, holders, committed }) => {
    const voters = Array.from({ length: size }, (_, place) => place + 1)
    const others = voters.slice(1)
    const leader = new Member(1, { voters }).lead(others)
    for (const id of others) leader.acknowledge(id)
    leader.propose("x")
    for (const id of others.slice(0, holders)) leader.acknowledge(id)
    expect(leader.raft.status().commit).toBe(committed ? 3 : 2)
    expect(leader.applied.map(({ index }) => index)).toEqual(committed ? [2, 3] : [2])
  },
)

test.each([[[]], [[2]], [[1, 2]], [[1]]])(
  "§5.3: with an entry all those before it are committed, also of other leaders: terms %j",
  (terms) => {
    const leader = new Member(1, { terms, hardState: { term: 2, vote: 0, commit: 1 } }).lead()
    leader.propose("x")
    leader.acknowledge(2)
    expect(leader.applied.map(({ term }) => term)).toEqual([...terms, 3, 3])
  },
)

test("§5.3: a follower applies in order what its leader says is committed", () => {
  const member = new Member(1)
  const entries = [entry(2, 1, "a"), entry(3, 1, "b"), entry(4, 1, "c")]
  member.step({ ...append, from: 2, term: 1, entries, commit: 3 })
  expect(member.applied.map(({ index }) => index)).toEqual([2, 3])
  member.step({ type: "MsgHeartbeat", from: 2, term: 1, commit: 4 })
  expect(member.applied.map(({ index }) => index)).toEqual([2, 3, 4])
})

test.each([
  { previous: [1, 1], accepted: true, why: "the beginning" },
  { previous: [3, 2], accepted: true, why: "its last entry" },
  { previous: [2, 1], accepted: true, why: "an entry in the middle" },
  { previous: [3, 1], accepted: false, why: "another term at that index" },
  { previous: [4, 2], accepted: false, why: "an entry that it lacks" },
])(
  "§5.3: an append after $why: accepted $accepted",
  ({ previous: [index = 0, logTerm = 0], accepted }) => {
    const member = new Member(1, { terms: [1, 2], hardState: { term: 2, vote: 0, commit: 1 } })
    member.step({ type: "MsgApp", from: 2, term: 3, index, logTerm })
    const [answer] = member.take("MsgAppResp")
    expect(answer).toMatchObject({ index })
    expect(answer?.reject ?? false).toBe(!accepted)
  },
)

test.each([
  { index: 3, logTerm: 2, sent: [3], want: [1, 2, 3] },
  { index: 2, logTerm: 1, sent: [3, 4], want: [1, 3, 4] },
  { index: 1, logTerm: 1, sent: [1], want: [1, 2] },
  { index: 1, logTerm: 1, sent: [3], want: [3] },
])("§5.3, C-13: a log of terms 1 2 takes $sent after $index", ({ index, logTerm, sent, want }) => {
  const member = new Member(1, { terms: [1, 2], hardState: { term: 2, vote: 0, commit: 1 } })
  const entries = sent.map((term, place) => entry(index + 1 + place, term))
  member.step({ type: "MsgApp", from: 2, term: 4, index, logTerm, entries })
  expect(member.terms()).toEqual(want)
})

/** Figure 7: the leader of term 8, and followers that lack entries, have more, or both. */
const leaderTerms = [1, 1, 4, 4, 5, 5, 6, 6, 6]
test.each([
  { why: "a: lacks the last", terms: [1, 1, 4, 4, 5, 5, 6, 6] },
  { why: "b: lacks most", terms: [1, 1, 4] },
  { why: "c: has one more", terms: [1, 1, 4, 4, 5, 5, 6, 6, 6, 6] },
  { why: "d: has a later term", terms: [1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7] },
  { why: "e: has more of an old term", terms: [1, 1, 4, 4, 4, 4] },
  { why: "f: has other terms", terms: [1, 1, 2, 2, 2, 3, 3, 3, 3, 3] },
])("figure 7, $why: the follower's log becomes the leader's", ({ terms }) => {
  const hardState = { term: 7, vote: 0, commit: 1 }
  const leader = new Member(1, { terms: leaderTerms, hardState })
  const follower = new Member(2, { terms, hardState })
  leader.lead([3])
  leader.propose("x")
  exchange([leader, follower])
  expect(follower.terms()).toEqual([...leaderTerms, 8, 8])
  expect(follower.raft.status().commit).toBe(leaderTerms.length + 3)
})

test("§5.4.2, C-11: whatever the logs and whoever holds them, counting commits entries of the own term only", () => {
  const terms = fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 6 })
  fc.assert(
    fc.property(terms, fc.nat(8), (drawn, held) => {
      const old = drawn.toSorted((left, right) => left - right)
      const leader = new Member(1, {
        terms: old,
        hardState: { term: 3, vote: 0, commit: 1 },
      }).lead()
      const own = leader.raft.status().lastIndex
      const index = Math.min(1 + held, own)
      leader.acknowledge(2, index)
      expect(leader.raft.status().commit).toBe(index === own ? own : 1)
    }),
  )
})

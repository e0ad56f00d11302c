/** Which members should vote, one step at a time. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import type { ConfState, RaftStatus } from "../../../src/consensus/index.ts"
import {
  type AutopilotInput,
  findGhosts,
  planHandover,
  planVoters,
  type VoterChange,
} from "../../../src/node/autopilot.ts"
import { timingFrom } from "../../../src/node/index.ts"
import type { Member } from "../../../src/schema/index.ts"
import { aDeclaration } from "../../support/plans.ts"

const timing = timingFrom({ tickMs: 25, heartbeatMs: 100, electionMinMs: 500 })
const now = 1_000_000

interface Seen {
  readonly id: number
  /** voter, standby, worker: what the configuration says of it. */
  readonly is: Member["role"]
  /** ms since it was heard; 0: it answers. */
  readonly silent?: number
  /** ms that it has answered without a gap. */
  readonly steady?: number
  /** Entries that it lacks. */
  readonly lags?: number
  readonly never?: boolean
  readonly name?: string
  readonly address?: string
  readonly zone?: string
  /** Nobody has asked it yet. */
  readonly unknown?: boolean
}

function input(seen: readonly Seen[], joint: readonly number[] = []): AutopilotInput {
  const ids = (role: Member["role"]): number[] =>
    seen.filter(({ is }) => is === role).map(({ id }) => id)
  const confState: ConfState = {
    voters: ids("voter"),
    learners: ids("standby"),
    votersOutgoing: joint,
    learnersNext: [],
    autoLeave: joint.length > 0,
  }
  const status: RaftStatus = {
    id: 1,
    raftState: "StateLeader",
    lead: 1,
    term: 3,
    vote: 1,
    commit: 5000,
    applied: 5000,
    lastIndex: 5000,
    leadTransferee: 0,
    confState,
    progress: seen
      .filter(({ is }) => is !== "worker")
      .map(({ id, is, lags = 0 }) => ({
        id,
        match: 5000 - lags,
        next: 5001,
        state: "StateReplicate",
        paused: false,
        recentActive: true,
        isLearner: is === "standby",
        diverged: false,
        pendingSnapshot: 0,
        inflight: 0,
      })),
  }
  const members = seen.map(({ id, is, never, name, address, zone }) => ({
    id,
    role: is,
    ...aDeclaration({
      name: name ?? `n${id}`,
      peerId: `peer-${id}`,
      voter: never ? "never" : "auto",
      ...(zone !== undefined && { labels: { zone } }),
      addresses: [address ?? `/ip4/10.0.0.${id}/tcp/8771`],
    }),
  }))
  const contacts = new Map(
    seen
      .filter(({ unknown }) => !unknown)
      .map(({ id, silent = 0, steady = 60_000 }) => [
        id,
        { answered: silent === 0, heardAt: now - silent, steadySince: now - steady },
      ]),
  )
  return { now, self: 1, timing, members, contacts, status }
}

/** `+4 *5 -2`: 4 becomes a voter, 5 a standby, 2 goes. */
function steps(change: VoterChange | undefined): string {
  const signs = {
    ConfChangeAddNode: "+",
    ConfChangeAddLearnerNode: "*",
    ConfChangeRemoveNode: "-",
    ConfChangeUpdateNode: "?",
  }
  return (change?.confChange.changes ?? []).map(({ type, id }) => `${signs[type]}${id}`).join(" ")
}

const voter = (id: number, more: Partial<Seen> = {}): Seen => ({ id, is: "voter", ...more })
const standby = (id: number, more: Partial<Seen> = {}): Seen => ({ id, is: "standby", ...more })
const worker = (id: number, more: Partial<Seen> = {}): Seen => ({ id, is: "worker", ...more })
const minutes = 5 * 60_000

test.each<[string, Seen[], string]>([
  ["one node rests", [voter(1)], ""],
  ["the second becomes a standby", [voter(1), worker(2)], "*2"],
  ["two nodes rest with a standby", [voter(1), standby(2)], ""],
  ["the third becomes a standby beside it", [voter(1), standby(2), worker(3)], "*3"],
  ["two at once, the longest-standing first", [voter(1), worker(9), worker(4), worker(6)], "*4 *6"],
  ["one to three in one change", [voter(1), standby(2), standby(3)], "+2 +3"],
  ["not while one lags", [voter(1), standby(2), standby(3, { lags: 101 })], ""],
  ["a small lag does not matter", [voter(1), standby(2), standby(3, { lags: 100 })], "+2 +3"],
  ["not while one is new", [voter(1), standby(2), standby(3, { steady: 999 })], ""],
  ["not while one is silent", [voter(1), standby(2), standby(3, { silent: 200 })], ""],
  ["who does not answer is no standby", [voter(1), worker(2, { silent: 200 })], ""],
  ["nor who was never asked", [voter(1), worker(2, { unknown: true })], ""],
  ["`voter never` stays a worker", [voter(1), worker(2, { never: true }), worker(3)], "*3"],
  ["`voter never` alone changes nothing", [voter(1), worker(2, { never: true })], ""],
  ["three rest, whoever works beside", [voter(1), voter(2), voter(3), worker(4), worker(5)], ""],
  ["six have three", [voter(1), voter(2), voter(3), ...[4, 5, 6].map((id) => worker(id))], ""],
  [
    "seven have five: first two standbys",
    [voter(1), voter(2), voter(3), ...[4, 5, 6, 7].map((id) => worker(id))],
    "*4 *5",
  ],
  [
    "then both at once",
    [voter(1), voter(2), voter(3), standby(4), standby(5), worker(6), worker(7)],
    "+4 +5",
  ],
  [
    "of seven one that never votes makes six",
    [
      voter(1),
      voter(2),
      voter(3),
      ...[4, 5, 6].map((id) => worker(id)),
      worker(7, { never: true }),
    ],
    "",
  ],
  [
    "a silent standby gives its place to who answers",
    [voter(1), standby(2), standby(3, { silent: timing.sessionMs }), worker(4)],
    "*4 -3",
  ],
  [
    "so does one that will not vote any more",
    [voter(1), standby(2), standby(3, { never: true }), worker(4)],
    "*4 -3",
  ],
  [
    "not at its first missed answer",
    [voter(1), standby(2), standby(3, { silent: timing.sessionMs - 1 }), worker(4)],
    "",
  ],
  [
    "nor where nobody can take its place",
    [voter(1), standby(2), standby(3, { silent: minutes }), worker(4, { never: true })],
    "",
  ],
  [
    "a voter that is silent for a while keeps its place",
    [voter(1), voter(2), voter(3, { silent: minutes - 1 }), worker(4)],
    "",
  ],
  [
    "after minutes a standby is made",
    [voter(1), voter(2), voter(3, { silent: minutes }), worker(4)],
    "*4",
  ],
  [
    "which takes its place in one change",
    [voter(1), voter(2), voter(3, { silent: minutes }), standby(4)],
    "+4 -3",
  ],
  [
    "once it is caught up",
    [voter(1), voter(2), voter(3, { silent: minutes }), standby(4, { lags: 3000 })],
    "",
  ],
  [
    "nobody to replace it: nothing shrinks",
    [voter(1), voter(2), voter(3, { silent: minutes })],
    "",
  ],
  [
    "nothing is changed without most voters",
    [voter(1), voter(2, { silent: minutes }), voter(3, { silent: minutes }), standby(4)],
    "",
  ],
  [
    "a wiped voter is replaced as soon as its session is over",
    [
      voter(1),
      voter(2),
      voter(3, { silent: timing.sessionMs }),
      worker(9, { name: "n3", address: "/ip4/10.0.0.3/tcp/8771" }),
    ],
    "*9",
  ],
  [
    "another node of that name elsewhere is no sign of that",
    [voter(1), voter(2), voter(3, { silent: timing.sessionMs }), worker(9, { name: "n3" })],
    "",
  ],
  [
    "a dead standby that nobody needs is dropped",
    [voter(1), voter(2), voter(3), standby(4, { silent: minutes })],
    "-4",
  ],
  ["two that vote become three as soon as one is ready", [voter(1), voter(2), standby(3)], "+3"],
  ["or one, if nobody else comes", [voter(1), voter(2)], "*2"],
  [
    "four become five",
    [voter(1), voter(2), voter(3), voter(4), standby(5), ...[6, 7].map((id) => worker(id))],
    "+5",
  ],
  [
    "or three, without who is silent",
    [voter(1), voter(2), voter(3), voter(4, { silent: 300 })],
    "-4",
  ],
  [
    "a voter that will not vote any more gives its place",
    [voter(1), voter(2), voter(3, { never: true }), standby(4)],
    "+4 -3",
  ],
  ["but not to nobody", [voter(1), voter(2), voter(3, { never: true })], ""],
  [
    "standbys come from other hosts first",
    [
      voter(1, { address: "/ip4/10.0.0.1/tcp/1" }),
      worker(2, { address: "/ip4/10.0.0.1/tcp/2" }),
      worker(3, { address: "/ip4/10.0.0.1/tcp/3" }),
      worker(4),
      worker(5),
    ],
    "*4 *5",
  ],
  [
    "and from other zones, whatever their hosts",
    [
      voter(1, { zone: "a" }),
      worker(2, { zone: "a" }),
      worker(3, { zone: "b" }),
      worker(4, { zone: "b" }),
      worker(5, { zone: "c" }),
    ],
    "*3 *5",
  ],
  [
    "no change lowers what can be lost: a standby that is caught up but silent again waits",
    [voter(1), voter(2), voter(3, { silent: minutes }), standby(4, { silent: 300 })],
    "",
  ],
  [
    "nor does a leader that is no voter itself demote the only two: nobody would be left to vote",
    [worker(1, { unknown: true }), voter(2), voter(3)],
    "",
  ],
])("%s", (_title, seen, expected) => {
  expect(steps(planVoters(input(seen)))).toBe(expected)
})

test.each<[string, Seen[], number, string]>([
  ["a worker needs no change", [voter(1), worker(2)], 2, ""],
  ["a standby just goes", [voter(1), standby(2)], 2, "-2"],
  ["a standby takes a voter's place", [voter(1), voter(2), voter(3), standby(4)], 2, "+4 -2"],
  ["which is made first", [voter(1), voter(2), voter(3), worker(4)], 2, "*4"],
  ["and waited for", [voter(1), voter(2), voter(3), standby(4, { lags: 500 })], 2, ""],
  ["without one, three become one and a standby", [voter(1), voter(2), voter(3)], 2, "*3 -2"],
  [
    "five become three, who is silent stays a standby",
    [voter(1), voter(2), voter(3), voter(4, { silent: 300 }), voter(5)],
    2,
    "*4 -2",
  ],
  ["the leader does not take itself out", [voter(1), voter(2), voter(3)], 1, ""],
  ["the one of two goes", [voter(1), voter(2)], 2, "-2"],
])("taken out: %s", (_title, seen, leaving, expected) => {
  const retiring = new Map([[leaving, now + 1000]])
  expect(steps(planVoters({ ...input(seen), retiring }))).toBe(expected)
})

test("a standby that does not catch up in time is not waited for", () => {
  const seen = [voter(1), voter(2), voter(3), standby(4, { lags: 500 })]
  const plan = planVoters({ ...input(seen), retiring: new Map([[2, now]]) })
  expect(steps(plan)).toBe("*3 -2")
})

test("a leader that is not to vote hands over to the voter that has most", () => {
  const able = [voter(1, { never: true }), voter(2, { lags: 5 }), voter(3), voter(4, { silent: 1 })]
  expect(planHandover(input(able))).toBe(3)
  expect(planHandover(input([voter(1), voter(2), voter(3)]))).toBeUndefined()
  expect(planHandover(input([voter(1, { never: true }), standby(2)]))).toBeUndefined()
})

test("a leader that is drained, or has no room, hands over to one that is not", () => {
  const seen = input([voter(1), voter(2), voter(3, { lags: 5 })])
  expect(planHandover({ ...seen, loaded: new Set([1]) })).toBe(2)
  expect(planHandover({ ...seen, loaded: new Set([1, 2]) })).toBe(3)
  expect(planHandover({ ...seen, loaded: new Set([2]) })).toBeUndefined()
  // Where all are, it leads on: handing over would never end.
  expect(planHandover({ ...seen, loaded: new Set([1, 2, 3]) })).toBeUndefined()
})

test("a voter that was declared dead is replaced at once, unless it answers", () => {
  const dead = { at: 1, reason: "" }
  const said = (seen: AutopilotInput): AutopilotInput => ({
    ...seen,
    members: seen.members.map((member) => (member.id === 3 ? { ...member, dead } : member)),
  })
  const silent = input([voter(1), voter(2), voter(3, { silent: 1 }), standby(4)])
  expect(planVoters(silent)).toBeUndefined()
  expect(planVoters(said(silent))?.reason).toContain("4 takes its place")
  expect(planVoters(said(input([voter(1), voter(2), voter(3), standby(4)])))).toBeUndefined()
})

test("nothing is begun while a joint change is under way", () => {
  const seen = [voter(1), standby(2), standby(3)]
  expect(planVoters(input(seen, [1]))).toBeUndefined()
})

test("the roles that are written are those of the change", () => {
  const seen = [voter(1), voter(2), voter(3, { silent: minutes }), standby(4)]
  expect(planVoters(input(seen))?.command).toEqual({
    type: "role",
    items: [
      { id: 4, role: "voter" },
      { id: 3, role: "worker" },
    ],
  })
})

test("a wiped worker that came back as another member is a ghost", () => {
  const address = "/ip4/10.0.0.4/tcp/8771"
  const seen = [
    voter(1),
    worker(4, { silent: 1, name: "gone", address }),
    worker(5, { silent: 1 }),
    worker(8, { name: "gone", address }),
  ]
  expect(findGhosts(input(seen))).toEqual([4])
})

const arbitrarySeen = fc
  .array(
    fc.record({
      is: fc.constantFrom("standby", "worker", "worker" as const),
      silent: fc.constantFrom(0, 0, 0, 300, 6000, minutes),
      steady: fc.constantFrom(0, 500, 1000, 60_000),
      lags: fc.constantFrom(0, 0, 50, 500),
      never: fc.boolean(),
      unknown: fc.constantFrom(false, false, true),
    }),
    { maxLength: 8 },
  )
  .chain((rest) =>
    fc.tuple(
      fc.constantFrom(0, 2, 4),
      fc.constant(rest),
      fc.array(fc.constantFrom(0, 0, minutes), { minLength: 4, maxLength: 4 }),
    ),
  )
  .map(([more, rest, silences]) => [
    voter(1),
    ...Array.from({ length: more }, (_, place) => voter(2 + place, { silent: silences[place]! })),
    ...rest.map((seen, place) => ({ ...seen, id: 10 + place })),
  ])

test("whatever is seen: voters stay odd, never fewer, and no voter that answers goes", () => {
  fc.assert(
    fc.property(arbitrarySeen, (seen) => {
      const change = planVoters(input(seen))
      if (!change) return
      const voters = new Set(seen.filter(({ is }) => is === "voter").map(({ id }) => id))
      const before = voters.size
      for (const { type, id } of change.confChange.changes) {
        const one = seen.find((other) => other.id === id)!
        if (type === "ConfChangeAddNode") {
          expect(one).toMatchObject({ is: "standby", silent: 0, never: false })
          voters.add(id)
        }
        if (type === "ConfChangeAddLearnerNode") {
          expect(one).toMatchObject({ is: "worker", silent: 0, never: false })
        }
        if (type === "ConfChangeRemoveNode") {
          expect((one.silent ?? 0) > 0 || one.never).toBe(true)
          voters.delete(id)
        }
      }
      expect(voters.size % 2).toBe(1)
      expect(voters.size).toBeGreaterThanOrEqual(before)
      expect(voters.has(1)).toBe(true)
      // A majority answers afterwards as it did before, and no fewer losses can be borne.
      const answering = (ids: Iterable<number>): number =>
        [...ids].filter((id) => !seen.find((one) => one.id === id)!.silent).length
      const was = seen.filter(({ is }) => is === "voter").map(({ id }) => id)
      const spare = (ids: readonly number[]): number =>
        answering(ids) - Math.floor(ids.length / 2) - 1
      expect(spare([...voters])).toBeGreaterThanOrEqual(spare(was))
    }),
    { numRuns: 2000 },
  )
})

test("whoever is taken out: in the end an odd number votes, without it, and a majority of it answers", () => {
  fc.assert(
    fc.property(arbitrarySeen, fc.nat(), (seen, dice) => {
      let world: Seen[] = [...seen]
      const others = world.filter(({ id }) => id !== 1)
      if (others.length === 0) return
      const leaving = others[dice % others.length]!.id
      const voters = (): Seen[] => world.filter(({ is }) => is === "voter")
      // Without most voters answering there is no leader to do anything.
      if (voters().filter(({ silent = 0 }) => silent === 0).length * 2 <= voters().length) return
      for (let step = 0; step < 20; step++) {
        const plan = planVoters({ ...input(world), retiring: new Map([[leaving, now - 1]]) })
        if (!plan) break
        const roles = new Map((plan.command as Roles).items.map(({ id, role }) => [id, role]))
        world = world.map((one) => ({ ...one, is: roles.get(one.id) ?? one.is, lags: 0 }))
        const counted = voters().some(({ id }) => id === leaving)
        if (!counted && !world.some((one) => one.id === leaving && one.is === "standby")) break
      }
      expect(voters().map(({ id }) => id)).not.toContain(leaving)
      expect(voters().length % 2).toBe(1)
      const answering = voters().filter(({ silent = 0 }) => silent === 0)
      expect(answering.length * 2).toBeGreaterThan(voters().length)
    }),
    { numRuns: 2000 },
  )
})

type Roles = Extract<VoterChange["command"], { type: "role" }>

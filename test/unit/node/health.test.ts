/** The leader's judgement of its cluster: what it survives, and one sentence with a remedy for each thing that is wrong. */
import { expect, test } from "vitest"
import type { ProgressView, RaftStatus } from "../../../src/consensus/index.ts"
import { assessHealth, type Known, type LeaderHealth } from "../../../src/node/health.ts"
import type { Facts, Member, Vitals } from "../../../src/schema/index.ts"

const vitals: Vitals = {
  at: 0,
  loopDelayP50Ms: 0,
  loopDelayP99Ms: 2,
  loopDelayMaxMs: 3,
  fsyncP99Ms: 1,
  electionMs: 500,
  electionReason: "",
}

interface Node {
  readonly role?: Member["role"]
  readonly answers?: boolean
  readonly match?: number
  readonly clockOffsetMs?: number
  readonly roundTripP99Ms?: number
  readonly isUnheard?: boolean
  readonly said?: Pick<Member, "cordon" | "dead">
  readonly attempts?: number
  readonly facts?: Partial<Facts>
}

const commit = 5000

/** Nodes n1, n2, … of which n1 leads. */
function assess(nodes: readonly Node[], conflicts: Record<string, string> = {}): LeaderHealth {
  const known = nodes.map((node, place): Known => {
    const name = `n${place + 1}`
    const answers = node.answers ?? true
    return {
      member: { id: place + 1, name, role: node.role ?? "voter", ...node.said } as Member,
      ...(node.attempts !== undefined && { attempts: node.attempts }),
      answers,
      silentMs: node.isUnheard ? undefined : answers ? 0 : 12_400,
      facts: {
        name,
        version: "1.0.0",
        diskFreeBytes: 2 ** 40,
        vitals,
        ...node.facts,
      } as Facts,
      clockOffsetMs: node.clockOffsetMs ?? 0,
      roundTripP99Ms: place === 0 ? undefined : (node.roundTripP99Ms ?? 1.5),
    }
  })
  const inRaft = known
    .filter(({ member }) => member.role !== "worker")
    .map(({ member }) => member.id)
  const voters = known
    .filter(({ member }) => member.role === "voter")
    .map(({ member }) => member.id)
  const status: RaftStatus = {
    id: 1,
    raftState: "StateLeader",
    lead: 1,
    term: 1,
    vote: 1,
    commit,
    applied: commit,
    lastIndex: commit,
    leadTransferee: 0,
    confState: { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false },
    progress: inRaft.map((id) => ({ id, match: nodes[id - 1]!.match ?? commit }) as ProgressView),
  }
  return assessHealth({ self: 1, status, known, conflicts: new Map(Object.entries(conflicts)) })
}

const worker: Node = { role: "worker" }

test.each([
  { nodes: [{}], survives: 0, copies: 1 },
  { nodes: [{}, { role: "standby" as const }], survives: 0, copies: 2 },
  { nodes: [{}, {}, {}], survives: 1, copies: 3 },
  { nodes: [{}, {}, { answers: false }], survives: 0, copies: 2 },
  { nodes: [{}, {}, {}, {}, {}, worker, worker], survives: 2, copies: 5 },
  { nodes: [{}, {}, {}, { answers: false }, {}], survives: 1, copies: 4 },
  // It answers, but lacks too much to take part in a commit soon.
  { nodes: [{}, {}, { match: 10 }], survives: 0, copies: 2 },
  { nodes: [{}, {}, { match: commit - 1 }], survives: 1, copies: 2 },
])("$nodes survives $survives", ({ nodes, survives, copies }) => {
  expect(assess(nodes)).toMatchObject({ survives, copies })
})

test("three well nodes have no problem, and their leader is named", () => {
  const health = assess([{}, {}, {}])
  expect(health.problems).toEqual([])
  expect(health.notes).toEqual([])
  expect(health.voters).toEqual({ total: 3, answering: 3, needed: 2 })
  expect(health.nodes.map(({ leader }) => leader)).toEqual([true, false, false])
  expect(health.nodes[1]).toMatchObject({
    name: "n2",
    behind: 0,
    version: "1.0.0",
    roundTripP99Ms: 1.5,
  })
})

test.each<{ node: Node; problem: RegExp }>([
  { node: { answers: false }, problem: /^n3 \(voter\) is silent for 12 s: .*node start/ },
  { node: { match: 100 }, problem: /^n3 lags 4900 entries behind: / },
  { node: { clockOffsetMs: 61_500 }, problem: /^the clock of n3 is 61.5 s ahead of the others: / },
  { node: { clockOffsetMs: -4000 }, problem: /^the clock of n3 is 4.0 s behind the others: / },
  { node: { facts: { diskFreeBytes: 300 << 20 } }, problem: /^n3 has 300 MiB of disk left: / },
  {
    node: { facts: { full: "has 93 % of its disk in use", diskFreeBytes: 1 } },
    problem: /^n3 has 93 % of its disk in use and takes no work: make room/,
  },
  {
    node: { facts: { vitals: { ...vitals, loopDelayP99Ms: 300 } } },
    problem: /^n3 is kept waiting for 300 ms/,
  },
])("$problem", ({ node, problem }) => {
  const { problems } = assess([{}, {}, node])
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatch(problem)
})

test("clocks are compared with the median: the leader's own may be the wrong one", () => {
  const health = assess([{}, { clockOffsetMs: 60_000 }, { clockOffsetMs: 60_010 }])
  expect(health.nodes.map(({ clockOffsetMs }) => clockOffsetMs)).toEqual([-60_000, 0, 10])
  expect(health.problems).toHaveLength(1)
  expect(health.problems[0]).toMatch(/^the clock of n1 is 60.0 s behind/)
})

test("what is silent is told once, not for its old figures too", () => {
  const node: Node = {
    answers: false,
    match: 1,
    clockOffsetMs: 99_000,
    facts: { diskFreeBytes: 1 },
  }
  expect(assess([{}, {}, node]).problems).toHaveLength(1)
})

const drain = { mode: "drain", reason: "", at: 1 } as const

test.each<{ node: Node; note: string; problems?: number }>([
  {
    node: { said: { cordon: { mode: "cordon", reason: "new disk", at: 1 } }, attempts: 3 },
    note: "n3 is cordoned (new disk): 'troupe cluster uncordon' ends that",
  },
  {
    node: { said: { cordon: drain }, attempts: 2 },
    note: "n3 is being drained: 2 attempts still run there",
  },
  {
    node: { said: { cordon: drain }, attempts: 1 },
    note: "n3 is being drained: 1 attempt still runs there",
  },
  { node: { said: { cordon: { ...drain, reason: "x" } }, attempts: 0 }, note: "n3 is drained (x)" },
  // Whoever said so knows that it does not answer.
  {
    node: { said: { dead: { at: 1, reason: "burnt" } }, answers: false },
    note: "n3 was declared dead (burnt): it counts again when it answers",
  },
])("$note", ({ node, note }) => {
  const health = assess([{}, {}, node])
  expect([health.notes, health.problems]).toEqual([[note], []])
  expect(health.nodes[2]).toMatchObject(node.said ?? {})
})

test("versions that differ are noted", () => {
  const { notes } = assess([{}, {}, { facts: { version: "1.1.0" } }])
  expect(notes).toEqual(["nodes run different versions: 1.0.0 on n1, n2; 1.1.0 on n3"])
})

test("another used cluster of the name is a problem", () => {
  const { problems } = assess([{}, {}, {}], { abcdef0123456789: "n9" })
  expect(problems[0]).toMatch(/another cluster of this name.*abcdef01, node n9/)
})

test("what was not measured yet is left out: after a restart, after a transfer", () => {
  const fresh = { vitals: { ...vitals, fsyncP99Ms: 0, loopDelayP99Ms: 0 } }
  const [, second] = assess([{}, { facts: fresh, roundTripP99Ms: 0 }]).nodes
  expect(second).not.toHaveProperty("roundTripP99Ms")
  expect(second?.vitals).not.toHaveProperty("fsyncP99Ms")
  expect(second?.vitals).not.toHaveProperty("loopDelayP99Ms")
  expect(second?.vitals).toHaveProperty("electionMs", 500)
})

test("a member that a new leader has not heard yet is silent, for nobody knows how long", () => {
  const health = assess([{}, {}, { answers: false, isUnheard: true }])
  expect(health.nodes[2]).toMatchObject({ state: "silent" })
  expect(health.nodes[2]).not.toHaveProperty("silentMs")
  expect(health.problems).toEqual([expect.stringMatching(/^n3 \(voter\) does not answer: look/)])
})

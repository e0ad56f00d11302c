/** Who belongs to the cluster: founding, admission, roles, sessions, dissolving. */
import { expect, test } from "vitest"
import {
  type Applied,
  apply,
  type Command,
  createTables,
  readCluster,
  readMembers,
  readRemoved,
  readSession,
  recoveryWrites,
} from "../../../src/state/index.ts"
import { aDeclaration, aPair } from "../../support/plans.ts"

class Log {
  readonly tables = createTables()
  index = 0

  apply(command: Command, at = 100): Applied {
    this.index++
    const entry = { index: this.index, term: 1, version: 1, at, command }
    const applied = apply(this.tables, entry)
    this.tables.commit(applied.writes)
    return applied
  }

  found(): this {
    const founder = aDeclaration({ name: "a" })
    this.apply({ type: "genesis", items: [{ cluster: "lab", clusterId: "c1", founder }] })
    return this
  }

  admit(...names: string[]): Applied {
    return this.apply({ type: "admit", items: names.map((name) => aDeclaration({ name })) })
  }

  session(node: number, boot: string, state: "up" | "lost", at = 100): Applied {
    return this.apply({ type: "session", items: [{ node, boot, state }] }, at)
  }
}

test("a cluster is founded once, with member 1 as its voter", () => {
  const log = new Log().found()
  expect(readCluster(log.tables)).toEqual({
    cluster: "lab",
    clusterId: "c1",
    pristine: true,
    time: 100,
  })
  expect(readMembers(log.tables)).toEqual([
    { ...aDeclaration({ name: "a" }), id: 1, role: "voter" },
  ])
  const founder = aDeclaration({ name: "b" })
  const again = log.apply({ type: "genesis", items: [{ cluster: "x", clusterId: "y", founder }] })
  expect(again.results).toMatchObject([{ ok: false, code: "stale" }])
  expect(readMembers(log.tables)).toHaveLength(1)
})

test("nothing is admitted or accepted before the founding", () => {
  const log = new Log()
  expect(log.admit("b").results).toMatchObject([{ ok: false, code: "stale" }])
  const item = {
    principal: "p",
    key: "k",
    bodyHash: "h",
    entryNode: "a",
    plan: aPair(),
    placements: [],
  }
  expect(log.apply({ type: "submit", items: [item] }).results).toMatchObject([
    { ok: false, code: "stale" },
  ])
  expect(log.tables.size).toBe(0)
})

test("a new member's id is the index of its entry, which has room for one", () => {
  const log = new Log().found()
  log.session(1, "x", "up")
  const { results, events } = log.admit("b", "c")
  expect(results).toMatchObject([
    { ok: true, id: 3 },
    { ok: false, code: "stale" },
  ])
  expect(events).toEqual([{ type: "members-changed" }])
  expect(log.admit("c").results).toEqual([{ ok: true, id: 4 }])
  expect(readMembers(log.tables).map(({ id, name, role }) => [id, name, role])).toEqual([
    [1, "a", "voter"],
    [3, "b", "worker"],
    [4, "c", "worker"],
  ])
})

test("who is admitted again keeps its id and role and has its declaration renewed", () => {
  const log = new Log().found()
  log.admit("b")
  log.apply({ type: "role", items: [{ id: 2, role: "standby" }] })
  const renewed = aDeclaration({ name: "b", cores: 64 })
  const { results } = log.apply({ type: "admit", items: [renewed] })
  expect(results).toEqual([{ ok: true, id: 2, existing: true }])
  expect(readMembers(log.tables)[1]).toEqual({ ...renewed, id: 2, role: "standby" })
})

test("a declaration changes its own member only", () => {
  const log = new Log().found()
  log.admit("b")
  const declaration = aDeclaration({ name: "b", labels: { gpu: "none" } })
  const { results } = log.apply({
    type: "declare",
    items: [
      { id: 2, declaration },
      { id: 1, declaration },
      { id: 9, declaration },
    ],
  })
  expect(results).toMatchObject([
    { ok: true, id: 2 },
    { ok: false, code: "stale" },
    { ok: false, code: "not-found" },
  ])
  expect(readMembers(log.tables).map(({ labels }) => labels)).toEqual([{}, { gpu: "none" }])
})

test("a role is set; one of nobody is not", () => {
  const log = new Log().found()
  log.admit("b")
  const items = [
    { id: 2, role: "voter" },
    { id: 3, role: "voter" },
  ] as const
  const { results } = log.apply({ type: "role", items })
  expect(results).toMatchObject([{ ok: true }, { ok: false, code: "not-found" }])
  expect(readMembers(log.tables)[1]!.role).toBe("voter")
})

test("a session's lease is the index of the entry that opened it", () => {
  const log = new Log().found()
  expect(log.session(1, "boot1", "up").results).toEqual([{ ok: true, id: 2 }])
  expect(log.session(1, "boot1", "lost", 200).results).toEqual([{ ok: true, id: 2 }])
  expect(readSession(log.tables, 1)).toEqual({
    node: 1,
    lease: 2,
    boot: "boot1",
    state: "lost",
    at: 200,
  })
  expect(log.session(1, "boot1", "up", 300).results).toEqual([{ ok: true, id: 4 }])
  expect(readSession(log.tables, 1)).toMatchObject({ lease: 4, state: "up", at: 300 })
})

test("a loss is that of one boot: a newer session is not lost with it", () => {
  const log = new Log().found()
  log.session(1, "boot1", "up")
  log.session(1, "boot2", "up")
  expect(log.session(1, "boot1", "lost").results).toMatchObject([{ ok: false, code: "stale" }])
  expect(readSession(log.tables, 1)!.state).toBe("up")
})

test("a session that is lost twice was lost at the first time", () => {
  const log = new Log().found()
  log.session(1, "boot1", "up")
  log.session(1, "boot1", "lost", 200)
  expect(log.session(1, "boot1", "lost", 900).results).toEqual([
    { ok: true, id: 2, existing: true },
  ])
  expect(readSession(log.tables, 1)!.at).toBe(200)
})

test("nobody has a session who is no member, and who had none loses none", () => {
  const log = new Log().found()
  expect(log.session(7, "b", "up").results).toMatchObject([{ ok: false, code: "not-found" }])
  expect(log.session(1, "b", "lost").results).toMatchObject([{ ok: false, code: "stale" }])
})

const peers = [{ peerId: "p", addresses: ["/ip4/10.0.0.9/tcp/8771"] }]

test("a pristine cluster dissolves, and then takes neither members nor work", () => {
  const log = new Log().found()
  const { results, events } = log.apply({ type: "dissolve", items: [{ into: "c2", peers }] })
  expect(results).toEqual([{ ok: true }])
  expect(events).toEqual([{ type: "dissolved", into: "c2" }])
  expect(readCluster(log.tables)).toMatchObject({ dissolvedInto: "c2", dissolvedPeers: peers })
  expect(log.admit("b").results).toEqual([{ ok: false, code: "dissolved", detail: "c2" }])
  const item = {
    principal: "p",
    key: "k",
    bodyHash: "h",
    entryNode: "a",
    plan: aPair(),
    placements: [],
  }
  expect(log.apply({ type: "submit", items: [item] }).results).toEqual([
    { ok: false, code: "dissolved", detail: "c2" },
  ])
})

test("dissolving twice is idempotent for one target and refused for another", () => {
  const log = new Log().found()
  const dissolve = (into: string): Applied =>
    log.apply({ type: "dissolve", items: [{ into, peers }] })
  dissolve("c2")
  expect(dissolve("c2").results).toEqual([{ ok: true, existing: true }])
  expect(dissolve("c3").results).toEqual([{ ok: false, code: "dissolved", detail: "c2" }])
  expect(readCluster(log.tables)!.dissolvedInto).toBe("c2")
})

test("a cluster that has accepted work never dissolves", () => {
  const log = new Log().found()
  const item = {
    principal: "p",
    key: "k",
    bodyHash: "h",
    entryNode: "a",
    plan: aPair(),
    placements: [],
  }
  log.apply({ type: "submit", items: [item] })
  expect(readCluster(log.tables)!.pristine).toBe(false)
  const { results } = log.apply({ type: "dissolve", items: [{ into: "c2", peers }] })
  expect(results).toMatchObject([{ ok: false, code: "not-pristine" }])
})

test("state time never goes back", () => {
  const log = new Log().found()
  log.session(1, "b", "up", 500)
  expect(readCluster(log.tables)!.time).toBe(500)
  log.session(1, "b", "lost", 300)
  expect(readCluster(log.tables)!.time).toBe(500)
  expect(readSession(log.tables, 1)!.at).toBe(500)
})

test("C-38: ids are never reused: only a worker whose session is lost can be removed, and its id goes with it", () => {
  const log = new Log().found()
  const [admitted] = log.admit("b").results
  const id = admitted!.ok ? admitted!.id! : 0
  const remove = (): Applied => log.apply({ type: "remove", items: [{ id }] })
  log.apply({ type: "role", items: [{ id, role: "standby" }] })
  expect(remove().results).toMatchObject([{ ok: false, code: "stale" }])
  log.apply({ type: "role", items: [{ id, role: "worker" }] })
  log.session(id, "boot", "up")
  expect(remove().results).toMatchObject([{ ok: false, code: "stale" }])
  log.session(id, "boot", "lost")
  expect(remove().results).toEqual([{ ok: true, id }])
  expect(readMembers(log.tables).map((member) => member.name)).toEqual(["a"])
  expect(readSession(log.tables, id)).toBeUndefined()
  expect(remove().results).toEqual([{ ok: true, id, existing: true }])
  const [again] = log.admit("b").results
  expect(again).toEqual({ ok: true, id: log.index })
  expect(log.index).toBeGreaterThan(id)
})

test("who was removed by hand is gone, answering or not, and its peer id is never admitted again", () => {
  const log = new Log().found()
  const id = idOf(log.admit("b"))
  log.session(id, "boot", "up")
  log.apply({ type: "role", items: [{ id, role: "voter" }] })
  const expel: Command = { type: "expel", items: [{ id, reason: "too loud" }] }
  expect(log.apply(expel).results).toMatchObject([{ ok: false, code: "stale" }])
  log.apply({ type: "role", items: [{ id, role: "worker" }] })
  expect(log.apply(expel).results).toEqual([{ ok: true, id }])
  expect(readMembers(log.tables).map((member) => member.name)).toEqual(["a"])
  expect(readSession(log.tables, id)).toBeUndefined()
  expect(readRemoved(log.tables, "peer-b")).toMatchObject({ id, name: "b", reason: "too loud" })
  expect(log.admit("b").results).toEqual([{ ok: false, code: "removed", detail: "too loud" }])
  // Asked twice it is the same.
  expect(log.apply(expel).results).toEqual([{ ok: true, id, existing: true }])
})

test("a cluster gives way to its own recovery unless a run was accepted since", () => {
  const peers = [{ peerId: "peer-a", addresses: [] }]
  const supersede = (index: number): Command => ({
    type: "supersede",
    items: [{ into: "c1-1-0000000a", index, peers }],
  })
  const submit: Command = {
    type: "submit",
    items: [
      {
        principal: "anonymous",
        key: "",
        bodyHash: "",
        entryNode: "a",
        plan: aPair(),
        placements: [],
      },
    ],
  }
  const log = new Log().found()
  log.apply(submit)
  const fork = log.index
  expect(log.apply(supersede(fork - 1)).results).toMatchObject([{ code: "not-pristine" }])
  const given = log.apply(supersede(fork))
  expect(given.results).toEqual([{ ok: true }])
  expect(given.events).toContainEqual({ type: "dissolved", into: "c1-1-0000000a" })
  // Whatever comes after that is of the past.
  expect(log.apply(submit).results).toMatchObject([{ ok: false, code: "dissolved" }])
  expect(log.admit("c").results).toMatchObject([{ ok: false, code: "dissolved" }])
  expect(log.apply(supersede(fork)).results).toEqual([{ ok: true, existing: true }])
})

test("a recovery leaves one voter, and a trace of where it came from", () => {
  const log = new Log().found()
  const b = idOf(log.admit("b"))
  log.session(1, "boot-a", "up")
  log.session(b, "boot-b", "up")
  const recover = (clusterId: string, index: number): void =>
    log.tables.commit(recoveryWrites(log.tables, { clusterId, memberId: b, index }))
  recover("c1-1-0000000a", 10)
  expect(readMembers(log.tables)).toMatchObject([{ id: b, name: "b", role: "voter" }])
  expect(readSession(log.tables, 1)).toBeUndefined()
  expect(readSession(log.tables, b)).toMatchObject({ boot: "boot-b" })
  recover("c1-2-0000000b", 20)
  expect(readCluster(log.tables)).toMatchObject({
    clusterId: "c1-2-0000000b",
    earlier: [
      { clusterId: "c1", index: 10 },
      { clusterId: "c1-1-0000000a", index: 20 },
    ],
  })
  // The one who was lost is somebody new.
  expect(idOf(log.admit("a"))).toBe(log.index)
})

function idOf({ results }: Applied): number {
  const [result] = results
  if (!result?.ok || result.id === undefined) throw new Error("not admitted")
  return result.id
}

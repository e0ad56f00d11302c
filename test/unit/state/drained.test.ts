/** Nodes that are cordoned, drained or declared dead: what their rows say, and what becomes of the attempts there. */
import { beforeEach, expect, test } from "vitest"
import { type Ending, type TaskGroup, versionsLabel } from "../../../src/schema/index.ts"
import { type ItemResult, readMembers, readSession } from "../../../src/state/index.ts"
import { aDeclaration, aGroup, aPlan } from "../../support/plans.ts"
import { exited, terminated, World } from "../../support/world.ts"

const stale = { ok: false, code: "stale" }
const labels = { [versionsLabel]: "1-3" }

let world: World
beforeEach(() => {
  world = new World({ nodes: ["a", "b"] })
  raise(world)
})

function raise(to: World): void {
  for (const { id, name } of readMembers(to.tables)) {
    const declaration = aDeclaration({ name, labels })
    to.apply({ type: "declare", items: [{ id, declaration }] })
  }
  for (const version of [2, 3]) to.apply({ type: "raise", items: [{ version }] })
}

const member = (id: number) => readMembers(world.tables).find((one) => one.id === id)!

function cordon(mode: "open" | "cordon" | "drain", deadlineAt?: number): ItemResult {
  const more = deadlineAt === undefined ? {} : { deadlineAt }
  const items = [{ id: 1, mode, reason: "new disk", ...more }]
  return world.apply({ type: "cordon", items }).results[0]!
}

function dead(id = 1): ItemResult {
  return world.apply({ type: "dead", items: [{ id, reason: "burnt" }] }).results[0]!
}

/** A run of one group with an attempt on node 1. */
function running(fields: Partial<TaskGroup> = {}, kind: "manifest" | "job" = "job"): string {
  const run = world.submit(aPlan([aGroup("job", fields)], { kind }))
  expect(world.assign(run, "job")).toMatchObject({ ok: true })
  return run
}

function decide(run: string, kind: "drained" | "attempt-lost"): ItemResult {
  const { fence } = world.task(run, "job").attempts.at(-1)!
  const task = { run, group: "job", index: 0 }
  return world.decideItem({ kind, task, fence, reason: "a goes" })
}

test("a cordoned node gets nothing new, and what runs there goes on; a word replaces the one before", () => {
  const run = running()
  expect(cordon("cordon")).toEqual({ ok: true, id: 1 })
  expect(member(1).cordon).toEqual({ mode: "cordon", reason: "new disk", at: world.now })
  const next = world.submit(aPlan([aGroup("job")]))
  expect(world.assign(next, "job")).toMatchObject(stale)
  world.tell(run, "job", "ended", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
  cordon("drain", world.now + 1000)
  expect(member(1).cordon).toMatchObject({ mode: "drain", deadlineAt: world.now + 1000 })
  expect(cordon("open")).toEqual({ ok: true, id: 1 })
  expect(member(1).cordon).toBeUndefined()
  expect(cordon("open")).toMatchObject({ ok: true, existing: true })
  expect(world.assign(next, "job")).toMatchObject({ ok: true })
})

test("a node that declares itself anew, or is admitted again, stays cordoned and dead", () => {
  cordon("cordon")
  dead()
  const declaration = aDeclaration({ name: "a", labels, cores: 64 })
  world.apply({ type: "declare", items: [{ id: 1, declaration }] })
  world.apply({ type: "admit", items: [declaration] })
  expect(member(1)).toMatchObject({
    cores: 64,
    cordon: { mode: "cordon" },
    dead: { reason: "burnt" },
  })
})

test("bookkeeping that is tied to a cordoned node still runs there", () => {
  const collect = aGroup("collect", {
    work: { driver: "builtin", verb: "collect", group: "job" },
    with: "job",
    after: [{ group: "job", on: "finished" }],
    role: false,
  })
  const run = world.submit(aPlan([aGroup("job"), collect]))
  world.assign(run, "job")
  cordon("drain")
  world.tell(run, "job", "ended", exited(0))
  expect(world.assign(run, "collect")).toMatchObject({ ok: true })
})

test("a drained attempt is told to stop, runs again elsewhere, and that was no try", () => {
  const run = running({ retries: 0, backoffMs: 60_000 })
  expect(decide(run, "drained")).toMatchObject(stale)
  cordon("drain")
  expect(decide(run, "drained")).toEqual({ ok: true })
  expect(world.task(run, "job")).toMatchObject({ state: "stopping", stop: "drained" })
  world.tell(run, "job", "ended", terminated)
  const task = world.task(run, "job")
  expect(task).toMatchObject({ state: "pending", attempts: [{ drained: true }] })
  expect([task.stop, task.notBefore]).toEqual([undefined, undefined])
  expect(world.assign(run, "job", { node: 2 })).toMatchObject({ ok: true })
  world.tell(run, "job", "ended", exited(1))
  expect(world.run(run)).toMatchObject({ verdict: "failed" })
})

test("what ended well before it heard of the drain has succeeded", () => {
  const run = running()
  cordon("drain")
  decide(run, "drained")
  world.tell(run, "job", "ended", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
})

test("a role of a manifest whose measurement is interrupted fails, with the reason", () => {
  const run = running({ onLoss: "fail" }, "manifest")
  cordon("drain")
  decide(run, "drained")
  world.tell(run, "job", "ended", terminated)
  expect(world.run(run)).toMatchObject({ verdict: "failed" })
  expect(world.task(run, "job").reason).toContain("drained")
})

test("a run that is cancelled while a task leaves a drained node does not begin again", () => {
  const run = running()
  cordon("drain")
  decide(run, "drained")
  world.apply({ type: "cancel", items: [{ run, reason: "x" }] })
  world.tell(run, "job", "ended", terminated)
  expect(world.run(run)).toMatchObject({ state: "finished", verdict: "cancelled" })
})

test.each(["wait", "requeue"] as const)(
  "declared dead: a task that would %s runs elsewhere; the old attempt's word comes too late",
  (onLoss) => {
    const run = running({ onLoss })
    const task = world.task(run, "job")
    const old = { task, attempt: task.attempts[0]! }
    expect(dead()).toEqual({ ok: true, id: 1 })
    expect(readSession(world.tables, 1)?.state).toBe("lost")
    expect(member(1).dead).toEqual({ at: world.now, reason: "burnt" })
    expect(decide(run, "attempt-lost")).toEqual({ ok: true })
    expect(world.task(run, "job").state).toBe("pending")
    expect(world.assign(run, "job", { node: 2 })).toMatchObject({ ok: true })
    expect(world.report(old, "ended", exited(0)).results).toMatchObject([stale])
    world.session(1, "up")
    expect(member(1).dead).toBeUndefined()
    world.tell(run, "job", "ended", exited(0))
    expect(world.run(run).verdict).toBe("succeeded")
  },
)

test("declared dead: what fails with its node is lost", () => {
  const run = running({ onLoss: "fail" })
  dead()
  decide(run, "attempt-lost")
  expect(world.run(run).verdict).toBe("lost")
  expect(dead()).toMatchObject({ ok: true, existing: true })
  expect(dead(9)).toMatchObject({ ok: false, code: "not-found" })
})

test("a result that a dead node tells before it is given up counts", () => {
  const run = running({ onLoss: "wait" })
  dead()
  world.tell(run, "job", "ended", exited(0))
  expect(world.run(run).verdict).toBe("succeeded")
})

const cutOff: Ending = { outcome: "lost", stopped: true, reason: "its node had had no lease" }

test.each([
  ["requeue", 3, "pending"],
  ["wait", 3, "lost"],
  ["fail", 3, "lost"],
  // As builds from before version 3 apply it.
  ["requeue", 1, "lost"],
] as const)(
  "a node that says itself that it lost the attempt: %s at version %i is %s",
  (onLoss, version, end) => {
    if (version === 1) world = new World({ nodes: ["a", "b"] })
    const run = running({ onLoss }, "manifest")
    world.tell(run, "job", "started")
    world.tell(run, "job", "ended", cutOff)
    const task = world.task(run, "job")
    expect(task.result ?? task.state).toBe(end)
  },
)

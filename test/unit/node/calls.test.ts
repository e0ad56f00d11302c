/** Calls that must reach the leader: forwarded, repeated when the leader is lost on the way, refused when there is none. */
import { expect, test } from "vitest"
import { type RunView, SubmitRun, TroupeError } from "../../../src/schema/index.ts"
import { ctlAnswer, ctlRequest } from "../../../src/wire/index.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { agreed, formed, membersOf, runsOf } from "../../sim/cluster/verify.ts"
import type { World } from "../../sim/cluster/world.ts"
import { formCluster } from "./formed.ts"

const minute = 60_000
const document = "api_version: v1\nroles:\n  only:\n    command: [work]\n"

function others(world: World, leader: Machine): Machine[] {
  return world.machines.filter((machine) => machine !== leader)
}

interface Asked {
  run: RunView | undefined
  existing: boolean | undefined
  error: unknown
  tookMs: number | undefined
}

function ask(world: World, machine: Machine, key: string): Asked {
  const asked: Asked = { run: undefined, existing: undefined, error: undefined, tookMs: undefined }
  const from = world.clock.boottime()
  const signal = world.clock.timeoutSignal(30_000, "a submission")
  const caller = { principal: "anonymous", key }
  machine
    .node!.submitRun(SubmitRun.parse({ document }), caller, { signal })
    .then(
      ({ run, existing }) => Object.assign(asked, { run, existing }),
      (error: unknown) => Object.assign(asked, { error }),
    )
    .finally(() => {
      asked.tookMs = world.clock.boottime() - from
    })
  return asked
}

async function answered(world: World, asked: Asked): Promise<Asked> {
  await world.until("an answer", minute, () => asked.tookMs !== undefined)
  return asked
}

test("any node takes a run, and the same key anywhere is the same run", async () => {
  const { world } = await formCluster(4)
  const first = await answered(world, ask(world, world.machines[0]!, "one"))
  for (const machine of world.machines) {
    const again = await answered(world, ask(world, machine, "one"))
    expect(again.run?.id).toBe(first.run?.id)
    expect(again.existing).toBe(true)
  }
  expect(runsOf(world.machines[0]!).length).toBe(1)
})

test("the same key with another request is a conflict", async () => {
  const { world, leader } = await formCluster(3)
  await answered(world, ask(world, leader, "one"))
  const signal = world.clock.timeoutSignal(5000, "a submission")
  const caller = { principal: "anonymous", key: "one" }
  const other = SubmitRun.parse({ document: document.replace("[work]", "[play]") })
  const work = others(world, leader)[0]!.node!.submitRun(other, caller, { signal })
  await expect(world.clock.drive(work)).rejects.toMatchObject({ code: "ERR_KEY_CONFLICT" })
})

test("a call that was forwarded once is forwarded once more, and no further", async () => {
  const { world, leader } = await formCluster(3)
  const [one, other] = others(world, leader)
  const mesh = world.net.node(one!.peerId)!
  const call = async (hops: number): Promise<unknown> => {
    const body = { limit: 10 }
    const payload = ctlRequest.encode({ op: "listRuns", hops, principal: "anonymous", body })
    const signal = world.clock.timeoutSignal(10_000, "a call")
    const to = { peerId: other!.peerId, addresses: [] }
    return ctlAnswer.decode(await mesh.request(to, "/troupe/ctl/1", payload, { signal }))
  }
  expect(await world.clock.drive(call(1))).toEqual({ items: [] })
  await expect(world.clock.drive(call(2))).rejects.toMatchObject({ code: "ERR_NO_LEADER" })
})

test("strangers are not heard", async () => {
  const { world, leader } = await formCluster(1)
  const stranger = world.net.createMesh({ peerId: "stranger", address: "/ip4/10.0.0.99/tcp/1" })
  await stranger.start()
  const payload = ctlRequest.encode({
    op: "listRuns",
    hops: 1,
    principal: "anonymous",
    body: { limit: 10 },
  })
  const signal = world.clock.timeoutSignal(10_000, "a call")
  const to = { peerId: leader.peerId, addresses: ["/ip4/10.0.0.1/tcp/8771"] }
  const asked = stranger.request(to, "/troupe/ctl/1", payload, { signal })
  await expect(world.clock.drive(asked)).rejects.toMatchObject({ code: "ERR_FORBIDDEN" })
})

test("the leader is killed at any moment of a submission: the entry node asks the next one, one run comes of it", async () => {
  for (let atMs = 0; atMs <= 24; atMs += 2) {
    const { world, leader } = await formCluster(3)
    const entry = others(world, leader)[0]!
    const asked = ask(world, entry, "one")
    await world.pass(atMs)
    leader.kill()
    const { run, error } = await answered(world, asked)
    expect(error).toBeUndefined()
    leader.start()
    const next = await world.until("all finished", minute, () => {
      const found = formed(world)
      const isDone = found && agreed(world, found) && runsOf(found)[0]?.state === "finished"
      return isDone ? found : undefined
    })
    expect(runsOf(next)).toMatchObject([{ id: run!.id, key: "one", verdict: "succeeded" }])
  }
})

test("the leader is cut off at any moment of a submission: the same", async () => {
  for (let atMs = 0; atMs <= 24; atMs += 6) {
    const { world, leader } = await formCluster(3)
    const entry = others(world, leader)[0]!
    const asked = ask(world, entry, "one")
    await world.pass(atMs)
    world.net.isolate(leader.peerId)
    const { run, error } = await answered(world, asked)
    expect(error).toBeUndefined()
    world.net.heal()
    const next = await world.until("all agree", minute, () => {
      const found = formed(world)
      return found && agreed(world, found) ? found : undefined
    })
    // Rows follow to disk.
    await world.pass(50)
    expect(runsOf(next).map(({ id }) => id)).toEqual([run!.id])
  }
})

test("no leader: ERR_NO_LEADER after two seconds, at voters and at workers", async () => {
  const { world } = await formCluster(5)
  const worker = world.machines.find((machine) => {
    const own = membersOf(world.machines[0]!).find(({ peerId }) => peerId === machine.peerId)
    return own?.role === "worker"
  })!
  const voters = world.machines.filter((machine) =>
    membersOf(world.machines[0]!).some(
      ({ peerId, role }) => peerId === machine.peerId && role === "voter",
    ),
  )
  for (const machine of voters.slice(1)) machine.kill()
  await world.pass(15_000)
  for (const machine of [voters[0]!, worker]) {
    const { error, tookMs } = await answered(world, ask(world, machine, "one"))
    expect(error).toBeInstanceOf(TroupeError)
    expect(error).toMatchObject({ code: "ERR_NO_LEADER" })
    expect(tookMs).toBeGreaterThanOrEqual(2000)
    expect(tookMs).toBeLessThan(2200)
    expect(machine.node!.ready().ready).toBe(false)
    expect((await world.clock.drive(machine.node!.health())).status).toBe("no-leader")
  }
  for (const machine of voters.slice(1)) machine.start()
  await world.until("a leader again", minute, () => formed(world))
  expect((await answered(world, ask(world, worker, "one"))).run).toBeDefined()
})

test("SIGTERM hands over: the next leader is there before the old one has left", async () => {
  const { world, leader } = await formCluster(3)
  const before = world.clock.boottime()
  await world.clock.drive(leader.stop())
  // An election would have taken its timeout, 500 ms at least.
  expect(world.clock.boottime() - before).toBeLessThan(400)
  const entry = others(world, leader)[0]!
  const { run, tookMs } = await answered(world, ask(world, entry, "one"))
  expect(run).toBeDefined()
  expect(tookMs).toBeLessThan(400)
})

test("a leader that is cut off does not say of a run that it is not there", async () => {
  const { world, leader } = await formCluster(3)
  world.net.isolate(leader.peerId)
  const codes: unknown[] = []
  const signal = world.clock.timeoutSignal(30_000, "a call")
  const caller = { principal: "anonymous" }
  const tell = (error: unknown): void => {
    codes.push((error as TroupeError).code)
  }
  leader.node!.cancelRun("made-elsewhere", "why not", caller, { signal }).catch(tell)
  leader.node!.getRun("made-elsewhere", { signal }).catch(tell)
  await world.until("answers", minute, () => codes.length === 2)
  expect(codes).not.toContain("ERR_RUN_NOT_FOUND")
})

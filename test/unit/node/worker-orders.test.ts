/** Whom a worker obeys: B-33. A leader that was deposed, or whose lease is over, starts nothing. */
import { beforeEach, expect, test } from "vitest"
import type { Mesh } from "../../../src/node/index.ts"
import {
  type HeardAt,
  type JobAnswer,
  jobAnswer,
  type JobRequest,
  jobRequest,
} from "../../../src/wire/index.ts"
import { gauge } from "../../sim/cluster/roles.ts"
import { addressOf, type Machine } from "../../sim/cluster/machine.ts"
import type { World } from "../../sim/cluster/world.ts"
import { formCluster } from "./formed.ts"

const lease = 77
const ttlMs = 1000

let world: World
let worker: Machine
let leader: Mesh
let clusterId: string
let term: number

/** The leader's process is dead; the test speaks in its place. */
beforeEach(async () => {
  const formed = await formCluster(2)
  world = formed.world
  worker = world.machines.find((machine) => machine !== formed.leader)!
  term = gauge(formed.leader, "troupe_raft_term")! + 1
  clusterId = formed.leader.replicated!.clusterId
  const { peerId } = formed.leader
  formed.leader.kill()
  leader = world.net.createMesh({ peerId, address: addressOf(formed.leader.options.number) })
  await leader.start()
})

async function order(request: JobRequest): Promise<JobAnswer> {
  const signal = world.clock.timeoutSignal(5000, "an order")
  const peer = { peerId: worker.peerId, addresses: [addressOf(worker.options.number)] }
  const asked = leader.request(peer, "/troupe/job/1", jobRequest.encode(request), { signal })
  return jobAnswer.decode(await world.clock.drive(asked))
}

async function grantLease(heard?: HeardAt): Promise<Extract<JobAnswer, { type: "lease" }>> {
  const leaderPeer = { peerId: leader.peerId, addresses: [...leader.addresses()] }
  const grant = { type: "lease", clusterId, term, leader: 1, leaderPeer, lease, ttlMs } as const
  const answer = await order({ ...grant, rosterIndex: 1, ...(heard && { heard }) })
  if (answer.type !== "lease") throw new Error(`no lease: ${JSON.stringify(answer)}`)
  return answer
}

const attempt = { run: "r-900", task: "only" }

async function stop(fence: number): Promise<JobAnswer> {
  const how = { graceMs: 0, reason: "no more" }
  return await order({ type: "stop", clusterId, term, ...attempt, fence, ...how })
}

/** Builtin work that this test never lets come to anything: nobody leads. */
async function startBuiltin(fence: number): Promise<JobAnswer> {
  const launch = { driver: "builtin", work: { driver: "builtin", verb: "bundle" } }
  const which = { run: "r-900", task: "bundle", attempt: 1, fence }
  return await order({ type: "start", clusterId, term, lease, ...which, launch })
}

async function start(fields: { lease: number; term: number; fence: number }): Promise<JobAnswer> {
  const launch = {
    driver: "process",
    argv: ["work"],
    env: {},
    directory: false,
    files: [],
    graceMs: 0,
    onKeeperDeath: "survive",
    progress: true,
  }
  return await order({ type: "start", clusterId, ...attempt, attempt: 1, ...fields, launch })
}

test("B-33: a Start is obeyed under the lease that it names, and the same fence twice starts once", async () => {
  await grantLease()
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "start" })
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "start" })
  expect(worker.keeper.starts).toEqual([{ run: "r-900", task: "only", fence: 901 }])
})

test("B-33: not under another lease", async () => {
  await grantLease()
  expect(await start({ lease: lease - 1, term, fence: 901 })).toMatchObject({ type: "refused" })
  expect(worker.keeper.starts).toEqual([])
})

test("B-33: not when that lease is over: the attempt may have been moved elsewhere", async () => {
  await grantLease()
  await world.clock.pass(ttlMs)
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "refused" })
  expect(worker.keeper.starts).toEqual([])
})

test("B-33: not for a leader of an earlier term than was seen", async () => {
  await grantLease()
  const answer = await start({ lease, term: term - 1, fence: 901 })
  expect(answer).toMatchObject({ type: "refused", term })
  expect(worker.keeper.starts).toEqual([])
})

test("B-33: not under a lease that another life of this node answered, nor when nothing was heard of it", async () => {
  const { boot, at } = await grantLease({ boot: "", at: 0 })
  expect(at).toBeGreaterThan(0)
  const early = await start({ lease, term, fence: 901 })
  expect(early).toMatchObject({ type: "refused", reason: "the lease has expired" })
  await grantLease({ boot: "of-another-life", at: at! })
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "refused" })
  await grantLease({ boot, at: at! })
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "start" })
})

test("B-33: a lease that waited on its way longer than it lasts gives no right", async () => {
  const { boot, at } = await grantLease({ boot: "", at: 0 })
  await world.clock.pass(ttlMs)
  await grantLease({ boot, at: at! })
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "refused" })
  expect(worker.keeper.starts).toEqual([])
})

test("the same Start twice at once is one attempt", async () => {
  await grantLease()
  const both = await Promise.all([1, 2].map(async () => await start({ lease, term, fence: 901 })))
  expect(both.map(({ type }) => type)).toEqual(["start", "start"])
  expect(worker.keeper.starts).toHaveLength(1)
})

test("a Stop that overtakes its Start: nothing begins any more", async () => {
  await grantLease()
  expect(await stop(901)).toEqual({ type: "stop", known: false })
  expect(await start({ lease, term, fence: 901 })).toMatchObject({ type: "refused" })
  const early = { ...attempt, task: "bundle", fence: 901, graceMs: 0, reason: "no more" }
  await order({ type: "stop", clusterId, term, ...early })
  expect(await startBuiltin(901)).toMatchObject({ type: "refused" })
  expect(await startBuiltin(902)).toMatchObject({ type: "start" })
  expect(worker.keeper.starts).toEqual([])
})

test("a Start that comes after a newer one of its task, or after its end was settled, begins nothing", async () => {
  await grantLease()
  await start({ lease, term, fence: 905 })
  expect(await start({ lease, term, fence: 904 })).toMatchObject({ type: "refused" })
  await stop(905)
  await world.clock.pass(100)
  await grantLease()
  const attempts = [{ ...attempt, fence: 905 }]
  await order({ type: "forget", clusterId, term, attempts, files: true })
  expect(worker.keeper.list()).toEqual([])
  expect(await start({ lease, term, fence: 905 })).toMatchObject({ type: "refused" })
  expect(worker.keeper.starts).toHaveLength(1)
})

test("builtin work that was let go does not begin again when its Start comes twice", async () => {
  await grantLease()
  expect(await startBuiltin(901)).toMatchObject({ type: "start" })
  const attempts = [{ run: "r-900", task: "bundle", fence: 901 }]
  await order({ type: "forget", clusterId, term, attempts, files: true })
  expect(await startBuiltin(901)).toMatchObject({ type: "refused" })
})

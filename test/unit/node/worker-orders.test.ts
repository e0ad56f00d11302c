/** Whom a worker obeys: B-33. A leader that was deposed, or whose lease is over, starts nothing. */
import { beforeEach, expect, test } from "vitest"
import type { Mesh } from "../../../src/node/index.ts"
import { type JobAnswer, jobAnswer, type JobRequest, jobRequest } from "../../../src/wire/index.ts"
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

async function grantLease(): Promise<void> {
  const leaderPeer = { peerId: leader.peerId, addresses: [...leader.addresses()] }
  const grant = { type: "lease", clusterId, term, leader: 1, leaderPeer, lease, ttlMs } as const
  const answer = await order({ ...grant, rosterIndex: 1 })
  expect(answer).toMatchObject({ type: "lease" })
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
  const attempt = { run: "r-900", task: "only", attempt: 1 }
  return await order({ type: "start", clusterId, ...attempt, ...fields, launch })
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

/** What a healthy cluster must do in good time, and what it must not do without need: one thing at a time, in calm. */
import type { Id } from "../../../src/consensus/index.ts"
import { proposeChange } from "./actions.ts"
import { agreeAll, wakeAll } from "./calm.ts"
import type { SimMember } from "./member.ts"
import type { Cut } from "./network.ts"
import { streamOf } from "./streams.ts"
import type { World } from "./world.ts"

interface Scene {
  readonly world: World
  readonly leader: SimMember
  readonly term: number
  /** Voters that follow. */
  readonly followers: readonly SimMember[]
  readonly follower: SimMember
}

const trialsEach = 4
const quietMs = 600
const catchUpMsMax = 1500
const handOverMsMax = 400
const entriesBusy = 30
const entryEveryMs = 5
/** Messages for each entry and follower, with what comes for commits and full windows. */
const appendsMax = 8
const snapshotsMax = 4

export function tryAll(world: World): void {
  const random = streamOf(world.seed, "trials")
  const names = Object.keys(trials).toSorted(() => random.next() - 0.5)
  for (const name of names.slice(0, trialsEach)) {
    const leader = agreeAll(world)
    const { term, confState } = leader.raft.status()
    const ids = confState.voters.filter((id) => id !== leader.id)
    const followers = ids.map((id) => world.members.get(id)!)
    if (followers.length === 0) continue
    const follower = random.pick(followers)
    world.note(() => `trial: ${name}, leader ${leader.id}, follower ${follower.id}`)
    trials[name]!({ world, leader, term, followers, follower })
    world.note(() => `trial: ${name} is over`)
  }
  agreeAll(world)
}

/** Nobody else was chosen, nor did anybody try. */
function keepsLeader({ world, leader, term }: Scene, what: string): void {
  const now = world.leader()
  world.must(
    now?.id === leader.id && now.raft.status().term === term,
    () => `${what}: ${leader.id} led term ${term}, now ${now?.id} leads ${now?.raft.status().term}`,
  )
}

function isolated(id: Id): Cut {
  return (from, to) => from === id || to === id
}

function inTime(
  scene: Scene,
  { limitMs, what }: { limitMs: number; what: string },
  test: () => boolean,
): void {
  const isReached = scene.world.runUntil(limitMs, test)
  scene.world.must(isReached, () => `${what}: not within ${limitMs} ms`)
}

function proposeSome({ world, leader }: Scene, count: number): void {
  for (let proposed = 0; proposed < count; proposed++) {
    world.propose(leader, "some")
    world.runFor(4 * entryEveryMs)
  }
}

/** Somebody leads a later term, whatever the old leader believes. */
function hasNewer({ world, term }: Scene): boolean {
  return (world.leader()?.raft.status().term ?? 0) > term
}

function hasOtherLeader({ world, leader }: Scene): boolean {
  const now = world.leader()
  return now !== undefined && now.id !== leader.id
}

/** The leader is gone; the others must have another one, and it comes back later. */
function failover(scene: Scene, what: string): void {
  const { world, leader } = scene
  world.asleep.add(leader.id)
  leader.crash()
  inTime(scene, { limitMs: world.electionMsMax, what }, () => hasOtherLeader(scene))
  wakeAll(world)
}

function sentSince({ world }: Scene, type: string): () => number {
  const before = world.sent.get(type) ?? 0
  return () => (world.sent.get(type) ?? 0) - before
}

const trials: Readonly<Record<string, (scene: Scene) => void>> = {
  /** B-21: nothing happens, so nothing changes. */
  idle(scene) {
    scene.world.runFor(quietMs)
    keepsLeader(scene, "an idle cluster")
  },
  /** C-04, C-05: who was away comes back without a word. */
  cutOff(scene) {
    const { world, follower } = scene
    const cut = isolated(follower.id)
    world.network.cut(cut)
    world.runFor(quietMs)
    world.network.mend(cut)
    world.runFor(quietMs)
    if (scene.followers.length > 1) keepsLeader(scene, "after a follower was cut off")
  },
  /** The hint of one that is wrong changes nothing. */
  flap(scene) {
    const { world, follower, leader } = scene
    world.hint(follower, leader.id)
    world.runFor(quietMs)
    keepsLeader(scene, "after a false hint")
  },
  failover(scene) {
    if (scene.followers.length > 1) failover(scene, "a new leader after a crash")
  },
  /** B-20: one that hears nobody asks for votes for ever; that keeps nobody else from leading. */
  mute(scene) {
    const { world, follower, followers } = scene
    if (followers.length < 4) return
    const cut: Cut = (_, to) => to === follower.id
    world.network.cut(cut)
    world.runFor(quietMs)
    keepsLeader(scene, "while a follower hears nothing")
    failover(scene, "a new leader beside one that hears nothing")
    world.network.mend(cut)
  },
  /** C-17, C-31: what was compacted meanwhile comes as a snapshot, once. */
  lag(scene) {
    const { world, follower, followers, leader } = scene
    if (followers.length < 2) return
    const cut = isolated(follower.id)
    world.network.cut(cut)
    for (let count = 0; count < entriesBusy; count++) {
      world.propose(leader, "lag")
      world.runFor(entryEveryMs)
    }
    for (const member of world.alive()) if (member !== follower) member.takeSnapshot()
    const snapshots = sentSince(scene, "MsgSnap")
    const { commit } = leader.raft.status()
    world.network.mend(cut)
    inTime(
      scene,
      { limitMs: catchUpMsMax, what: "a follower that lags" },
      () => follower.appliedIndex >= commit,
    )
    keepsLeader(scene, "while a follower catches up")
    world.must(snapshots() <= snapshotsMax, () => `${snapshots()} snapshots for one that lags`)
  },
  /** B-18: one that has more than the snapshot that it is sent, and nobody praises the stream. */
  unheard(scene) {
    const { world, follower, followers, leader } = scene
    if (followers.length < 2) return
    const cut: Cut = (from, to) => from === follower.id && to === leader.id
    world.network.cut(cut)
    proposeSome(scene, 2)
    leader.takeSnapshot()
    proposeSome(scene, 3)
    // The connection is lost, and there again.
    leader.input((raft) => raft.reportUnreachable(follower.id))
    world.network.mend(cut)
    const limit = { limitMs: catchUpMsMax, what: "one whose answers were lost" }
    inTime(scene, limit, () => {
      const { progress, lastIndex } = leader.raft.status()
      return progress.some(({ id, match }) => id === follower.id && match === lastIndex)
    })
    keepsLeader(scene, "while answers are lost")
  },
  /** B-11: what confirmed a leader before it was deposed comes late, and confirms no read that was asked after. */
  deposed(scene) {
    const { world, followers, leader } = scene
    if (followers.length < 2) return
    leader.tick()
    world.read(leader)
    world.network.hold(leader.id)
    world.runFor(entryEveryMs * 3)
    const cut: Cut = (from) => from === leader.id
    world.network.cut(cut)
    for (const follower of followers) world.hint(follower, leader.id)
    world.runUntil(world.electionMsMax, () => hasNewer(scene))
    const next = world.leader()
    if (next) world.propose(next, "deposed")
    const { readFloor } = world
    world.runUntil(quietMs, () => world.readFloor > readFloor || !leader.isLeader)
    world.read(leader)
    world.network.letGo(leader.id)
    world.network.mend(cut)
  },
  handOver(scene) {
    const { world, leader, follower, term } = scene
    leader.input((raft) => raft.transferLeadership(follower.id))
    inTime(scene, { limitMs: handOverMsMax, what: "a transfer" }, () => follower.isLeader)
    world.runFor(quietMs)
    keepsLeader({ ...scene, leader: follower, term: term + 1 }, "after a transfer")
  },
  /** Work gets through, and costs a bounded number of messages. */
  busy(scene) {
    const { world, leader } = scene
    const appends = sentSince(scene, "MsgApp")
    for (let count = 0; count < entriesBusy; count++) {
      world.propose(leader, "busy")
      world.runFor(entryEveryMs)
    }
    const { lastIndex, confState } = leader.raft.status()
    inTime(
      scene,
      { limitMs: quietMs, what: "the commit of what was proposed" },
      () => leader.appliedIndex >= lastIndex,
    )
    keepsLeader(scene, "a busy cluster")
    const allowed = appendsMax * entriesBusy * (confState.voters.length + confState.learners.length)
    world.must(appends() <= allowed, () => `${appends()} appends, ${allowed} would do`)
  },
  /** C-35: a joint change ends by itself. */
  change(scene) {
    const { world, leader, follower } = scene
    proposeChange(world, leader, {
      transition: "implicit",
      changes: [{ type: "ConfChangeAddNode", id: follower.id }],
      context: new Uint8Array(0),
    })
    const { lastIndex } = leader.raft.status()
    inTime(scene, { limitMs: quietMs, what: "the end of a joint change" }, () => {
      const { applied, confState } = leader.raft.status()
      return applied > lastIndex && confState.votersOutgoing.length === 0
    })
    keepsLeader(scene, "while the members change")
  },
}

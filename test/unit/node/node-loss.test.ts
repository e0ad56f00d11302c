/** What becomes of attempts whose node is lost: wait, requeue, fail; and that none runs twice that may be moved. */
import { expect, test } from "vitest"
import type { Machine } from "../../sim/cluster/machine.ts"
import { aJob, minute, Stage } from "./stage.ts"

const longMs = 3 * minute

/** A job of three minutes on a node that does not lead, moved elsewhere when that is lost. */
async function movable(script = { durationMs: longMs }): Promise<{
  stage: Stage
  run: string
  victim: Machine
}> {
  const stage = await Stage.open(3, () => script)
  const run = await stage.submit([aJob({ onLoss: "requeue" })])
  const first = await stage.world.until("a start", minute, () =>
    stage.seen.find(({ kind }) => kind === "start"),
  )
  const victim = stage.world.machines.find(({ name }) => name === first.machine)!
  return { stage, run, victim }
}

const losses: readonly (readonly [string, (stage: Stage, victim: Machine) => void])[] = [
  ["its process is killed for good", (_, victim) => victim.kill()],
  ["its process is stopped (SIGSTOP)", (_, victim) => victim.pause()],
  ["it is cut off", ({ world }, victim) => world.net.isolate(victim.peerId)],
  [
    "nothing of it is heard, though it hears everything",
    ({ world }, victim) => {
      for (const { peerId } of world.machines) {
        if (peerId !== victim.peerId) world.net.cut(victim.peerId, peerId)
      }
    },
  ],
]

test.each(losses)(
  "requeue: %s, and the job has ended there before it starts elsewhere",
  async (_, lose) => {
    const { stage, run, victim } = await movable()
    const isLeader = victim === stage.leader
    lose(stage, victim)
    await stage.world.until("a second start", 2 * minute, () =>
      stage.seen.some(({ kind, machine }) => kind === "start" && machine !== victim.name),
    )
    const [ended] = stage.of(victim, "end")
    const second = stage.seen.find(
      ({ kind, machine }) => kind === "start" && machine !== victim.name,
    )!
    expect(isLeader).toBe(false)
    expect(ended?.at).toBeLessThan(second.at)
    expect(stage.task(run, "job").attempts.map(({ ending }) => ending?.outcome)).toEqual([
      "lost",
      undefined,
    ])
  },
)

test.each([
  ["wait", /was started on n\d, which has not answered for \d+ s; .*declare-dead n\d/],
  ["fail", /was started on n\d, which has not answered for \d+ s; it is lost if/],
] as const)("explain says that a run waits for a node that is away: %s", async (onLoss, reason) => {
  const stage = await Stage.open(3, () => ({ durationMs: longMs }))
  const run = await stage.submit([aJob({ onLoss })])
  const first = await stage.world.until("a start", minute, () =>
    stage.seen.find(({ kind }) => kind === "start"),
  )
  const { world } = stage
  const leader = stage.leader
  const explained = async (): Promise<readonly string[]> => {
    const signal = world.clock.timeoutSignal(minute, "a question")
    const asked = leader.node!.explainRun(run, undefined, { signal })
    return (await world.clock.drive(asked)).tasks.map((task) => task.reason)
  }
  expect(await explained()).toEqual([])
  const victim = world.machines.find(({ name }) => name === first.machine)!
  victim.kill()
  await world.pass(3000)
  expect(await explained()).toEqual([expect.stringMatching(reason)])
})

test("requeue: the leader that is cut off ends its own, too", async () => {
  const { stage, victim } = await movable()
  const { world } = stage
  await world.clock.drive(
    victim.node!.transferLeader(
      { to: victim.name },
      { signal: world.clock.timeoutSignal(minute, "x") },
    ),
  )
  await world.pass(2000)
  expect(stage.leader).toBe(victim)
  world.net.isolate(victim.peerId)
  const second = await world.until("a second start", 2 * minute, () =>
    stage.seen.find(({ kind, machine }) => kind === "start" && machine !== victim.name),
  )
  expect(stage.of(victim, "end")[0]?.at).toBeLessThan(second.at)
})

test("requeue: a machine that sleeps ends what it had as soon as it wakes, and its word comes too late", async () => {
  const { stage, run, victim } = await movable()
  victim.sleep()
  await stage.world.pass(5 * minute)
  expect(stage.run(run).verdict).toBe("succeeded")
  const begun = stage.world.clock.boottime()
  victim.wake()
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
  const [ended] = stage.of(victim, "end")
  expect(ended!.at - begun).toBeLessThan(2500)
  expect(stage.task(run, "job").attempts).toHaveLength(2)
})

test("requeue: a node that is back before it is given up says that it ended it: it runs again, and that was no try", async () => {
  const { stage, run, victim } = await movable()
  victim.kill()
  await stage.world.until("its end", minute, () => stage.of(victim, "end").length > 0)
  victim.start()
  await stage.world.until(
    "a second try",
    minute,
    () => stage.task(run, "job").attempts.length === 2,
  )
  const [first] = stage.task(run, "job").attempts
  expect(first?.ending).toMatchObject({
    outcome: "lost",
    reason: "its node had had no lease for 6 s",
  })
  expect((await stage.finished(run, 20 * minute)).verdict).toBe("succeeded")
})

test("requeue: a short absence ends nothing", async () => {
  const { stage, run, victim } = await movable()
  victim.kill()
  await stage.world.pass(2000)
  victim.start()
  await stage.world.pass(20_000)
  expect(stage.of(victim, "end")).toEqual([])
  expect(stage.task(run, "job").attempts).toHaveLength(1)
})

async function pinned(
  onLoss: "wait" | "fail",
  durationMs: number,
  size = 3,
): Promise<{ stage: Stage; run: string; victim: Machine }> {
  const stage = await Stage.open(size, () => ({ durationMs }))
  const victim = stage.other
  const run = await stage.submit([aJob({ onLoss, needs: { node: victim.name } })])
  await stage.started(victim)
  return { stage, run, victim }
}

test("wait: a laptop that sleeps goes on when it wakes, and its late result counts", async () => {
  const { stage, run, victim } = await pinned("wait", 5 * minute, 2)
  victim.sleep()
  await stage.world.pass(20 * minute)
  expect(stage.sessionState(victim)).toBe("lost")
  expect(stage.run(run).state).toBe("active")
  victim.wake()
  expect((await stage.finished(run)).verdict).toBe("succeeded")
  expect(stage.task(run, "job").attempts).toHaveLength(1)
  expect(stage.of(victim, "start")).toHaveLength(1)
})

test("wait: what ended while it was cut off, and slept, is told on waking", async () => {
  const { stage, run, victim } = await pinned("wait", minute)
  stage.world.net.isolate(victim.peerId)
  await stage.world.until("its end", 2 * minute, () => stage.of(victim, "end").length === 1)
  victim.sleep()
  await stage.world.pass(5 * minute)
  victim.wake()
  stage.world.net.heal()
  expect((await stage.finished(run)).verdict).toBe("succeeded")
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
})

test("wait: a result of long ago is told by another life of the node", async () => {
  const { stage, run, victim } = await pinned("wait", minute)
  victim.kill()
  await stage.world.pass(5 * minute)
  expect(stage.of(victim, "end")).toHaveLength(1)
  victim.start()
  expect((await stage.finished(run)).verdict).toBe("succeeded")
})

test("fail: 30 s after its node was heard last the attempt is lost; what comes back is ended and ignored", async () => {
  const { stage, run, victim } = await pinned("fail", longMs)
  const before = stage.world.clock.boottime()
  stage.world.net.isolate(victim.peerId)
  expect((await stage.finished(run)).verdict).toBe("lost")
  const ms = stage.world.clock.boottime() - before
  expect(ms).toBeGreaterThan(29_000)
  expect(ms).toBeLessThan(33_000)
  expect(stage.of(victim, "end")).toEqual([])
  stage.world.net.heal()
  await stage.world.until("nothing held", minute, () => victim.keeper.list().length === 0)
  expect(stage.of(victim, "end")).toHaveLength(1)
})

test("a host that was restarted has lost what waits, and what may be moved runs again", async () => {
  const stage = await Stage.open(3, () => ({ durationMs: 2 * minute }))
  const victim = stage.other
  const runs: string[] = []
  for (const onLoss of ["wait", "requeue"] as const) {
    runs.push(await stage.submit([aJob({ onLoss, needs: { node: victim.name } })]))
  }
  await stage.started(victim, 2)
  victim.cutPower()
  await stage.world.pass(1000)
  victim.bootUp()
  victim.start()
  expect((await stage.finished(runs[0]!)).verdict).toBe("lost")
  expect((await stage.finished(runs[1]!, 30 * minute)).verdict).toBe("succeeded")
})

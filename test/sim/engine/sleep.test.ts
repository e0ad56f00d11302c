/** A laptop that sleeps an hour: what it had finished is reported when it wakes, what was moved meanwhile is stopped there. */
import { expect, test } from "vitest"
import type { Run } from "../../../src/schema/index.ts"
import { timingFrom } from "../../../src/node/index.ts"
import { aGroup, aPlan, aProcess } from "../../support/plans.ts"
import type { Machine } from "../cluster/machine.ts"
import { formed } from "../cluster/verify.ts"
import { World } from "../cluster/world.ts"
import { type RunRows, runsIn } from "./rows.ts"

const hourMs = 3_600_000
const limitMs = 120_000
const workMs = 20_000
const soonMs = 3000
/** Slower than on a LAN: an hour has fewer ticks. */
const timing = timingFrom({ tickMs: 250, heartbeatMs: 1000, electionMinMs: 5000 })

async function cluster(): Promise<{ world: World; laptop: Machine }> {
  const world = new World({
    seed: 3,
    script: ({ argv }) => ({ durationMs: argv[0] === "ended" ? soonMs : workMs }),
  })
  for (const number of [1, 2, 3, 4]) {
    const seeds = [1, 2, 3, 4].filter((other) => other < number)
    world.add({ number, seeds, timing, ...(number === 4 && { voter: "never" as const }) }).start()
  }
  await world.until("one cluster", limitMs, () => formed(world))
  return { world, laptop: world.machines[3]! }
}

async function submit(
  world: World,
  label: string,
  group: Partial<Parameters<typeof aGroup>[1]>,
): Promise<string> {
  const work = aProcess({ argv: [label], directory: false })
  const plan = aPlan([aGroup("work", { work, ...group })], { label, timeoutMs: 3 * hourMs })
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const accepted = world.machines[0]!.submitPlan(plan, { key: label, signal })
  return (await world.clock.drive(accepted)).id
}

/** undefined: on no disk yet. */
function find(world: World, run: string): RunRows | undefined {
  const newest = world.machines
    .flatMap(({ replicated }) => replicated ?? [])
    .toSorted((a, b) => b.index - a.index)[0]!
  return runsIn(newest.rows).find((one) => one.run.id === run)
}

const runOf = (world: World, id: string): Run | undefined => find(world, id)?.run

function attemptsOf(world: World, run: string) {
  const groups = find(world, run)?.groups ?? []
  return groups.flatMap(({ tasks }) => tasks.flatMap((task) => task.attempts))
}

async function fallAsleep(world: World, laptop: Machine): Promise<() => void> {
  const others = world.machines.filter((machine) => machine !== laptop)
  laptop.sleep()
  world.net.isolate(laptop.peerId)
  await world.pass(1000)
  return () => {
    for (const { peerId } of others) {
      world.net.heal(laptop.peerId, peerId)
      world.net.heal(peerId, laptop.peerId)
    }
    laptop.wake()
  }
}

test("after an hour's sleep a waiting task ends by what its process did, a moved one by what the other did", async () => {
  const { world, laptop } = await cluster()
  const stays = await submit(world, "stays", { onLoss: "wait", needs: { node: laptop.name } })
  const moves = await submit(world, "moves", { onLoss: "requeue" })
  const ended = await submit(world, "ended", { onLoss: "wait", needs: { node: laptop.name } })
  await world.until("all started", limitMs, () =>
    [stays, moves, ended].every((run) => attemptsOf(world, run).some((one) => one.startedAt)),
  )
  // One has ended there, and its end is on its way to nobody.
  for (const { peerId } of world.machines) {
    if (peerId !== laptop.peerId) world.net.cut(laptop.peerId, peerId)
  }
  await world.pass(soonMs + 500)
  const wake = await fallAsleep(world, laptop)
  await world.pass(hourMs)
  expect(runOf(world, stays)?.state).toBe("active")
  expect(runOf(world, ended)?.state).toBe("active")
  wake()
  for (const run of [stays, moves, ended]) {
    await world.until(`${run} over`, limitMs, () => runOf(world, run)?.state === "finished")
    expect(runOf(world, run)?.verdict).toBe("succeeded")
  }
  expect(attemptsOf(world, stays)).toHaveLength(1)
  expect(attemptsOf(world, ended)).toHaveLength(1)
  await world.until("nothing held", limitMs, () =>
    world.machines.every(({ keeper }) => keeper.list().length === 0),
  )
  const starts = world.machines.flatMap(({ keeper }) => keeper.starts)
  expect(new Set(starts.map(({ run, fence }) => `${run}/${fence}`)).size).toBe(starts.length)
}, 240_000)

test("work that is moved from a sleeping laptop runs once more, and its own end there counts for nothing", async () => {
  const { world, laptop } = await cluster()
  const run = await submit(world, "moves", { onLoss: "requeue", needs: {}, count: 8 })
  await world.until("one there", limitMs, () => laptop.keeper.starts.length > 0)
  const wake = await fallAsleep(world, laptop)
  await world.until("all of it", 2 * limitMs, () => runOf(world, run)?.state === "finished")
  expect(runOf(world, run)?.verdict).toBe("succeeded")
  const before = JSON.stringify(attemptsOf(world, run))
  const lost = attemptsOf(world, run).filter(({ ending }) => ending?.outcome === "lost")
  expect(lost).toHaveLength(laptop.keeper.starts.length)
  await world.pass(hourMs / 10)
  wake()
  await world.until("nothing held", limitMs, () => laptop.keeper.list().length === 0)
  expect(JSON.stringify(attemptsOf(world, run))).toBe(before)
}, 240_000)

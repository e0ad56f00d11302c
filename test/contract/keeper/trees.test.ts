/** Process trees die whole, by whatever this host offers to hold them together. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { isAlive, type ProcessId } from "../../../src/keeper/process-table.ts"
import { createClock } from "../../../src/platform/index.ts"
import { printed, readyBy, shell } from "./jobs.ts"
import { type RealWorld, realWorld, type Watched } from "./worlds.ts"

describe.each(["cgroup2", "freezer", "pids", "session"])("by %s", (kind) => {
  let world: RealWorld
  let node: Watched
  let offered: string
  beforeEach(async () => {
    world = realWorld({ args: ["--trees", kind] })
    const client = world.client()
    await client.start()
    offered = (await client.status()).trees
    node = await world.node()
  })
  afterEach(async () => await world.end())

  test("stopping ends forks, sessions of their own and the deaf", async ({ skip }) => {
    skip(offered !== kind, `this host has no writable ${kind}`)
    // Without a cgroup a process that leaves its session, its parent and its environment cannot be told from others.
    const hidden = kind === "session" ? "setsid" : "setsid env -i"
    const order = world.order(
      shell(`
        trap '' TERM
        sh -c 'trap "" TERM; echo $$; while :; do sleep 100; done' &
        setsid sh -c 'trap "" TERM; echo $$; (${hidden} sleep 1000 & echo $!); sleep 1000' &
        until [ "$(wc -l < /proc/$$/fd/1)" -ge 3 ]; do sleep 0.01; done
        echo all
        while :; do sleep 100; done
      `),
      readyBy("all"),
    )
    await node.port.launch(order)
    await node.reached(order, "ready")
    const tree = printed(await node.text(order))
    expect(tree).toHaveLength(3)
    expect(tree.every(isAlive)).toBe(true)
    await node.port.end({ ...order, graceMs: 100, reason: "told to" })
    expect(await node.ending(order)).toMatchObject({ signal: "SIGKILL", stopped: true })
    expect(tree.filter(isAlive)).toEqual([])
  })

  test("a job that ends by itself leaves nothing running and keeps its exit code", async ({
    skip,
  }) => {
    skip(offered !== kind, `this host has no writable ${kind}`)
    const order = world.order(
      shell("sleep 1000 & echo $!; setsid sh -c 'trap \"\" TERM; sleep 1000' & echo $!; exit 5"),
    )
    await node.port.launch(order)
    const ending = await node.ending(order)
    expect(ending).toMatchObject({ outcome: "exited", exitCode: 5, stopped: false })
    const left = printed(await node.text(order))
    expect(left).toHaveLength(2)
    // In a session of its own without a cgroup: found by the sweep, seconds later.
    if (kind === "session") await gone(left)
    expect(left.filter(isAlive)).toEqual([])
  })

  test("a newborn that forks away at once does not slip out", async ({ skip }) => {
    skip(offered !== kind, `this host has no writable ${kind}`)
    skip(kind === "session", "only a cgroup can promise that")
    const all = Array.from({ length: 10 }, () =>
      world.order(shell("(env -i setsid sleep 1000 & echo $!)")),
    )
    await Promise.all(all.map((order) => node.port.launch(order)))
    for (const order of all) {
      await node.ending(order)
      const left = printed(await node.text(order))
      expect(left).toHaveLength(1)
      expect(left.filter(isAlive)).toEqual([])
    }
  })
})

async function gone(processes: readonly ProcessId[]): Promise<void> {
  while (processes.some(isAlive)) await createClock().sleep(20)
}

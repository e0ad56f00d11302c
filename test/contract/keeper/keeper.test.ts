/** What every keeper promises: orders, endings, readiness, output, and what outlives whom. */
import { createServer } from "node:net"
import { createClock } from "../../../src/platform/index.ts"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import * as scripts from "./scripts.ts"
import { fakeWorld, realWorld, type Watched, type World } from "./worlds.ts"

const ready = { method: "stdout_match", pattern: "^up$", timeoutMs: 10_000 } as const

describe.each([
  { name: "scripted", open: fakeWorld },
  { name: "real", open: realWorld },
])("$name keeper", ({ name, open }) => {
  let world: World
  let node: Watched
  beforeEach(async () => {
    world = open()
    node = await world.node()
  })
  afterEach(async () => await world.end())

  const run = async (script: Parameters<World["order"]>[0], more = {}) => {
    const order = world.order(script, more)
    const seen = await node.port.launch(order)
    return { order, seen }
  }

  test("an order becomes a process, its end comes with the exit code and both times", async () => {
    const { order, seen } = await run(scripts.exits(0))
    expect(["started", "ended"]).toContain(seen.state)
    const ended = await node.reached(order, "ended")
    expect(ended.ending).toMatchObject({ outcome: "exited", exitCode: 0, stopped: false })
    expect(ended.ending?.reason).toBeUndefined()
    expect(ended.ending!.endedAt).toBeGreaterThanOrEqual(ended.ending!.startedAt!)
  })

  test.each([1, 3, 255])("exit code %i is a reason", async (exitCode) => {
    const { order } = await run(scripts.exits(exitCode))
    expect(await node.ending(order)).toMatchObject({
      outcome: "exited",
      exitCode,
      stopped: false,
      reason: `exited with code ${exitCode}`,
    })
  })

  test.each(["KILL", "SEGV"] as const)("a job that dies by %s is signalled", async (signal) => {
    const { order } = await run(scripts.killsItself(signal))
    expect(await node.ending(order)).toMatchObject({
      outcome: "signalled",
      signal: `SIG${signal}`,
      stopped: false,
      reason: `killed by SIG${signal}`,
    })
  })

  test("an answer to an order is never older than what was told of it before", async () => {
    const ended = new Set<number>()
    node.port.onChange(({ fence, state }) => {
      if (state === "ended") ended.add(fence)
    })
    const orders = Array.from({ length: 40 }, () => world.order(scripts.exits(0)))
    await Promise.all(
      orders.map(async (order) => {
        const seen = await node.port.launch(order)
        if (ended.has(order.fence)) expect(seen.state).toBe("ended")
      }),
    )
  })

  test("who reads along from before the order is told of an end only with all that came before it", async () => {
    for (let round = 0; round < 10; round++) {
      const order = world.order(scripts.says("all of it"))
      const launching = node.port.launch(order)
      let text = ""
      for (let state = "absent"; state !== "ended";) {
        const start = { offset: Buffer.byteLength(text) }
        const piece = await node.port.tail({ ...order, stream: "stdout" }, { start, max: 1 << 16 })
        text += Buffer.from(piece.data).toString()
        state = piece.state
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(text).toBe("all of it")
      await launching
    }
  })

  test("the same fence again is the same attempt, also at the same time", async () => {
    const order = world.order(scripts.saysAndStays("once"))
    const [first, second] = await Promise.all([node.port.launch(order), node.port.launch(order)])
    const third = await node.port.launch(order)
    expect(second.pid).toBe(first.pid)
    expect(third.pid).toBe(first.pid)
    expect(await node.port.list()).toHaveLength(1)
  })

  test("a lower fence of the same task, or a lower term, is refused", async () => {
    const task = "t"
    const { order } = await run(scripts.exits(0), { task, term: 5, fence: 100 })
    await node.ending(order)
    const older = world.order(scripts.exits(0), { task, term: 5, fence: 99 })
    await expect(node.port.launch(older)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
    const deposed = world.order(scripts.exits(0), { task: "other", term: 4, fence: 101 })
    await expect(node.port.launch(deposed)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
  })

  test("another cluster is refused while jobs run, and obeyed when none does", async () => {
    const { order } = await run(scripts.sleeps)
    const foreign = world.order(scripts.exits(7), { clusterId: "c-2", fence: 1, task: order.task })
    await expect(node.port.launch(foreign)).rejects.toMatchObject({ code: "ERR_FORBIDDEN" })
    await node.port.end({ ...order, graceMs: 100, reason: "over" })
    await node.ending(order)
    await node.port.launch(foreign)
    expect(await node.ending(foreign)).toMatchObject({ exitCode: 7 })
    expect(await node.port.list()).toHaveLength(1)
  })

  test("what cannot be started has ended when the order is answered, and says why", async () => {
    const { seen } = await run(scripts.neverThere)
    expect(seen.state).toBe("ended")
    expect(seen.ending).toMatchObject({ outcome: "not_started", stopped: false })
    expect(seen.ending?.reason).toContain("command not found: no-such-program-anywhere")
  })

  test("output is read by ranges and is complete when the attempt has ended", async () => {
    const { order } = await run(scripts.says("0123456789", "oops"))
    await node.ending(order)
    expect(await node.text(order)).toBe("0123456789")
    expect(await node.text(order, "stderr")).toBe("oops")
    const part = await node.port.read(order, "stdout", { offset: 4, max: 3 })
    expect(Buffer.from(part.data).toString()).toBe("456")
    expect(part).toMatchObject({ size: 10, ended: true })
    const behind = await node.port.read(order, "stdout", { offset: 50, max: 3 })
    expect(behind.data).toHaveLength(0)
  })

  test("content gives the file that an attempt names", async () => {
    const { order } = await run(scripts.says("all of it"))
    const { stdout } = await node.reached(order, "ended")
    let text = ""
    for await (const chunk of node.port.content(stdout)) text += Buffer.from(chunk).toString()
    expect(text).toBe("all of it")
  })

  test("ready by a line, by the seed's event and by time", async () => {
    const line = await run(scripts.saysAndStays("up"), { readiness: ready })
    const event = await run(scripts.saysAndStays('{"ts": 1, "event" : "server_ready"}'), {
      readiness: { method: "structured_stdout", timeoutMs: 10_000 },
    })
    const time = await run(scripts.sleeps, {
      readiness: { method: "delay", delayMs: 20, timeoutMs: 10_000 },
    })
    for (const { order } of [line, event, time]) {
      const seen = await node.reached(order, "ready")
      expect(seen.state).toBe("ready")
      expect(seen.readyAt).toBeGreaterThanOrEqual(seen.startedAt!)
    }
  })

  test("ready when a port answers", async () => {
    const server = createServer((socket) => socket.end())
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as { port: number }
    try {
      const { order } = await run(
        { ...scripts.sleeps, fake: { listensAtMs: 10 } },
        {
          readiness: {
            method: "tcp_connect",
            host: "127.0.0.1",
            port: String(port),
            timeoutMs: 10_000,
          },
        },
      )
      expect((await node.reached(order, "ready")).state).toBe("ready")
    } finally {
      server.close()
    }
  })

  test("a job that does not become ready in time is stopped and says so", async () => {
    const { order } = await run(scripts.saysAndStays("starting"), {
      readiness: { ...ready, timeoutMs: 150 },
    })
    const ending = await node.ending(order)
    expect(ending.stopped).toBe(true)
    expect(ending.reason).toMatch(/^not ready after 0.15 s: /)
  })

  test("a job past its deadline is stopped and says so", async () => {
    const { order } = await run(scripts.sleeps, { deadlineMs: 100 })
    expect(await node.ending(order)).toMatchObject({
      outcome: "signalled",
      signal: "SIGTERM",
      stopped: true,
      reason: "deadline of 0.1 s reached",
    })
  })

  test("an attempt that is moved elsewhere without a lease ends here first, and is lost, not failed", async () => {
    const { order } = await run(scripts.sleeps, { selfStopMs: 700 })
    const stays = await run(scripts.sleeps)
    await node.port.renew({ clusterId: order.clusterId, ageMs: 0 })
    const ending = await node.ending(order)
    expect(ending).toMatchObject({
      outcome: "lost",
      stopped: true,
      reason: "its node had had no lease for 0.7 s",
    })
    expect(ending.endedAt! - ending.startedAt!).toBeGreaterThanOrEqual(600)
    expect((await node.find(stays.order))?.state).toBe("started")
    const late = world.order(scripts.sleeps, { selfStopMs: 700 })
    await node.port.renew({ clusterId: order.clusterId, ageMs: 700 })
    if (name === "real") {
      await expect(node.port.launch(late)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
    }
  })

  test("it is ended though nobody is there to renew, and however deaf it is", async () => {
    const order = world.order(scripts.ignoresTerm, { selfStopMs: 500, graceMs: 60_000 })
    await node.port.launch(order)
    await node.port.stop()
    node = await world.node()
    expect(await node.ending(order)).toMatchObject({ outcome: "lost", signal: "SIGKILL" })
  })

  test("renewals keep it running; a late one, or another cluster's, extends nothing", async () => {
    const { order } = await run(scripts.sleeps, { selfStopMs: 900 })
    for (let round = 0; round < 5; round++) {
      await node.port.renew({ clusterId: order.clusterId, ageMs: 0 })
      await createClock().sleep(300)
    }
    expect((await node.find(order))?.state).toBe("started")
    const deaf = setInterval(() => {
      void node.port.renew({ clusterId: "c-9", ageMs: 0 })
      void node.port.renew({ clusterId: order.clusterId, ageMs: 5000 })
    }, 100)
    try {
      expect(await node.ending(order)).toMatchObject({ outcome: "lost" })
    } finally {
      clearInterval(deaf)
    }
  })

  test("end sends TERM, and KILL to those who do not listen", async () => {
    const soft = await run(scripts.exitsOnTerm(4), {
      readiness: { ...ready, pattern: "set" },
    })
    const deaf = await run(scripts.ignoresTerm, { readiness: { ...ready, pattern: "deaf" } })
    for (const { order } of [soft, deaf]) {
      await node.reached(order, "ready")
      await node.port.end({ ...order, graceMs: 100, reason: "told to" })
    }
    const reason = "told to"
    expect(await node.ending(soft.order)).toMatchObject({
      outcome: "exited",
      exitCode: 4,
      stopped: true,
      reason,
    })
    expect(await node.ending(deaf.order)).toMatchObject({
      outcome: "signalled",
      signal: "SIGKILL",
      stopped: true,
      reason,
    })
  })

  test("the end of an order that never came keeps it from starting", async () => {
    const order = world.order(scripts.exits(0))
    await node.port.end({ ...order, graceMs: 0, reason: "revoked" })
    await expect(node.port.launch(order)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
  })

  test("a newer attempt starts when the older one of its task is gone", async () => {
    const task = "t"
    const first = await run(scripts.sleeps, { task })
    const second = await run(scripts.exits(0), { task, attempt: 2 })
    const ended = await node.ending(first.order)
    expect(ended).toMatchObject({ stopped: true, reason: "superseded by attempt 2" })
    const next = await node.ending(second.order)
    expect(next.startedAt).toBeGreaterThanOrEqual(ended.endedAt!)
  })

  test("forgotten attempts are gone, and their orders are not taken again", async () => {
    const { order } = await run(scripts.says("bye"))
    await node.ending(order)
    await node.port.forget({ ...order, files: true })
    expect(await node.port.list()).toHaveLength(0)
    await node.port.forget({ ...order, files: true })
    await expect(node.port.launch(order)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
    await expect(node.text(order)).rejects.toMatchObject({ code: "ERR_TASK_NOT_FOUND" })
  })

  test("what runs is not forgotten", async () => {
    const { order } = await run(scripts.sleeps)
    const forget = node.port.forget({ ...order, files: true })
    await expect(forget).rejects.toMatchObject({ code: "ERR_KEEPER" })
  })

  test("200 short jobs in flight all end with their own exit code", async () => {
    const all = Array.from({ length: 200 }, (_, n) => world.order(scripts.exits(n)))
    await Promise.all(all.map((order) => node.port.launch(order)))
    const endings = await Promise.all(all.map((order) => node.ending(order)))
    expect(endings.map((ending) => ending.exitCode)).toEqual(all.map((_, n) => n))
  })

  test("a node that comes back finds all that is not forgotten", async () => {
    const stays = await run(scripts.saysAndStays("hello"), {
      readiness: { ...ready, pattern: "hello" },
    })
    const over = await run(scripts.exits(3))
    await node.reached(stays.order, "ready")
    await node.ending(over.order)
    await node.port.stop()
    const next = await world.node()
    const list = await next.port.list()
    expect(new Map(list.map(({ task, state }) => [task, state]))).toEqual(
      new Map([
        [stays.order.task, "ready"],
        [over.order.task, "ended"],
      ]),
    )
    expect(await next.text(stays.order)).toBe("hello\n")
    await next.port.end({ ...stays.order, graceMs: 100, reason: "enough" })
    expect(await next.ending(stays.order)).toMatchObject({ signal: "SIGTERM", stopped: true })
  })

  test("a killed keeper: jobs go on, their endings are unknown, known endings are kept", async () => {
    const stays = await run(scripts.sleeps)
    const dies = await run(scripts.sleeps, { onKeeperDeath: "die" })
    const over = await run(scripts.exits(3))
    await node.ending(over.order)
    expect(dies.seen.diesWithKeeper).toBe(true)
    await world.killKeeper()
    const found = await node.again(async () => await node.port.list())
    expect(found.find((one) => one.task === stays.order.task)?.state).toBe("started")
    expect(await node.ending(over.order)).toMatchObject({ outcome: "exited", exitCode: 3 })
    await node.port.end({ ...stays.order, graceMs: 100, reason: "enough" })
    expect((await node.ending(stays.order)).reason).toMatch(/^enough; /)
    for (const { order } of [dies, stays]) {
      const ending = await node.ending(order)
      expect(ending.outcome).toBe("unknown")
      expect(ending.reason).toContain("not known")
    }
    expect(node.changes.filter((one) => one.state === "ended")).toHaveLength(3)
  })

  test("after the keeper's death new orders run and old fences are still refused", async () => {
    const { order } = await run(scripts.exits(0), { term: 9 })
    await node.ending(order)
    await node.port.forget({ ...order, files: true })
    await world.killKeeper()
    const old = node.again(async () => await node.port.launch(order))
    await expect(old).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
    const deposed = world.order(scripts.exits(0), { term: 8 })
    await expect(node.port.launch(deposed)).rejects.toMatchObject({ code: "ERR_LEASE_LOST" })
    const next = await run(scripts.exits(6), { term: 9 })
    expect(await node.ending(next.order)).toMatchObject({ exitCode: 6 })
  })

  test("calls of a client that is not connected fail by ERR_KEEPER", async () => {
    await node.port.stop()
    await expect(node.port.list()).rejects.toMatchObject({ code: "ERR_KEEPER" })
    // So that the end of the test finds a keeper to send away.
    if (name === "real") await node.port.start()
  })
})

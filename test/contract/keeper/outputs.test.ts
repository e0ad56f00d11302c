/** What jobs wrote, after them: times, output that outlives its attempt, files that are used again, stray writers. */
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { shell } from "./jobs.ts"
import * as scripts from "./scripts.ts"
import { type RealWorld, realWorld, type Watched } from "./worlds.ts"

let world: RealWorld
let node: Watched
beforeEach(async () => {
  world = realWorld()
  node = await world.node()
})
afterEach(async () => await world.end())

async function run(script: ReturnType<typeof shell>, more = {}) {
  const order = world.order(script, more)
  const seen = await node.port.launch(order)
  await node.ending(order)
  const tail = async (stream: "stdout" | "stderr" = "stdout", offset = 0) =>
    await node.port.tail({ ...order, stream }, { start: { offset }, max: 1 << 20 })
  return { order, seen, tail }
}

const text = (data: Uint8Array) => Buffer.from(data).toString()
const filesIn = (folder: string) => readdirSync(join(world.directory, "keeper", folder))

test("when the lines were there is known afterwards, also what was silence", async () => {
  const { tail } = await run(shell("echo one; sleep 1.5; echo two"))
  const { data, points, state } = await tail()
  expect([text(data), state]).toEqual(["one\ntwo\n", "ended"])
  const atOf = (bytes: number) => points.find((point) => point.bytes >= bytes)!.at
  expect(atOf(8) - atOf(4)).toBeGreaterThan(1000)
  const silence = points.filter(({ bytes }) => bytes === 4)
  expect(silence.at(-1)!.at - silence[0]!.at).toBeGreaterThan(500)
})

test("output stays when its attempt is forgotten, its directory goes; then it is removed, and when is known", async () => {
  const { order, seen, tail } = await run(scripts.says("kept\n", "wrong\n"), { directory: true })
  await node.port.forget({ ...order, files: false })
  expect(existsSync(seen.directory!)).toBe(false)
  expect(await node.port.list()).toEqual([])
  expect(text((await tail()).data)).toBe("kept\n")
  expect(await tail("stderr", 2)).toMatchObject({ state: "ended", offset: 2, size: 6 })
  const [kept] = await node.port.kept()
  expect(kept).toMatchObject({ run: "r-1" })
  await node.port.dropKept(new Set(["r-1"]))
  const gone = await tail()
  expect(gone.state).toBe("removed")
  expect(gone.removedAt).toBeGreaterThan(0)
  expect(filesIn("out")).toEqual([])
  const never = { ...order, run: "r-2", stream: "stdout" } as const
  expect(await node.port.tail(never, { start: { offset: 0 }, max: 1 })).toMatchObject({
    state: "absent",
  })
})

test("jobs that write nothing leave no files, and what the next one writes is its own", async ({
  skip,
}) => {
  const client = world.client()
  await client.start()
  skip((await client.status()).trees === "session", "no cgroups here: no file is used again")
  for (let n = 0; n < 5; n++) await run(scripts.exits(0))
  expect(filesIn("out")).toEqual([])
  expect(filesIn("spare")).toHaveLength(2)
  const { order, tail } = await run(scripts.says("mine\n"))
  expect(text((await tail()).data)).toBe("mine\n")
  expect(text((await tail("stderr")).data)).toBe("")
  expect(filesIn("out")).toHaveLength(1)
  await node.port.forget({ ...order, files: true })
  expect(filesIn("out")).toEqual([])
})

test("a process that its job left behind writes into no other job's output", async () => {
  const left = await run(
    shell(
      "setsid sh -c 'trap \"\" TERM HUP; while :; do echo stray; sleep 0.01; done' & sleep 0.1",
    ),
    { graceMs: 50 },
  )
  const next = await Promise.all(
    Array.from({ length: 5 }, async () => await run(scripts.says("own\n"))),
  )
  for (const { tail } of next) expect(text((await tail()).data)).toBe("own\n")
  expect(text((await left.tail()).data)).toMatch(/^(?:stray\n)+$/)
})

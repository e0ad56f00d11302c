/** Limits on real processes: held, reported, kept over a keeper's death, and gone when the job is. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { afterEach, beforeEach, expect, type TestContext, test } from "vitest"
import { type LimitAbilities, limitNames } from "../../../src/keeper/limits.ts"
import { limitAbilities } from "../../../src/keeper/index.ts"
import { keeperPaths } from "../../../src/keeper/paths.ts"
import { readJournal } from "../../../src/keeper/journal.ts"
import type { Limits } from "../../../src/schema/index.ts"
import { readyBy, shell } from "./jobs.ts"
import * as scripts from "./scripts.ts"
import { type RealWorld, realWorld, type Watched } from "./worlds.ts"

const abilities: LimitAbilities = limitAbilities()
const mib = 1 << 20

let world: RealWorld
let node: Watched
beforeEach(async () => {
  world = realWorld()
  node = await world.node()
})
afterEach(async () => {
  const { journal } = keeperPaths(world.directory)
  const { records } = readJournal(journal)
  const made = records.flatMap((one) => (one.type === "limited" ? one.paths : []))
  await world.end()
  expect(
    made.filter((path) => existsSync(path)),
    "cgroups that are left",
  ).toEqual([])
})

function needs({ skip }: TestContext, ...limits: (typeof limitNames)[number][]): void {
  const lacking = limits.filter((limit) => !abilities.enforced.includes(limit))
  skip(lacking.length > 0, `this host cannot enforce ${lacking.join(", ")}`)
}

async function run(script: ReturnType<typeof shell>, limits: Limits, more = {}) {
  const order = world.order(script, { limits, ...more })
  await node.port.launch(order)
  return order
}

/** Takes memory until it is stopped; `tail` is a program of some hundred KiB that keeps all of a line. */
const hog = "tail /dev/zero"

test("a memory hog is killed, and its ending says by what", async (context) => {
  needs(context, "memory")
  const order = await run(shell(`exec ${hog}`), { memoryBytes: 32 * mib })
  expect(await node.ending(order)).toMatchObject({
    outcome: "signalled",
    signal: "SIGKILL",
    stopped: false,
    reason: "killed: out of memory (limit 32 MiB)",
  })
})

test("a hog below a shell: the shell's code is kept, the kill is said", async (context) => {
  needs(context, "memory")
  const order = await run(shell(`${hog}; exit 9`), { memoryBytes: 32 * mib })
  const { reason } = await node.ending(order)
  // v2 takes the whole job, v1 the one process.
  expect([
    "exited with code 9; killed: out of memory (limit 32 MiB)",
    "killed: out of memory (limit 32 MiB)",
  ]).toContain(reason)
})

test("a fork bomb stays small, is said, and dies whole", async (context) => {
  needs(context, "pids")
  const order = await run(
    shell("bomb() { bomb & bomb; }; bomb 2>/dev/null & echo lit; sleep 1000"),
    { pids: 40 },
    readyBy("lit"),
  )
  await node.reached(order, "ready")
  const [path = ""] = limitedPaths(order.fence)
  const events = () => readFileSync(`${path}/pids.events`, "utf8")
  while (events().startsWith("max 0")) await new Promise(setImmediate)
  expect(Number(readFileSync(`${path}/pids.peak`, "utf8"))).toBeLessThanOrEqual(40)
  await node.port.end({ ...order, graceMs: 50, reason: "told to" })
  const ending = await node.ending(order)
  expect(ending.stopped).toBe(true)
  expect(ending.reason).toMatch(
    /^told to; refused \d+ times another process or thread \(limit 40\)$/,
  )
  expect(existsSync(path)).toBe(false)
})

test("processor time is held down", async (context) => {
  needs(context, "cpus")
  const order = await run(
    shell("echo on; while :; do :; done"),
    { cpus: 0.1 },
    { ...readyBy("on"), graceMs: 0 },
  )
  await node.reached(order, "ready")
  const [path = ""] = limitedPaths(order.fence)
  // The kernel itself counts the periods in which it held the job back.
  const throttled = () =>
    Number(/^nr_throttled (\d+)$/m.exec(readFileSync(`${path}/cpu.stat`, "utf8"))?.[1])
  while (throttled() < 3) await new Promise(setImmediate)
  await node.port.end({ ...order, graceMs: 0, reason: "told to" })
  await node.ending(order)
})

test("open files are limited for the program and all it starts", async (context) => {
  needs(context, "open_files")
  const order = await run(shell("ulimit -n; sh -c 'ulimit -Hn'"), { openFiles: 64 })
  expect(await node.ending(order)).toMatchObject({ exitCode: 0 })
  expect(await node.text(order)).toBe("64\n64\n")
})

test("all four at once, with a parent-death signal: argument, environment and group are the job's own", async (context) => {
  needs(context, ...limitNames)
  const limits = { memoryBytes: 64 * mib, cpus: 1, pids: 20, openFiles: 99 }
  const script = ["sh", "-c", 'ulimit -n; echo "$1" "$GREETING"; ps -o pgid= -p $$', "x", "a  b'c"]
  const order = await run({ argv: script, fake: {} }, limits, {
    onKeeperDeath: "die",
    env: { GREETING: "hello" },
  })
  expect(await node.ending(order)).toMatchObject({ exitCode: 0 })
  const { pid } = (await node.find(order))!
  expect((await node.text(order)).split("\n").map((line) => line.trim())).toEqual([
    "99",
    "a  b'c hello",
    String(pid),
    "",
  ])
})

test("a keeper's death: the limits hold on, and what they did is told by the next one", async (context) => {
  needs(context, "memory")
  const go = `${world.directory}/go`
  const order = await run(
    shell(`echo up; until [ -e ${go} ]; do sleep 0.02; done; exec ${hog}`),
    { memoryBytes: 32 * mib },
    readyBy("up"),
  )
  await node.reached(order, "ready")
  await world.killKeeper()
  await node.again(async () => await node.port.list())
  writeFileSync(go, "")
  const ending = await node.ending(order)
  expect(ending.outcome).toBe("unknown")
  expect(ending.reason).toContain("killed: out of memory (limit 32 MiB)")
})

test("a limit that this node cannot give is refused before anything starts, with the remedy", async () => {
  const order = await run(scripts.says("never"), { openFiles: 999_999_999 })
  const ending = await node.ending(order)
  expect(ending).toMatchObject({ outcome: "not_started", stopped: false })
  expect(ending.reason).toContain("raise LimitNOFILE=")
  expect(await node.text(order)).toBe("")
})

test("a limit of one process is room enough for one", async (context) => {
  needs(context, "pids")
  const order = await run(shell("echo ran; (exit 3) || echo refused"), { pids: 1 })
  const { exitCode, reason } = await node.ending(order)
  expect(await node.text(order)).toMatch(/^ran\n/)
  expect(exitCode).not.toBe(0)
  expect(reason).toMatch(/; refused \d+ times another process or thread \(limit 1\)$/)
})

test("a stopped job with limits is killed whole, also what left its session and environment", async (context) => {
  needs(context, "memory")
  const order = await run(
    shell("setsid env -i sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & echo up; sleep 1000"),
    { memoryBytes: 64 * mib },
    readyBy("up"),
  )
  await node.reached(order, "ready")
  const [path = ""] = limitedPaths(order.fence)
  await node.port.end({ ...order, graceMs: 100, reason: "told to" })
  expect(await node.ending(order)).toMatchObject({ stopped: true, reason: "told to" })
  expect(existsSync(path)).toBe(false)
})

function limitedPaths(fence: number): readonly string[] {
  const { records } = readJournal(keeperPaths(world.directory).journal)
  return records.flatMap((one) => (one.type === "limited" && one.fence === fence ? one.paths : []))
}

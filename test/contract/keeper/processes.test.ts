/** What only real processes can show: trees, files, crash windows, one keeper per directory. */
import { spawn } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { Journal, type JournalRecord, readJournal } from "../../../src/keeper/journal.ts"
import { keeperCommand } from "../../../src/keeper/index.ts"
import { keeperPaths } from "../../../src/keeper/paths.ts"
import { isAlive, readBootId, readStat } from "../../../src/keeper/process-table.ts"
import { createClock } from "../../../src/platform/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import { printed, readyBy, shell } from "./jobs.ts"
import * as scripts from "./scripts.ts"
import { type RealWorld, realWorld, type Script, type Watched } from "./worlds.ts"

let world: RealWorld
let node: Watched
beforeEach(async () => {
  world = realWorld()
  node = await world.node()
})
afterEach(async () => await world.end())

async function run(script: Script, more = {}) {
  const order = world.order(script, more)
  const seen = await node.port.launch(order)
  return { order, seen }
}
test("jobs that die with the keeper do; their trees are gone when it is back", async () => {
  const { order } = await run(shell("echo $$; setsid sleep 1000 & echo $!; echo up; wait"), {
    onKeeperDeath: "die",
    ...readyBy("up"),
  })
  await node.reached(order, "ready")
  const tree = printed(await node.text(order))
  expect(tree).toHaveLength(2)
  await world.killKeeper()
  expect(await node.ending(order)).toMatchObject({ outcome: "unknown" })
  expect(tree.filter(isAlive)).toEqual([])
})

test("a job that was found again and ends by itself: when is known, how is not", async () => {
  const { order, seen } = await run(scripts.sleeps)
  await world.killKeeper()
  const found = await node.again(async () => await node.port.list())
  expect(found).toMatchObject([{ state: "started", pid: seen.pid }])
  // The keeper may die before its record of the start is durable: then the kernel's is taken, in its own steps.
  const startedAt = found[0]!.startedAt!
  expect(Math.abs(startedAt - seen.startedAt!)).toBeLessThan(100)
  process.kill(seen.pid!, "SIGTERM")
  const ending = await node.ending(order)
  expect(ending).toMatchObject({ outcome: "unknown", stopped: false, startedAt })
  expect(ending.exitCode).toBeUndefined()
  expect(ending.signal).toBeUndefined()
})

test("a stop that a keeper's death interrupted is finished by the next one", async () => {
  const { order } = await run(scripts.ignoresTerm, readyBy("deaf"))
  const { pid } = await node.reached(order, "ready")
  const job = { pid: pid!, ticks: readStat(pid!)!.ticks }
  await node.port.end({ ...order, graceMs: 2500, reason: "told to" })
  await world.killKeeper()
  const ending = await node.ending(order)
  expect(ending).toMatchObject({ outcome: "unknown", stopped: true })
  expect(ending.reason).toContain("told to; ")
  expect(isAlive(job)).toBe(false)
})

async function refusal(argv: string[], more = {}): Promise<string> {
  const { seen } = await run({ argv, fake: {} }, more)
  expect(seen.ending).toMatchObject({ outcome: "not_started", stopped: false })
  return seen.ending!.reason!
}

test("what is wrong with a command is named", async () => {
  const plainFile = join(world.directory, "plain")
  writeFileSync(plainFile, "text")
  const noInterpreter = join(world.directory, "script")
  writeFileSync(noInterpreter, "#!/no/such/interpreter\n")
  chmodSync(noInterpreter, 0o755)
  expect(await refusal([plainFile])).toBe(`not executable: ${plainFile}`)
  expect(await refusal([world.directory])).toBe(`not a program: ${world.directory}`)
  expect(await refusal(["/no/such"])).toBe("command not found: /no/such")
  expect(await refusal([noInterpreter])).toContain("the interpreter that it names does not exist")
  expect(await refusal(["true"], { cwd: "/no/where" })).toBe(
    "the working directory /no/where does not exist",
  )
  expect(await refusal(["true"], { cwd: plainFile })).toContain("is not a directory")
  expect(await refusal(["some-tool"], { env: { PATH: "/a:/b" } })).toBe(
    "command not found: some-tool (PATH is /a:/b)",
  )
})

test("a job has a clean environment, no input and a session of its own", async () => {
  const { order, seen } = await run(
    shell("env | cut -d= -f1; echo; cat; cut -d' ' -f5,6 /proc/$$/stat; echo $GREETING"),
    { env: { GREETING: "hello" } },
  )
  await node.ending(order)
  const [names = "", rest] = (await node.text(order)).split("\n\n")
  const allowed = "GREETING HOME LANG LOGNAME PATH PWD SHELL TMPDIR TROUPE_NONCE TZ USER".split(" ")
  expect(names.split("\n").filter((name) => !allowed.includes(name))).toEqual([])
  expect(names).toContain("TROUPE_NONCE")
  expect(rest).toBe(`${seen.pid} ${seen.pid}\nhello\n`)
})

test("files are laid into the attempt's directory; paths that leave it are refused", async () => {
  const source = join(world.directory, "blob")
  writeFileSync(source, "#!/bin/sh\necho staged > made/out.txt\n")
  const files = (path: string) => ({ directory: true, files: [{ source, path }] })
  const { order, seen } = await run(
    { argv: ["sh", "-c", "mkdir made; ./sub/run.sh; echo changed > sub/run.sh"], fake: {} },
    files("sub/run.sh"),
  )
  expect(await node.ending(order)).toMatchObject({ exitCode: 0 })
  expect(readFileSync(join(seen.directory!, "made/out.txt"), "utf8")).toBe("staged\n")
  expect(readFileSync(source, "utf8"), "the blob is nobody's to change").toContain("#!/bin/sh")
  for (const path of ["../escape", "/etc/escape", "a/../../b", "", "a//b"]) {
    const refused = await run(scripts.exits(0), files(path))
    expect(refused.seen.ending?.reason, path).toContain("leaves the directory")
  }
  const absent = await run(scripts.exits(0), {
    directory: true,
    files: [{ source: "/no/blob", path: "a" }],
  })
  expect(absent.seen.ending).toMatchObject({ outcome: "not_started" })
})

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0
  for await (const chunk of chunks) bytes += chunk.length
  return bytes
}

test("artifacts are regular files by glob; links and what lies behind them are left out", async () => {
  const secret = join(world.directory, "secret")
  mkdirSync(secret)
  writeFileSync(join(secret, "key.txt"), "secret")
  const { order, seen } = await run(
    shell(
      "mkdir -p a/b; echo 1 > a/one.txt; echo 22 > a/b/two.txt; echo 3 > three.log; mkfifo p.txt",
    ),
    { directory: true },
  )
  await node.ending(order)
  symlinkSync(secret, join(seen.directory!, "a", "link"))
  symlinkSync(join(secret, "key.txt"), join(seen.directory!, "key.txt"))
  const found = await node.port.artifacts(order, ["**/*.txt", "a/link/*", "../../**/key.txt"])
  expect(found.map(({ path, bytes, problem }) => [path, problem ?? bytes])).toEqual([
    ["a/b/two.txt", 3],
    ["a/link/key.txt", "a link leads to it"],
    ["a/one.txt", 2],
    ["key.txt", "it is a link"],
    ["p.txt", "it is no regular file"],
  ])
  const behind = node.port.content(join(seen.directory!, "key.txt"))
  await expect(drain(behind)).rejects.toMatchObject({ code: "ERR_STORAGE" })
  const outside = node.port.content("/etc/hostname")
  await expect(drain(outside)).rejects.toMatchObject({ code: "ERR_FORBIDDEN" })
})

test("artifacts with strange names, and ten thousand and more: each comes home or is said", async () => {
  const { order, seen } = await run(
    shell("mkdir many; cd many; seq -f 'file-%g.txt' 10050 | xargs touch"),
    { directory: true },
  )
  await node.ending(order)
  const strange = join(seen.directory!, "strange")
  mkdirSync(strange)
  writeFileSync(join(strange, "ünïcode 日本.txt"), "fine")
  writeFileSync(join(strange, "two\nlines.txt"), "")
  writeFileSync(
    Buffer.concat([Buffer.from(`${strange}/`), Buffer.from([0x61, 0xff, 0x2e, 0x74, 0x78, 0x74])]),
    "",
  )
  const some = await node.port.artifacts(order, ["strange/*"])
  expect(new Map(some.map(({ path, bytes, problem }) => [path, problem ?? bytes]))).toEqual(
    new Map<string, string | number>([
      ["strange/a\ufffd.txt", "its name is no UTF-8"],
      ["strange/two\nlines.txt", "its name has control characters or backslashes"],
      ["strange/ünïcode 日本.txt", 4],
    ]),
  )
  const many = await node.port.artifacts(order, ["many/*.txt"])
  expect(many.filter(({ problem }) => problem === undefined)).toHaveLength(10_000)
  expect(many.at(-1)!.problem).toBe("50 more match; of one task 10000 are looked at")
})

test("output past the cap is cut with an honest marker, and the job runs on", async () => {
  const { order } = await run(
    shell("yes x | head -c 3000000; sleep 0.6; yes y | head -c 500; exit 3"),
    { outputBytesMax: 1000 },
  )
  expect(await node.ending(order)).toMatchObject({ outcome: "exited", exitCode: 3 })
  const text = await node.text(order)
  expect(text.slice(0, 1000)).toBe("x\n".repeat(500))
  expect(text.slice(1000)).toMatch(
    /^\n\[troupe: output was cut after 1000 bytes; at least \d+ more were dropped between \S+Z and \S+Z\]\n$/,
  )
})

test("a pattern that takes for ever stops its own job only", async () => {
  const { order } = await run(scripts.saysAndStays(`${"a".repeat(40)}!`), {
    readiness: { method: "stdout_match", pattern: "^(a+)+$", timeoutMs: 10_000 },
  })
  const ending = await node.ending(order)
  expect(ending.stopped).toBe(true)
  expect(ending.reason).toMatch(/^not ready: the pattern .* takes longer than/)
})

// ---------------------------------------------------------------- crash windows

/** A keeper's directory as a crash left it. */
async function leftBehind(records: readonly JournalRecord[]): Promise<void> {
  await node.port.stop()
  const last = world.client()
  await last.start()
  const { pid } = await last.status()
  await last.shutdown()
  await last.stop()
  while (readStat(pid) && readStat(pid)!.state !== "Z") await createClock().sleep(5)
  const journal = new Journal(keeperPaths(world.directory).journal)
  await journal.rewrite(() => records)
  await journal.close()
  node = await world.node()
}

test("accepted, but never seen to start: unknown, never started again", async () => {
  const spec = world.order(scripts.exits(0))
  const bootId = readBootId()
  await leftBehind([
    { type: "bound", clusterId: spec.clusterId, term: 1 },
    { type: "accepted", spec, nonce: "0".repeat(32), bootId, at: Date.now() },
  ])
  const ending = await node.ending(spec)
  expect(ending).toMatchObject({ outcome: "unknown", stopped: false })
  expect((await node.port.launch(spec)).state).toBe("ended")
})

test("spawned, but `started` was not written: found by its nonce", async () => {
  const spec = world.order(scripts.sleeps)
  const nonce = "f".repeat(32)
  const child = spawn("sleep", ["1000"], {
    detached: true,
    env: { TROUPE_NONCE: nonce },
    stdio: "ignore",
  })
  await leftBehind([
    { type: "bound", clusterId: spec.clusterId, term: 1 },
    { type: "accepted", spec, nonce, bootId: readBootId(), at: Date.now() },
  ])
  const found = await node.reached(spec, "started")
  expect(found.pid).toBe(child.pid)
  await node.port.end({ ...spec, graceMs: 100, reason: "told to" })
  expect(await node.ending(spec)).toMatchObject({ outcome: "unknown", stopped: true })
})

test("a pid that another process has now is left alone: the job is gone", async () => {
  const spec = world.order(scripts.sleeps)
  const bystander = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" })
  const { run: name, task, fence } = spec
  const target = { run: name, task, fence }
  const at = Date.now()
  await leftBehind([
    { type: "bound", clusterId: spec.clusterId, term: 1 },
    { type: "accepted", spec, nonce: "a".repeat(32), bootId: readBootId(), at },
    { type: "started", ...target, pid: bystander.pid!, ticks: "1", at },
    { type: "stopping", ...target, at, graceMs: 0, reason: "told to" },
  ])
  expect(await node.ending(spec)).toMatchObject({ outcome: "unknown", stopped: true })
  expect(readStat(bystander.pid!)?.state).not.toBe("Z")
  const gone = new Promise((resolve) => bystander.once("exit", resolve))
  bystander.kill("SIGKILL")
  await gone
})

test("jobs of an earlier boot of the host are lost", async () => {
  const spec = world.order(scripts.sleeps)
  const { run: name, task, fence } = spec
  const at = Date.now()
  await leftBehind([
    { type: "bound", clusterId: spec.clusterId, term: 1 },
    { type: "accepted", spec, nonce: "b".repeat(32), bootId: "an-earlier-boot", at },
    { type: "started", run: name, task, fence, pid: process.pid, ticks: "1", at },
  ])
  expect(await node.ending(spec)).toMatchObject({ outcome: "lost", stopped: false })
})

test("a further spawner's death: its jobs go on, their exit status is unknown", async () => {
  const own: LaunchSpec[] = []
  const others: LaunchSpec[] = []
  let spawner: number | undefined
  // Many orders at once start a further spawner; it takes part when it is up.
  while (own.length === 0) {
    const orders = Array.from({ length: 30 }, () => world.order(scripts.sleeps))
    const seen = await Promise.all(orders.map((order) => node.port.launch(order)))
    for (const [n, order] of orders.entries()) {
      const parent = readStat(seen[n]!.pid!)!.parent
      if (isSpawner(parent)) spawner = parent
      const list = isSpawner(parent) ? own : others
      list.push(order)
    }
  }
  process.kill(spawner!, "SIGKILL")
  const all = [...own, ...others]
  await Promise.all(
    all.map((order) => node.port.end({ ...order, graceMs: 5000, reason: "told to" })),
  )
  for (const order of others) {
    expect(await node.ending(order)).toMatchObject({ signal: "SIGTERM", stopped: true })
  }
  for (const order of own) {
    expect(await node.ending(order)).toMatchObject({ outcome: "unknown", stopped: true })
  }
})

function isSpawner(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("spawner")
}

// ---------------------------------------------------------------- one keeper a directory

test("of keepers that start at once one stays, and orders go to it", async () => {
  const [program, ...args] = keeperCommand()
  const codes = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const rival = spawn(program!, [...args, world.directory], { stdio: "ignore" })
      return await new Promise((resolve) => rival.once("exit", resolve))
    }),
  )
  expect(codes).toEqual([75, 75, 75])
  const { order } = await run(scripts.exits(2))
  expect(await node.ending(order)).toMatchObject({ exitCode: 2 })
})

test("a keeper that was told to leave leaves; what ended stays known", async () => {
  const { order } = await run(scripts.exits(2))
  await node.ending(order)
  const client = world.client()
  await client.start()
  expect(await client.shutdown()).toBe(true)
  await client.stop()
  await node.port.stop()
  const next = await world.node()
  expect(await next.ending(order)).toMatchObject({ exitCode: 2 })
})

test("an idle keeper leaves by itself when its last client is gone", async () => {
  const idle = realWorld({ args: ["--linger-ms", "500"] })
  try {
    const client = idle.client()
    await client.start()
    const { pid } = await client.status()
    await client.stop()
    while (readStat(pid) && readStat(pid)?.state !== "Z") await createClock().sleep(5)
    expect(idle.log()).toContain('"left"')
  } finally {
    await idle.end()
  }
})

test("a busy keeper does not leave", async () => {
  await run(scripts.sleeps)
  const client = world.client()
  await client.start()
  expect(await client.shutdown()).toBe(false)
  expect((await client.status()).live).toBe(1)
})

test("a directory too long for a socket gets a short one", async () => {
  const deep = realWorld({ prefix: "long-".repeat(20) })
  try {
    const other = await deep.node()
    const order = deep.order(scripts.exits(2))
    await other.port.launch(order)
    expect(await other.ending(order)).toMatchObject({ exitCode: 2 })
    const pointer = readFileSync(keeperPaths(deep.directory).socketPointer, "utf8")
    expect(pointer.startsWith(process.env["XDG_RUNTIME_DIR"] ?? tmpdir())).toBe(true)
    expect(statSync(join(pointer, "..")).mode & 0o077).toBe(0)
  } finally {
    await deep.end()
  }
})

test("forgetting removes the files and the journal's rows", async () => {
  const { order, seen } = await run(scripts.says("x"), { directory: true })
  await node.ending(order)
  await node.port.forget({ ...order, files: true })
  expect([seen.stdout, seen.stderr, seen.directory!].filter((path) => existsSync(path))).toEqual([])
  const { records } = readJournal(keeperPaths(world.directory).journal)
  expect(records.at(-1)).toMatchObject({ type: "forgotten", fence: order.fence })
  expect(readdirSync(keeperPaths(world.directory).out)).toEqual([])
})

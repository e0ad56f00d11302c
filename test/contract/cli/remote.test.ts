/** Commands that only ask: runs, logs, cluster. */
import { type AddressInfo, createServer } from "node:net"
import { describe, expect, onTestFinished, test } from "vitest"
import { TroupeError } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { asked, serve, start, troupe } from "./command.ts"

const done = { state: "finished" as const, phase: "done", endedAt: 1_700_000_062_000 }

async function served() {
  const { face, url } = await serve()
  return { face, options: { env: { TROUPE_API: url } } }
}

describe("runs", () => {
  test("list: a table for people, ids for loops, versioned JSON for programs", async () => {
    const { face, options } = await served()
    face.addRun(
      aRun({ id: "r-7", label: "old", ...done, verdict: "failed", reason: "exit code 3" }),
    )
    face.addRun(aRun({ id: "r-9", label: "new", ...done, verdict: "succeeded" }))
    const [table, quiet, json, lines] = await Promise.all([
      troupe(["runs", "list"], options),
      troupe(["runs", "ls", "-q"], options),
      troupe(["runs", "list", "-o", "json", "--limit", "1"], options),
      troupe(["runs", "list", "-o", "jsonl", "--state", "finished"], options),
    ])
    expect(table.stdout.split("\n")).toEqual([
      "RUN  LABEL  STATE      STARTED (UTC)        DURATION  ENTRY  REASON",
      "r-9  new    succeeded  2023-11-14 22:13:20  1 m 02 s  ada    -",
      "r-7  old    failed     2023-11-14 22:13:20  1 m 02 s  ada    exit code 3",
      "",
    ])
    expect(quiet.stdout).toBe("r-9\nr-7\n")
    const list = JSON.parse(json.stdout) as Record<string, unknown>
    expect(list).toMatchObject({ apiVersion: "troupe/v1", kind: "RunList", nextCursor: "1" })
    expect(list["items"]).toMatchObject([{ id: "r-9", document: "manifest" }])
    const ids = lines.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object)
    expect(ids).toMatchObject([
      { kind: "Run", id: "r-9" },
      { kind: "Run", id: "r-7" },
    ])
  })

  test("an empty list is no data, and says how to begin", async () => {
    const { options } = await served()
    const { code, stdout, stderr } = await troupe(["runs", "list"], options)
    expect([code, stdout]).toEqual([0, ""])
    expect(stderr).toContain("troupe run FILE")
  })

  test("show: the run, then its tasks; an unknown one exits 2", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", label: "demo", ...done, verdict: "lost", reason: "bob is gone" }))
    const [known, unknown] = await Promise.all([
      troupe(["runs", "show", "r-9"], options),
      troupe(["runs", "show", "r-8"], options),
    ])
    expect(known.stdout).toContain("state     lost: bob is gone\n")
    expect(known.stdout).toMatch(/^server {2}bob {7}0 {2}starting$/m)
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain("troupe runs list")
  })

  test("wait exits as the run ends", async () => {
    const { face, options } = await served()
    const run = aRun({ id: "r-9" })
    face.addRun(run)
    const waiting = start(["runs", "wait", "r-9", "-o", "json"], options)
    await asked(face, "readEvents")
    face.emit("r-9", { type: "run-finished" })
    face.addRun({ ...run, ...done, verdict: "timed_out" })
    const { code, stdout } = await waiting.finished
    expect(code).toBe(4)
    expect(JSON.parse(stdout)).toMatchObject({ kind: "Run", verdict: "timed_out" })
  })

  test("wait has an end of its own: exit 4", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9" }))
    const { code, stderr } = await troupe(["runs", "wait", "r-9", "--timeout", "200ms"], options)
    expect(code).toBe(4)
    expect(stderr).toContain("longer than 200 ms")
  })

  test("cancel carries the reason", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9" }))
    const { code, stderr } = await troupe(
      ["runs", "cancel", "r-9", "--reason", "wrong rig"],
      options,
    )
    expect(code).toBe(0)
    expect(stderr).toContain("troupe runs wait r-9")
    expect(face.calls).toContainEqual({
      method: "cancelRun",
      argument: { run: "r-9", reason: "wrong rig" },
    })
  })
})

describe("logs", () => {
  const attempt = {
    n: 1,
    fence: 9,
    node: 1,
    lease: 2,
    address: "10.0.0.1",
    assignedAt: 0,
    state: "started" as const,
  }
  function aTask(name: string, attempts = [attempt]) {
    const state = "active" as const
    return { run: "r-9", group: name, index: 0, name, state, attempts, outputs: [] }
  }

  const said = (task: string, text: string, more: object = {}) => ({
    type: "output" as const,
    task,
    attempt: 1,
    node: "ada",
    stream: "stdout" as const,
    at: 1000,
    offset: 0,
    data: Buffer.from(text),
    ...more,
  })

  test("one task: its bytes as they are, its standard error beside", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", tasks: [aTask("server"), aTask("client")] }))
    const bytes = Buffer.from([0, 1, 0xff, 0xc3, 27, 13])
    face.say("r-9", said("server", "no newline, \u001b[31mcolours kept"))
    face.say("r-9", said("server", "", { data: bytes, offset: 50 }))
    face.say("r-9", said("server", "wrong\n", { stream: "stderr" }))
    face.addRun(aRun({ ...done, id: "r-9", tasks: [aTask("server"), aTask("client")] }))
    const { stdout, stderr } = await troupe(["logs", "r-9", "server"], options)
    // The harness reads text: what is none shows as the sign for that.
    expect(stdout).toBe(`no newline, \u001b[31mcolours kept${bytes.toString()}`)
    expect(stderr).toBe("wrong\n")
    expect(face.calls.findLast(({ method }) => method === "mergedLog")).toMatchObject({
      argument: { tasks: ["server"], streams: ["stdout", "stderr"], follow: false },
    })
  })

  test("several: whole lines with the names of their tasks, a long one whole, a broken one ended", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", ...done, tasks: [aTask("server"), aTask("client")] }))
    const long = "x".repeat(200_000)
    face.say(
      "r-9",
      said("server", "one\ntwo\n"),
      said("client", `begin ${long}`, { stream: "stderr" }),
      said("client", "end\nprompt> ", { stream: "stderr", offset: 200_006 }),
      said("server", "three\n", { offset: 8, attempt: 2 }),
    )
    const { stdout } = await troupe(["logs", "r-9"], options)
    expect(stdout).toBe(
      `server | one\nserver | two\nclient ! begin ${long}end\nclient ! prompt> \nserver.2 | three\n`,
    )
  })

  test("--timestamps, --stdout, --since and --tail; JSON lines", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", ...done, tasks: [aTask("server")] }))
    const half = Buffer.from("ü")
    face.say(
      "r-9",
      said("server", "", { data: Buffer.concat([Buffer.from("one "), half.subarray(0, 1)]) }),
    )
    face.say(
      "r-9",
      said("server", "", {
        data: Buffer.concat([half.subarray(1), Buffer.from("\nrest")]),
        offset: 5,
      }),
    )
    const plain = await troupe(["logs", "r-9", "--timestamps", "--stdout", "--tail", "3"], options)
    expect(plain.stdout).toBe("1970-01-01T00:00:01.000Z one ü\n1970-01-01T00:00:01.000Z rest\n")
    expect(face.calls.at(-1)).toMatchObject({ argument: { streams: ["stdout"], lines: 3 } })
    const { stdout } = await troupe(
      ["logs", "r-9", "-o", "jsonl", "--since", "2026-01-31T12:00:00Z"],
      options,
    )
    const common = {
      time: "1970-01-01T00:00:01.000Z",
      task: "server",
      attempt: 1,
      node: "ada",
      stream: "stdout",
    }
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      { ...common, offset: 0, line: "one ü" },
      { ...common, offset: 7, line: "rest" },
    ])
    expect(face.calls.at(-1)).toMatchObject({
      argument: { since: Date.parse("2026-01-31T12:00:00Z") },
    })
    const { code, stderr } = await troupe(["logs", "r-9", "--since", "soon"], options)
    expect(code).toBe(2)
    expect(stderr).toContain("write a duration like 5m")
  })

  test("-f goes on until the run is over, over a lost connection, each byte once; notices stand beside", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", tasks: [aTask("server")] }))
    face.say("r-9", said("server", "one\n"))
    const following = start(["logs", "-f", "r-9", "server"], options)
    await asked(face, "mergedLog")
    const message = "n2 does not answer; what its tasks write follows when it does"
    face.say("r-9", { type: "notice", at: 0, message })
    await following.says("n2 does not answer")
    face.say("r-9", "break", said("server", "two\n", { offset: 4 }))
    face.addRun(aRun({ ...done, id: "r-9", tasks: [aTask("server")] }))
    const { stdout, code } = await following.finished
    expect(stdout).toBe("one\ntwo\n")
    expect(code).toBe(0)
    const { argument } = face.calls.findLast(({ method }) => method === "mergedLog")!
    expect(argument).toMatchObject({
      positions: [{ task: "server", attempt: 1, stream: "stdout", next: 4 }],
    })
  })

  test("a task that is not there: the nearest one, and which there are", async () => {
    const { face, options } = await served()
    face.addRun(aRun({ id: "r-9", tasks: [aTask("server"), aTask("client")] }))
    const { code, stderr } = await troupe(["logs", "r-9", "severr"], options)
    expect(code).toBe(2)
    expect(stderr).toContain('no task "severr"; did you mean server?')
    expect(stderr).toContain("it has: server, client")
  })
})

describe("cluster", () => {
  test("list marks the leader, this node, and who is silent", async () => {
    const { options } = await served()
    const { stdout } = await troupe(["cluster", "list"], options)
    expect(stdout).toMatch(/^ada \(this\) {2}leader {2}connected/m)
    expect(stdout).toMatch(/^bob {9}voter {3}silent 4\.0 s/m)
  })

  test("health begins with how many losses the cluster survives", async () => {
    const { face, options } = await served()
    face.healthView = { ...face.healthView, notes: ["bob answers slowly"] }
    const { code, stdout } = await troupe(["cluster", "health"], options)
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ok: survives 1 loss\n/)
    expect(stdout).toContain("  - bob answers slowly\n")
  })

  test("health of each node, with the reason of its patience", async () => {
    const { face, options } = await served()
    const vitals = {
      at: 0,
      loopDelayP50Ms: 1,
      loopDelayP99Ms: 140.4,
      loopDelayMaxMs: 200,
      fsyncP99Ms: 2.25,
      electionMs: 1400,
      electionReason: "10 × p99 loop delay 140 ms",
    }
    const common = { role: "voter", state: "connected", silentMs: 0, version: "1.0.0" } as const
    face.healthView = {
      ...face.healthView,
      nodes: [
        { ...common, name: "ada", id: 1, leader: true, behind: 0, clockOffsetMs: 0, vitals },
        {
          ...common,
          name: "bob",
          id: 2,
          leader: false,
          state: "silent",
          silentMs: 4000,
          behind: 7,
        },
      ],
    }
    const { code, stdout } = await troupe(["cluster", "health"], options)
    expect(code).toBe(0)
    expect(stdout).toContain("  voters    3 of 3 answer, 2 must\n")
    expect(stdout).toContain("election 1.4 s (10 × p99 loop delay 140 ms)\n")
    expect(stdout).toMatch(
      /^ {2}ada {7}leader, 1\.0\.0, clock \+0 ms, loop 140\.4 ms, fsync 2\.3 ms/m,
    )
    expect(stdout).toMatch(/^ {2}bob {7}voter, silent 4\.0 s, 7 behind, 1\.0\.0$/m)
    const json = await troupe(["cluster", "health", "-o", "json"], options)
    expect(JSON.parse(json.stdout)).toMatchObject({ nodes: [{ vitals }, { name: "bob" }] })
  })

  test("what is wrong is marked, and makes it exit 5", async () => {
    const { face, options } = await served()
    const problems = ["bob (voter) is silent for 9 s: look at its host"]
    face.healthView = { ...face.healthView, status: "degraded", survives: 0, problems }
    const { code, stdout } = await troupe(["cluster", "health"], options)
    expect(code).toBe(5)
    expect(stdout).toContain(`  ! ${problems[0]}\n`)
  })

  test("no leader: health still answers, and exits 7", async () => {
    const { face, options } = await served()
    face.healthView = { ...face.healthView, status: "no-leader", survives: 0 }
    delete (face.healthView as { leader?: string }).leader
    const { code, stdout } = await troupe(["cluster", "health", "-o", "json"], options)
    expect(code).toBe(7)
    expect(JSON.parse(stdout)).toMatchObject({ kind: "Health", status: "no-leader", survives: 0 })
  })

  test("status shows term, voters and log", async () => {
    const { options } = await served()
    const { stdout } = await troupe(["cluster", "status"], options)
    expect(stdout).toContain("leader    ada (term 4)\n")
    expect(stdout).toContain("log       commit 120, applied 120\n")
  })

  test("of several APIs one that answers is enough", async () => {
    const { url } = await serve()
    const other = "http://127.0.0.1:1"
    const { code } = await troupe(["cluster", "status", "--api", `${other},${url}`])
    expect(code).toBe(0)
  })
})

test("a node that accepts connections but does not answer is told of, and another one is asked", async () => {
  const { url } = await serve()
  const deaf = createServer(() => undefined)
  await new Promise<void>((resolve) => deaf.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => void deaf.close())
  const { port } = deaf.address() as AddressInfo
  const silent = `http://127.0.0.1:${port}`
  const [alone, both] = await Promise.all([
    troupe(["cluster", "health", "--api", silent]),
    troupe(["cluster", "health", "--api", `${silent},${url}`]),
  ])
  expect(alone.code).toBe(7)
  expect(alone.stderr).toContain(`${silent} accepts connections but does not answer`)
  expect(both.code).toBe(0)
})

describe("by hand", () => {
  test("transfer says who leads now; a refusal has its reason and exits 2", async () => {
    const { face, options } = await served()
    const done = await troupe(["cluster", "transfer", "bob"], options)
    expect([done.code, done.stdout]).toEqual([0, "bob leads now (term 5), ada did\n"])
    const reason = "cyd is a worker: only a voter can lead"
    face.fail("transferLeader", new TroupeError("ERR_CONFLICT", reason, { reason }))
    const refused = await troupe(["cluster", "transfer", "cyd"], options)
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain(reason)
  })

  test("remove names who is out, and how it could come back", async () => {
    const { face, options } = await served()
    const done = await troupe(["cluster", "remove", "bob", "-o", "json"], options)
    expect(JSON.parse(done.stdout)).toMatchObject({ kind: "NodeRemoved", node: "bob", id: 2 })
    expect(done.stderr).toContain("delete its data directory")
    face.fail(
      "removeNode",
      new TroupeError("ERR_NODE_NOT_FOUND", "there is no node bop", {
        node: "bop",
        nearest: "bob",
      }),
    )
    const unknown = await troupe(["cluster", "remove", "bop"], options)
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain("did you mean bob?")
  })

  test("cordon and uncordon say what holds; what that means for the cluster is a warning", async () => {
    const { face, options } = await served()
    face.warnings = ["no node takes new work now: what is submitted waits"]
    const done = await troupe(["cluster", "cordon", "bob", "--reason", "new disk"], options)
    expect([done.code, done.stdout]).toEqual([0, "bob takes no new work\n"])
    expect(done.stderr).toContain("warning: no node takes new work now")
    expect(face.calls.at(-1)).toEqual({
      method: "cordonNode",
      argument: { node: "bob", mode: "cordon", reason: "new disk" },
    })
    const again = await troupe(["cluster", "uncordon", "bob"], options)
    expect([again.code, again.stdout]).toEqual([0, "bob takes work\n"])
  })

  test("drain waits until nothing runs there, and says what is left", async () => {
    const { face, options } = await served()
    face.leaving.set("bob", ["r-1/a", "r-1/b[3]"])
    const done = await troupe(["cluster", "drain", "bob", "--deadline", "10m"], options)
    expect([done.code, done.stdout]).toEqual([0, "bob is drained: nothing runs there\n"])
    expect(done.stderr).toContain("bob: 2 attempts still run there, stopped in 10 m 00 s: ")
    expect(done.stderr).toContain("r-1/a, r-1/b[3]")
    expect(done.stderr).toContain("bob: 1 left: r-1/b[3]")
    expect(face.calls.find(({ method }) => method === "cordonNode")?.argument).toMatchObject({
      mode: "drain",
      deadlineMs: 600_000,
    })
  })

  test("drain --no-wait returns at once; in JSON it says what still runs", async () => {
    const { face, options } = await served()
    face.leaving.set("bob", ["r-1/a"])
    const done = await troupe(["cluster", "drain", "bob", "--no-wait", "-o", "json"], options)
    expect(JSON.parse(done.stdout)).toMatchObject({
      kind: "NodeCordoned",
      mode: "drain",
      attempts: 1,
      holds: ["r-1/a"],
    })
    expect(face.calls.some(({ method }) => method === "listNodes")).toBe(false)
    const reason = "no node but bob takes work"
    face.fail("cordonNode", new TroupeError("ERR_CONFLICT", reason, { reason }))
    const refused = await troupe(["cluster", "drain", "bob"], options)
    expect([refused.code, refused.stderr.includes(reason)]).toEqual([2, true])
  })

  test("declare-dead says what is given up; one that answers needs --force", async () => {
    const { face, options } = await served()
    const done = await troupe(["cluster", "declare-dead", "bob", "--force"], options)
    expect(done.code).toBe(0)
    expect(done.stdout).toContain("3 attempts given up there")
    expect(face.calls.at(-1)?.argument).toEqual({ node: "bob", reason: "", force: true })
    const reason = "bob answers, so it is not dead"
    face.fail("declareDead", new TroupeError("ERR_CONFLICT", reason, { reason }))
    const refused = await troupe(["cluster", "declare-dead", "bob"], options)
    expect([refused.code, refused.stderr.includes(reason)]).toEqual([2, true])
  })

  test("list shows who takes no work", async () => {
    const { face, options } = await served()
    face.leaving.set("bob", ["r-1/a"])
    const { stdout } = await troupe(["cluster", "list"], options)
    expect(stdout).toContain("silent 4.0 s, draining (1 left)")
  })

  test("recover needs a stopped node's directory", async () => {
    const { options } = await served()
    const none = await troupe(["cluster", "recover", "--data", "/nonexistent", "--yes"], options)
    expect(none.code).toBe(2)
    expect(none.stderr).toContain("there is no node in /nonexistent")
  })
})

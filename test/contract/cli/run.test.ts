/** `troupe run` against the real API over a scripted node. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { type RunView, TroupeError, type Verdict } from "../../../src/schema/index.ts"
import { aRun, type FakeFace } from "../../support/fake-face.ts"
import { aDirectory, asked, bundleFiles, packedBundle, serve, start, troupe } from "./command.ts"

const manifest = `api_version: v1
run_id: demo
profile:
  path: profile.yaml
roles:
  server:
    command: [sleep, "30"]
    readiness: { method: stdout_match, pattern: up }
  client:
    agent: local
    command: ["true"]
`

/** A directory with a manifest and its profile, a served node, and how the command is called there. */
async function stage(text = manifest) {
  const cwd = aDirectory()
  writeFileSync(join(cwd, "m.yaml"), text)
  writeFileSync(join(cwd, "profile.yaml"), "device: tank\n")
  const { face, url } = await serve()
  return { cwd, face, url, options: { cwd, env: { TROUPE_API: url } } }
}

/** What was handed in, and under which id it runs. */
async function accepted(face: FakeFace): Promise<RunView> {
  await asked(face, "readEvents")
  const { items } = await face.listRuns({ limit: 1 }, { signal: new AbortController().signal })
  return aRun(items[0])
}

function end(face: FakeFace, run: RunView, fields: Partial<RunView>): void {
  face.emit(run.id, { type: "run-finished" })
  // Within one turn of the loop: nobody sees the verdict that the event itself would have given.
  face.addRun({ ...run, state: "finished", phase: "done", ...fields })
}

test("a manifest with ten mistakes: ten messages with their places, and nothing is sent", async () => {
  const text = `api_version: v2
run_id: "a b"
profil:
  path: x
seed: many
network:
  data_plane:
    target_port: 99999
roles:
  server:
    agnet: local
    command: sleep
    personality: adaptor
  client:
    agent: local
readiness:
  method: tcp_conect
post_run:
  analyse: true
artifacts:
  bundle_format: rar
`
  const { cwd, face, options } = await stage(text)
  const { code, stdout, stderr } = await troupe(["run", "m.yaml"], options)
  expect(code).toBe(2)
  expect(stdout).toBe("")
  const messages = stderr.split("\n").filter((line) => /^m\.yaml:\d+:\d+: /.test(line))
  const lines = messages.map((line) => Number(line.split(":")[1]))
  // Line by line what is wrong above; the client lacks its scenario and its duration at line 14 or 15.
  for (const line of [1, 2, 3, 5, 8, 11, 13, 17, 19, 21]) expect(lines).toContain(line)
  expect(messages.length).toBeGreaterThanOrEqual(10)
  expect(stderr).toContain(`${messages.length} mistakes; nothing was started`)
  expect(stderr).toMatch(/ {3}11 \| {5}agnet: local\n {6}\| {5}\^/)
  expect(face.calls).toEqual([])
  expect(readdirSync(cwd).toSorted()).toEqual(["m.yaml", "profile.yaml"])
})

test("from manifest to verified bundle: files first, then the run, then its bundle", async () => {
  const { cwd, face, options } = await stage()
  const running = start(["run", "manifest", "m.yaml"], options)
  const run = await accepted(face)
  const { bundle, read } = await packedBundle("demo", bundleFiles("demo"))
  face.setBundle(run.id, bundle, read)
  end(face, run, { verdict: "succeeded", bundle, endedAt: run.createdAt + 3200 })
  const { code, stdout, stderr } = await running.finished
  expect(code).toBe(0)
  expect(stdout).toBe(
    [
      "",
      "Run completed",
      "  Run ID:   demo",
      "  Status:   success",
      "  Duration: 3.2s",
      "  Bundle:   runs/demo",
      "  Verified: 6 files, 5 hashes",
      "",
    ].join("\n"),
  )
  expect(stderr).toContain("[client_start] Starting client")
  expect(readFileSync(join(cwd, "runs/demo/roles/server/stdout.log"), "utf8")).toBe("hello\n")
  const digest = createHash("sha256").update("device: tank\n").digest("hex")
  expect(face.calls.slice(0, 2)).toEqual([
    { method: "putBlob", argument: digest },
    {
      method: "submitRun",
      argument: {
        document: manifest,
        file: "m.yaml",
        agents: {},
        files: { "profile.yaml": { digest, bytes: 13, absolute: join(cwd, "profile.yaml") } },
        lenient: false,
        timeoutMs: 1_800_000,
        analyze: true,
        diff: true,
      },
    },
  ])
})

test("flags reach the submission", async () => {
  const { face, options } = await stage()
  const flags = ["--agent", "server=lab-2", "--agent", "client=ssh://x", "--timeout", "1m30s"]
  const more = ["--no-analyze", "--no-diff", "--lenient", "--detach", "--key", "mine"]
  const { code, stdout, stderr } = await troupe(["run", "m.yaml", ...flags, ...more], options)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^r-\d+\n$/)
  expect(stderr).toContain("troupe runs wait r-")
  expect(face.calls.find(({ method }) => method === "submitRun")?.argument).toMatchObject({
    agents: { server: "lab-2", client: "ssh://x" },
    timeoutMs: 90_000,
    lenient: true,
    analyze: false,
    diff: false,
  })
})

describe("exit codes", () => {
  const verdicts: [Verdict, number, string][] = [
    ["failed", 3, "failed"],
    ["timed_out", 4, "timeout"],
    ["lost", 5, "lost"],
    ["cancelled", 130, "cancelled"],
  ]
  test.each(verdicts)("%s exits %i", async (verdict, exitCode, word) => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    const run = await accepted(face)
    end(face, run, { verdict, reason: "because" })
    const { code, stdout } = await running.finished
    expect(code).toBe(exitCode)
    expect(stdout).toContain(`Status:   ${word}\n  Reason:   because`)
    expect(stdout).toContain("Bundle:   none")
  })

  test("a run that succeeded without leaving its bundle exits 5", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    end(face, await accepted(face), { verdict: "succeeded" })
    const { code, stderr } = await running.finished
    expect(code).toBe(5)
    expect(stderr).toContain("left no bundle")
  })

  test("a bundle that does not verify exits 8 and names the file", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    const run = await accepted(face)
    const files = { ...bundleFiles("demo"), "roles/server/stdout.log": "hellO\n" }
    const { bundle, read } = await packedBundle("demo", files)
    face.setBundle(run.id, bundle, read)
    end(face, run, { verdict: "succeeded", bundle })
    const { code, stderr } = await running.finished
    expect(code).toBe(8)
    expect(stderr).toContain("hash mismatch for roles/server/stdout.log")
  })

  test("nothing is put in place of bytes that are not what the node says", async () => {
    const { cwd, face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    const run = await accepted(face)
    const { bundle, read } = await packedBundle("demo", bundleFiles("demo"))
    face.setBundle(run.id, { ...bundle, digest: "0".repeat(64) }, read)
    end(face, run, { verdict: "succeeded", bundle })
    const { code, stderr } = await running.finished
    expect(code).toBe(8)
    expect(stderr).toContain("changed on its way")
    expect(readdirSync(join(cwd, "runs"))).toEqual([])
  })

  test("a plan that fits nowhere exits 9", async () => {
    const { face, options } = await stage()
    const reasons = ["lab-1: os is darwin"]
    face.fail(
      "submitRun",
      new TroupeError("ERR_UNPLACEABLE", "no node fits server", { task: "server", reasons }),
    )
    const { code, stderr } = await troupe(["run", "m.yaml"], options)
    expect(code).toBe(9)
    expect(stderr).toContain("- lab-1: os is darwin")
  })
})

test("a leader lost in the middle of the submit is asked again under the same key", async () => {
  const { face, options } = await stage()
  const unknown = new TroupeError("ERR_UNKNOWN_OUTCOME", "the leader went away", { hint: "again" })
  face.fail("submitRun", unknown)
  const { code } = await troupe(["run", "m.yaml", "--detach"], options)
  expect(code).toBe(0)
  expect(face.calls.filter(({ method }) => method === "submitRun")).toHaveLength(2)
})

test("what stands in the bundle directory is never written over", async () => {
  const { cwd, face, options } = await stage()
  for (const path of ["runs/demo", "runs/demo-2"]) {
    const running = start(["run", "m.yaml", "--key", path], options)
    await asked(face, "readEvents")
    face.calls.length = 0
    const { items } = await face.listRuns({ limit: 1 }, { signal: new AbortController().signal })
    const run = aRun(items[0])
    const { bundle, read } = await packedBundle("demo", bundleFiles("demo"))
    face.setBundle(run.id, bundle, read)
    end(face, run, { verdict: "succeeded", bundle })
    const { stdout } = await running.finished
    expect(stdout).toContain(`Bundle:   ${path}\n`)
    expect(existsSync(join(cwd, path, "hashes.txt"))).toBe(true)
  }
})

describe("forms", () => {
  test("-o json is one document on standard output", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml", "-o", "json"], options)
    const run = await accepted(face)
    end(face, run, { verdict: "failed", reason: "x" })
    const { stdout } = await running.finished
    expect(JSON.parse(stdout)).toMatchObject({
      apiVersion: "troupe/v1",
      kind: "Run",
      document: "manifest",
      id: run.id,
      verdict: "failed",
      home: { valid: false },
    })
  })

  test("-o jsonl is a line for each event, and the run last", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml", "-o", "jsonl"], options)
    const run = await accepted(face)
    face.emit(run.id, { type: "task-started", task: "client", node: "bob" })
    end(face, run, { verdict: "failed", reason: "x" })
    const { stdout } = await running.finished
    const lines = stdout.trim().split("\n")
    const kinds = lines.map((line) => JSON.parse(line) as { kind: string; type?: string })
    expect(kinds.map(({ kind, type }) => type ?? kind)).toEqual([
      "run-accepted",
      "task-started",
      "run-finished",
      "Run",
    ])
  })

  test("-v has a line for each step, with its phase", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml", "-v"], options)
    const run = await accepted(face)
    face.emit(run.id, { type: "task-started", task: "server", node: "bob", attempt: 1 })
    end(face, run, { verdict: "failed", reason: "x" })
    const { stderr } = await running.finished
    expect(stderr).toContain(
      "[server_start] Starting server\n[server_start] task server started on bob\n[server_ready] Waiting",
    )
  })

  test("--print-plan shows commands and places, and hands nothing in", async () => {
    const { face, options } = await stage()
    const { code, stdout } = await troupe(["run", "m.yaml", "--print-plan"], options)
    expect(code).toBe(0)
    expect(stdout).toContain("Execution Plan\n==============\n\nRun ID: demo\n")
    expect(stdout).toContain("Server Role:\n  Agent: any\n  Command: iperf3 -s\n")
    expect(stdout).toMatch(/server {2,}bob {2,}- {2,}ada: is exclusive to another run/)
    expect(face.calls.map(({ method }) => method)).toEqual(["planRun"])
  })

  test("--dry-run writes down what was resolved, and starts nothing", async () => {
    const { cwd, face, options } = await stage()
    const { code, stdout, stderr } = await troupe(
      ["run", "m.yaml", "--dry-run", "--bundle-dir", "dry"],
      options,
    )
    expect(code).toBe(0)
    expect(stderr).toContain("Mode: DRY RUN (no processes will be started)")
    expect(stdout).toContain("Bundle:   dry/demo")
    expect(readdirSync(join(cwd, "dry/demo")).toSorted()).toEqual([
      "manifest.yaml",
      "manifest_resolved.yaml",
      "versions.json",
    ])
    expect(face.calls.map(({ method }) => method)).toEqual(["planRun"])
  })
})

describe("Ctrl-C without a terminal", () => {
  test("cancels, and still brings the end home", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    const run = await accepted(face)
    running.child.kill("SIGINT")
    await asked(face, "cancelRun")
    end(face, run, { verdict: "cancelled", reason: "cancelled: by Ctrl-C" })
    const { code, stdout, stderr } = await running.finished
    expect(code).toBe(130)
    expect(stdout).toContain("Status:   cancelled")
    expect(stderr).toContain("cancelling")
  })

  test("twice leaves at once", async () => {
    const { face, options } = await stage()
    const running = start(["run", "m.yaml"], options)
    await accepted(face)
    running.child.kill("SIGINT")
    await running.says("cancelling")
    running.child.kill("SIGINT")
    expect((await running.finished).code).toBe(130)
  })
})

test("a profile that is not there is a mistake at its line, together with the others", async () => {
  const text = manifest.replace("profile.yaml", "absent.yaml")
  const { face, options } = await stage(text)
  const { code, stderr } = await troupe(["run", "m.yaml"], options)
  expect(code).toBe(2)
  expect(stderr).toMatch(/m\.yaml:4:\d+: profile\.path: cannot be read: ENOENT/)
  expect(face.calls).toEqual([])
})

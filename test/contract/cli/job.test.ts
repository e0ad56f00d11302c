/** `troupe job run`, `runs retry|rerun` and `explain` against the real API over a scripted node. */
import { expect, test } from "vitest"
import { TroupeError, type RunView, type Verdict } from "../../../src/schema/index.ts"
import { aRun, type FakeFace } from "../../support/fake-face.ts"
import { asked, serve, start, troupe } from "./command.ts"

async function stage() {
  const { face, url } = await serve()
  return { face, options: { env: { TROUPE_API: url, GREETING: "hello" } } }
}

/** What was sent with the newest call of `method`. */
function sent(face: FakeFace, method: string): unknown {
  return face.calls.findLast((call) => call.method === method)?.argument
}

async function end(face: FakeFace, fields: Partial<RunView>): Promise<void> {
  await asked(face, "readEvents")
  const { items } = await face.listRuns({ limit: 1 }, { signal: new AbortController().signal })
  const run = aRun(items[0])
  face.emit(run.id, { type: "run-finished" })
  face.addRun({ ...run, state: "finished", phase: "done", ...fields })
}

test.each([
  ["succeeded", 0],
  ["failed", 3],
  ["timed_out", 4],
  ["lost", 5],
  ["cancelled", 130],
] satisfies readonly (readonly [Verdict, number])[])(
  "a job that %s ends with %i",
  async (verdict, code) => {
    const { face, options } = await stage()
    const { finished } = start(["job", "run", "-o", "json", "--", "make"], options)
    await end(face, { verdict, reason: "so it was" })
    const answer = await finished
    expect(answer.code).toBe(code)
    expect(JSON.parse(answer.stdout)).toMatchObject({ kind: "Run", verdict })
  },
)

test("the flags become the request; what stands behind -- is never read", async () => {
  const { face, options } = await stage()
  const flags = [
    ["--needs", "cores=2,memory=1GiB", "--needs", "tool=ffmpeg", "--needs", "label.site=lab"],
    ["--count", "7", "--parallel", "3", "--retries", "2", "--backoff", "2s", "--fail-fast"],
    ["--deadline", "1m", "--timeout", "1h", "--exclusive", "--priority", "-3"],
    ["--memory", "512MiB", "--pids", "50", "--env", "A=b=c", "--env", "GREETING"],
    ["--cwd", "/srv", "--name", "night", "--on-loss", "requeue", "--node", "bob"],
  ].flat()
  const words = ["sh", "-c", "echo $1 --help", "--count", "9"]
  const answer = await troupe(["job", "run", ...flags, "--detach", "--", ...words], options)
  expect([answer.code, answer.stdout]).toEqual([0, "r-100\n"])
  expect(sent(face, "submitJob")).toEqual({
    command: words,
    name: "night",
    env: { A: "b=c", GREETING: "hello" },
    needs: {
      node: "bob",
      cores: 2,
      memoryBytes: 2 ** 30,
      tools: ["ffmpeg"],
      labels: { site: "lab" },
    },
    count: 7,
    parallel: 3,
    failFast: true,
    retries: 2,
    backoffMs: 2000,
    deadlineMs: 60_000,
    timeoutMs: 3_600_000,
    exclusive: "node",
    priority: -3,
    limits: { memoryBytes: 2 ** 29, pids: 50 },
    cwd: "/srv",
    onLoss: "requeue",
    artifacts: [],
  })
})

test.each([
  [["job", "run"], "nothing to run"],
  [["job", "run", "ls", "-l"], "the command stands behind `--`"],
  [["job", "run", "--needs", "core=4", "--", "x"], "did you mean cores?"],
  [
    ["job", "run", "--needs", "cores=many", "--", "x"],
    "--needs cores=many: must be a whole number",
  ],
  [
    ["job", "run", "--needs", "site=lab", "--", "x"],
    "a label of the node is written label.site=lab",
  ],
  [["job", "run", "--memory", "lots", "--", "x"], "write e.g. 512MiB or 2GiB"],
  [["job", "run", "--memory", "12", "--", "x"], "at least: 1MiB"],
  [["job", "run", "--env", "NOWHERE_SET", "--", "x"], "NOWHERE_SET is not set here"],
  [["job", "run", "--exclusive=disk", "--", "x"], "Allowed choices are node, network"],
  [["job", "run", "--count", "many", "--", "x"], "write a number"],
  [["runs", "retry", "r-1"], "say so with --failed"],
] as const)("%j is a mistake that is told before anything is sent", async (args, words) => {
  const { face, options } = await stage()
  const answer = await troupe(args, options)
  expect(answer.code).toBe(2)
  expect(answer.stderr).toContain(words)
  expect(face.calls).toEqual([])
})

test("what no node could ever run ends with 9 and the reason of each node", async () => {
  const { face, options } = await stage()
  const reasons = ["ada has 4 cores, 8 are needed", "bob has 2 cores, 8 are needed"]
  const what = "no node has what this needs"
  face.fail("submitJob", new TroupeError("ERR_UNPLACEABLE", what, { task: "job", reasons }))
  const answer = await troupe(["job", "run", "--needs", "cores=8", "--", "x"], options)
  expect(answer.code).toBe(9)
  for (const reason of reasons) expect(answer.stderr).toContain(`- ${reason}`)
})

test("--print-plan shows the command as a shell would need it, and its node", async () => {
  const { options } = await stage()
  const answer = await troupe(["job", "run", "--print-plan", "--", "echo", "a b"], options)
  expect(answer.code).toBe(0)
  expect(answer.stdout).toContain("Command: echo 'a b'")
  expect(answer.stdout).toMatch(/job +bob/)
})

test("retry and rerun say which run there is now", async () => {
  const { face, options } = await stage()
  face.addRun(aRun({ id: "r-40", label: "night", state: "finished", verdict: "failed" }))
  const retried = await troupe(["runs", "retry", "r-40", "--failed"], options)
  expect([retried.code, retried.stdout]).toEqual([0, "r-100\n"])
  expect(sent(face, "retryRun")).toEqual({ run: "r-40", failed: true })
  await troupe(["runs", "rerun", "r-40"], options)
  expect(sent(face, "retryRun")).toEqual({ run: "r-40", failed: false })
  face.addRun(aRun({ id: "r-41", state: "active" }))
  const refused = await troupe(["runs", "rerun", "r-41"], options)
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("goes on")])
})

test("explain: the run, what waits, and what each node lacks", async () => {
  const { face, options } = await stage()
  face.addRun(aRun({ id: "r-40", label: "night", state: "active" }))
  const answer = await troupe(["explain", "r-40"], options)
  expect(answer.code).toBe(0)
  expect(answer.stdout).toContain("r-40  night  active")
  expect(answer.stdout).toMatch(/ada +has 4 cores, 8 are needed/)
  const one = await troupe(["explain", "r-40/shard[3]", "-o", "json"], options)
  expect(JSON.parse(one.stdout)).toMatchObject({
    kind: "Explanation",
    tasks: [{ task: "shard[3]" }],
  })
  expect((await troupe(["explain", "r-99"], options)).code).toBe(2)
})

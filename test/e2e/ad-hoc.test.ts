/** `troupe job run`, `runs retry` and `explain` on real nodes: output, verdicts, exit codes, and what users do wrong. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { RunView } from "../../src/schema/index.ts"
import { type Cluster, eventually, get, type Node, startCluster } from "./cluster.ts"
import { type Typed, typed } from "./hand.ts"
import { hasHosts } from "./hosts.ts"

describe.skipIf(!hasHosts)("ad-hoc jobs", () => {
  let cluster: Cluster | undefined
  const files = mkdtempSync(join(tmpdir(), "troupe-ad-hoc-"))

  beforeAll(async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
  })

  afterAll(async () => {
    await cluster?.end()
    rmSync(files, { recursive: true, force: true })
  })

  const node = (): Node => cluster!.nodes[0]!
  const job = async (...args: readonly string[]): Promise<Typed> =>
    await typed(node(), "job", "run", ...args)
  const sh = async (flags: readonly string[], script: string): Promise<Typed> =>
    await job(...flags, "--", "sh", "-c", script)
  const lines = ({ stdout }: Typed): string[] => stdout.trimEnd().split("\n").toSorted()

  test("its output is what the command wrote, byte for byte, each stream on its own", async () => {
    const answer = await sh([], "printf 'a\\nb ${X}%s' \"$((1+1))\"; echo problem >&2")
    expect([answer.code, answer.stdout]).toEqual([0, "a\nb ${X}2"])
    expect(answer.stderr).toContain("problem\n")
  })

  test("on a named node, each of them", async () => {
    for (const { name } of cluster!.nodes) {
      const answer = await job("--node", name, "--", "cat", "/proc/self/cgroup")
      expect(answer.code).toBe(0)
      const runs = await get<{ items: readonly { id: string }[] }>(node(), "/v1/runs?limit=1")
      const view = await get<RunView>(node(), `/v1/runs/${runs.items[0]!.id}`)
      expect(view.tasks[0]!.node).toBe(name)
    }
  })

  test("members are told their number; their lines carry their names", async () => {
    const answer = await sh(["--count", "5"], "echo $TROUPE_INDEX of $TROUPE_COUNT")
    expect(answer.code).toBe(0)
    expect(lines(answer)).toEqual([0, 1, 2, 3, 4].map((i) => `job[${i}] | ${i} of 5`))
    expect(answer.stderr).toContain("5 succeeded")
  })

  test("a try that fails is tried again, and the output of each try is shown", async () => {
    const script = "echo try $TROUPE_ATTEMPT; test $TROUPE_ATTEMPT = 3"
    const answer = await sh(["--retries", "2", "--backoff", "50ms"], script)
    expect([answer.code, answer.stdout]).toEqual([0, "try 1\ntry 2\ntry 3\n"])
  })

  test.each([
    [["--", "sh", "-c", "exit 7"], 3, "job failed: exited with code 7"],
    [["--", "sh", "-c", "kill -9 $$"], 3, "SIGKILL"],
    [["--", "/no/such/thing"], 3, "command not found: /no/such/thing"],
    [["--", "no-such-command"], 3, "command not found: no-such-command"],
    [["--", "/etc/passwd"], 3, "not executable: /etc/passwd"],
    [["--cwd", "/no/such", "--", "true"], 3, "the working directory /no/such does not exist"],
    [["--deadline", "300ms", "--", "sleep", "60"], 3, "deadline"],
    [["--timeout", "500ms", "--", "sleep", "60"], 4, "timed out"],
    [["--node", "n33", "--", "true"], 9, "there is no node n33; did you mean n3?"],
    [["--needs", "cores=4000", "--", "true"], 9, "cores, 4000 are needed"],
    [["--needs", "gpus=1", "--", "true"], 9, "no node has what this needs"],
    [["--needs", "core=4", "--", "true"], 2, "did you mean cores?"],
    [["--count", "100001", "--", "true"], 2, "count: (--count) must be a whole number"],
    [["--retries", "-1", "--", "true"], 2, "retries: (--retries)"],
    [["--deadline", "-5s", "--", "true"], 2, "write a duration like 90s"],
    [["--deadline", "2h", "--timeout", "1h", "--", "true"], 2, "longer --timeout"],
    [["--cwd", "here", "--", "true"], 2, "must be an absolute path"],
    [["--", ""], 2, "the program's name is empty"],
    [[], 2, "nothing to run"],
    [["ls", "-l"], 2, "the command stands behind `--`"],
  ] as const)("%j ends with %i", async (args, code, words) => {
    const answer = await job(...args)
    expect(answer.stderr).toContain(words)
    expect([answer.code, answer.stdout]).toEqual([code, ""])
  })

  test("fail-fast: one failure ends the others", async () => {
    const script = "test $TROUPE_INDEX != 1 || exit 9; exec sleep 300"
    const answer = await sh(["--count", "4", "--fail-fast"], script)
    expect(answer.code).toBe(3)
    expect(answer.stderr).toMatch(/job\[1\] failed: exited with code 9 \(1 failed, 3 cancelled\)/)
  })

  test("parallel: never more at once than allowed", async () => {
    const directory = mkdtempSync(join(files, "parallel-"))
    const script = `mkdir ${directory}/$TROUPE_INDEX; ls ${directory} | wc -l; sleep 0.1; rmdir ${directory}/$TROUPE_INDEX`
    const answer = await sh(["--count", "12", "--parallel", "2"], script)
    expect(answer.code).toBe(0)
    const seen = lines(answer).map((line) => Number(line.split("| ")[1]))
    expect(Math.max(...seen)).toBeLessThanOrEqual(2)
  })

  test("artifacts come home in a verified bundle", async () => {
    const home = mkdtempSync(join(files, "home-"))
    const flags = ["--artifacts", "out/*.txt", "--bundle-dir", home, "--name", "art"]
    const answer = await sh(flags, "mkdir out; echo 42 > out/answer.txt; echo done")
    expect([answer.code, answer.stdout]).toEqual([0, "done\n"])
    expect(readFileSync(join(home, "art/roles/job/out/answer.txt"), "utf8")).toBe("42\n")
    expect((await typed(node(), "bundle", "verify", join(home, "art"))).code).toBe(0)
  })

  test("of a job that is cancelled elsewhere the command ends with 130, and its process dies", async () => {
    const marker = join(files, "alive")
    const answer = sh(["--name", "long"], `echo $$ > ${marker}; exec sleep 300`)
    await eventually("the process", async () => (existsSync(marker) ? true : undefined))
    const run = await get<RunView>(node(), "/v1/runs/long")
    await typed(node(), "runs", "cancel", run.id)
    expect((await answer).code).toBe(130)
    const pid = readFileSync(marker, "utf8").trim()
    await eventually("its end", async () => (existsSync(`/proc/${pid}`) ? undefined : true))
  })

  test("retry runs what failed only; rerun runs all of it", async () => {
    const log = join(files, "starts")
    const fixed = join(files, "fixed")
    const script = `echo $TROUPE_INDEX >> ${log}; test $TROUPE_INDEX = 0 || test -e ${fixed}`
    expect((await sh(["--count", "3", "--name", "night"], script)).code).toBe(3)
    writeFileSync(fixed, "")
    const retried = await typed(node(), "runs", "retry", "night", "--failed", "-o", "json")
    expect(retried.code).toBe(0)
    const { id } = JSON.parse(retried.stdout) as RunView
    expect((await typed(node(), "runs", "wait", id)).code).toBe(0)
    const starts = (): string[] => readFileSync(log, "utf8").trim().split("\n").toSorted()
    expect(starts()).toEqual(["0", "1", "1", "2", "2"])
    const shown = await typed(node(), "runs", "show", id)
    expect(shown.stdout).toContain("3 members: 3 succeeded")
    expect(shown.stdout).toContain("what did not succeed of r-")
    const again = await typed(node(), "runs", "rerun", "night", "-o", "json")
    const { id: whole } = JSON.parse(again.stdout) as RunView
    expect((await typed(node(), "runs", "wait", whole)).code).toBe(0)
    expect(starts()).toHaveLength(8)
    expect((await typed(node(), "runs", "retry", id)).code).toBe(2)
    expect((await typed(node(), "runs", "retry", id, "--failed")).stderr).toContain(
      "nothing of it has failed",
    )
  })

  test("explain says why something waits, and what each node lacks", async () => {
    const gate = join(files, "gate")
    const script = `while [ ! -e ${gate} ]; do sleep 0.05; done`
    const flags = ["--count", "6", "--parallel", "2", "--name", "queue", "--detach"]
    expect((await sh(flags, script)).code).toBe(0)
    const said = await eventually("two to run", async () => {
      const { stdout } = await typed(node(), "explain", "queue")
      return stdout.includes("4 pending, 2 active") ? stdout : undefined
    })
    expect(said).toMatch(/job\[\d\] and 3 more like it: pending/)
    const one = await typed(node(), "explain", "queue/job[0]")
    expect(one.stdout).toMatch(/job\[0\]: active, runs on n[123]/)
    expect((await typed(node(), "explain", "queue/job[9]")).code).toBe(2)
    expect((await typed(node(), "explain", "nothing")).code).toBe(2)
    writeFileSync(gate, "")
    expect((await typed(node(), "runs", "wait", "queue")).code).toBe(0)
  })
})

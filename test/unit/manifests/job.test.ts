/** Jobs: what becomes of a command, and every mistake at once. */
import { createHash } from "node:crypto"
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { interpolate } from "../../../src/lib/index.ts"
import { compileJob, unknownNode } from "../../../src/manifests/index.ts"
import { Plan, SubmitJob, type SubmitJobInput } from "../../../src/schema/index.ts"

const context = {
  entryNode: "ada",
  now: 1_700_000_000_000,
  toolVersion: "1.0.0",
  sha256: (text: string) => createHash("sha256").update(text).digest("hex"),
}

function compiled(input: Partial<SubmitJobInput>): Plan {
  const { plan, issues } = compileJob(SubmitJob.parse({ command: ["make"], ...input }), context)
  expect(issues).toEqual([])
  return Plan.parse(plan)
}

function mistakes(input: Partial<SubmitJobInput>): Record<string, string> {
  const { plan, issues } = compileJob(SubmitJob.parse({ command: ["make"], ...input }), context)
  expect(plan === undefined).toBe(issues.length > 0)
  return Object.fromEntries(issues.map(({ path, message }) => [path, message]))
}

test("one command is one group of one role, which waits for a lost node", () => {
  const plan = compiled({ command: ["/usr/bin/make", "all"] })
  expect(plan).toMatchObject({ kind: "job", label: "make", phases: ["init", "job", "done"] })
  expect(plan.groups).toHaveLength(1)
  expect(plan.groups[0]).toMatchObject({
    name: "job",
    count: 1,
    role: true,
    vital: true,
    life: "batch",
    onLoss: "wait",
    retries: 0,
    backoffMs: 1000,
    work: { driver: "process", argv: ["/usr/bin/make", "all"], directory: false },
  })
})

test("what was not asked for is not in the plan, so that it is as small as it can be", () => {
  const [group] = compiled({ count: 4, parallel: 4, placing: "spread", priority: 0 }).groups
  for (const key of ["parallel", "failFast", "exclusive", "placing", "deadlineMs"]) {
    expect(group).not.toHaveProperty(key)
  }
})

test("every flag arrives", () => {
  const plan = compiled({
    name: "night",
    count: 100,
    parallel: 8,
    failFast: true,
    retries: 3,
    backoffMs: 50,
    deadlineMs: 60_000,
    timeoutMs: 3_600_000,
    exclusive: "network",
    placing: "pack",
    priority: -5,
    needs: { node: "local", cores: 2, gpus: 1, labels: { site: "lab" } },
    limits: { memoryBytes: 1 << 30, pids: 64 },
    cwd: "/srv/${USER}",
    onLoss: "requeue",
    env: { A: "${HOME}" },
  })
  expect(plan).toMatchObject({ label: "night", priority: -5, timeoutMs: 3_600_000 })
  expect(plan.groups[0]).toMatchObject({
    count: 100,
    parallel: 8,
    failFast: true,
    retries: 3,
    backoffMs: 50,
    deadlineMs: 60_000,
    exclusive: "network",
    placing: "pack",
    onLoss: "requeue",
    needs: {
      node: "ada",
      cores: 2,
      gpus: 1,
      labels: {
        site: "lab",
        "troupe.limits.memory": "enforced",
        "troupe.limits.pids": "enforced",
      },
    },
    work: { limits: { memoryBytes: 1 << 30, pids: 64 } },
  })
})

const never = (): undefined => undefined

test("no text of the user's is ever read for variables", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("$", "{", "}", "a", "$$", "${", " ")), (pieces) => {
      const text = `x${pieces.join("")}`
      const [group] = compiled({ command: [text, text], env: { A: text } }).groups
      if (group?.work.driver !== "process") throw new Error("no process")
      expect(group.work.argv.map((word) => interpolate(word, never))).toEqual([{ text }, { text }])
      expect(interpolate(group.work.env["A"]!, never)).toEqual({ text })
    }),
  )
})

test.each([
  [["./a b/run tests.sh"], "run-tests.sh"],
  [["/usr/bin/python3"], "python3"],
  [["r-12"], "job-r-12"],
  [["..."], "job"],
  [["日本"], "job"],
  [["x".repeat(300)], "x".repeat(64)],
])("the label of %j", (command, label) => {
  expect(compiled({ command }).label).toBe(label)
})

test("artifacts come home: collect, bundle and seal behind the job, in a directory of its own", () => {
  const plan = compiled({ artifacts: ["out/*.csv"], env: { NAME: "Zoë 日本 🎭" } })
  expect(plan.groups.map(({ name }) => name)).toEqual(["job", "collect-job", "bundle", "seal"])
  expect(plan.groups[0]).toMatchObject({ artifacts: ["out/*.csv"], work: { directory: true } })
  const [document] = plan.documents
  expect(document).toMatchObject({
    path: "manifest.yaml",
    bytes: Buffer.byteLength(document!.text!),
  })
  expect(document!.digest).toBe(context.sha256(document!.text!))
  expect(document!.text).toContain("out/*.csv")
  expect(plan.groups[1]).toMatchObject({ with: "job", after: [{ group: "job", on: "finished" }] })
})

test("every mistake is told at once, each with its field, its flag and what to write", () => {
  const found = mistakes({
    command: [" "],
    name: "a/b",
    env: { "1A": "", TROUPE_INDEX: "3", B: "a\0b" },
    count: 100_001,
    parallel: 0,
    retries: -1,
    priority: 101,
    backoffMs: -1,
    deadlineMs: 0,
    timeoutMs: 1.5,
    cwd: "here",
    artifacts: ["/etc/*", "a/../b", ""],
  })
  expect(Object.keys(found)).toEqual([
    "command",
    "name",
    "env.1A",
    "env.TROUPE_INDEX",
    "env.B",
    "count",
    "parallel",
    "retries",
    "priority",
    "backoffMs",
    "deadlineMs",
    "timeoutMs",
    "cwd",
    "artifacts.0",
    "artifacts.1",
    "artifacts.2",
    "artifacts",
  ])
  expect(found["count"]).toBe("(--count) must be a whole number from 1 to 100000, got 100001")
  expect(found["backoffMs"]).toContain("(--backoff) is negative")
  expect(found["deadlineMs"]).toContain("(--deadline) is nothing")
})

test.each([
  [{ command: [] }, "command", "write what to run"],
  [{ command: ["a\0b"] }, "command", "NUL"],
  [{ command: ["a", "x".repeat(200_000)] }, "command", "put what is long into a file"],
  [{ command: Array.from({ length: 5000 }, () => "x") }, "command", "at most 4096"],
  [{ name: ".." }, "name", "not . or .."],
  [{ name: "r-9" }, "name", "looks like the id of a run"],
  [{ count: 0 }, "count", "from 1 to"],
  [{ deadlineMs: 10_000, timeoutMs: 5000 }, "deadlineMs", "longer --timeout"],
  [{ artifacts: ["*"], count: 2 }, "artifacts", "not 2"],
  [{ timeoutMs: 400 * 86_400_000 }, "timeoutMs", "is too long"],
] satisfies readonly (readonly [Partial<SubmitJobInput>, string, string])[])(
  "%j is refused",
  (input, path, words) => {
    expect(mistakes(input)[path]).toContain(words)
  },
)

test("a named node that is not there is told with the nearest; a number may be a member's id", () => {
  expect(unknownNode({}, ["ada"])).toBeUndefined()
  expect(unknownNode({ node: "ada" }, ["ada"])).toBeUndefined()
  expect(unknownNode({ node: "12" }, ["ada"])).toBeUndefined()
  expect(unknownNode({ node: "adda" }, ["ada"])).toEqual({ node: "adda", nearest: "ada" })
})

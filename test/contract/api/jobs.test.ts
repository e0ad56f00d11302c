/** Jobs, runs again and explanations over real HTTP, and by the client. */
import { expect, test } from "vitest"
import { createClient } from "../../../src/client/index.ts"
import { ExplainView, PlanView, Problem, RunView } from "../../../src/schema/index.ts"
import { aRun } from "../../support/fake-face.ts"
import { serve } from "./served.ts"

const json = { "content-type": "application/json" }

async function post(url: string, body: object, headers: object = {}): Promise<Response> {
  return await fetch(url, {
    method: "POST",
    headers: { ...json, ...headers },
    body: JSON.stringify(body),
  })
}

test("a job is accepted with 201 and its place; the defaults are filled in", async () => {
  const { url, face } = await serve()
  const answer = await post(`${url}/v1/jobs`, { command: ["make", "test"] })
  expect(answer.status).toBe(201)
  const run = RunView.parse(await answer.json())
  expect(answer.headers.get("location")).toBe(`/v1/runs/${run.id}`)
  expect(face.calls[0]).toEqual({
    method: "submitJob",
    argument: {
      command: ["make", "test"],
      env: {},
      needs: {},
      count: 1,
      failFast: false,
      retries: 0,
      artifacts: [],
    },
  })
})

test("the same key again: 200 with the same run; with another command: 422", async () => {
  const { url } = await serve()
  const key = { "idempotency-key": "k" }
  const ids: string[] = []
  for (const status of [201, 200]) {
    const answer = await post(`${url}/v1/jobs`, { command: ["a"] }, key)
    expect(answer.status).toBe(status)
    ids.push(RunView.parse(await answer.json()).id)
  }
  expect(ids[0]).toBe(ids[1])
  const other = await post(`${url}/v1/jobs`, { command: ["b"] }, key)
  expect([other.status, Problem.parse(await other.json()).code]).toEqual([422, "ERR_KEY_CONFLICT"])
})

test("a dry run answers the plan and makes no run", async () => {
  const { url, face } = await serve()
  const answer = await post(`${url}/v1/jobs?dryRun=true`, { command: ["a"] })
  expect(answer.status).toBe(200)
  expect(PlanView.parse(await answer.json()).placements).toMatchObject([
    { task: "job", node: "bob" },
  ])
  expect(face.calls.map(({ method }) => method)).toEqual(["planJob"])
})

test.each([
  [{}, "command", "is missing"],
  [{ command: "ls" }, "command", "expected array"],
  [{ command: ["ls"], comand: [] }, "comand", "did you mean `command`?"],
  [{ command: ["ls"], exclusive: "disk" }, "exclusive", "node"],
  [{ command: ["ls"], needs: { gpu: 1 } }, "needs.gpu", "is not known here"],
  [{ command: ["ls"], limits: { ram: 1 } }, "limits.ram", "is not known here"],
] as const)("%j is a 400 that names the field", async (body, path, words) => {
  const { url, face } = await serve()
  const answer = await post(`${url}/v1/jobs`, body)
  const problem = Problem.parse(await answer.json())
  expect(answer.status).toBe(400)
  const issue = problem.errors?.find((each) => each.path === path)
  expect(issue?.message).toContain(words)
  expect(face.calls).toEqual([])
})

test("a finished run runs again; one that goes on is a 409", async () => {
  const { url, face } = await serve()
  face.addRun(aRun({ id: "r-7", state: "finished", verdict: "failed" }))
  const answer = await post(`${url}/v1/runs/r-7/retry`, { failed: true })
  expect(answer.status).toBe(201)
  expect(answer.headers.get("location")).toMatch(/^\/v1\/runs\/r-/)
  face.addRun(aRun({ id: "r-8", state: "active" }))
  const refused = await post(`${url}/v1/runs/r-8/retry`, {})
  expect(refused.status).toBe(409)
  expect(Problem.parse(await refused.json()).code).toBe("ERR_RUN_NOT_FINISHED")
  expect((await post(`${url}/v1/runs/r-9/retry`, {})).status).toBe(404)
})

test("explanations of a run and of one task", async () => {
  const { url, face } = await serve()
  face.addRun(aRun({ id: "r-7" }))
  const all = ExplainView.parse(await (await fetch(`${url}/v1/runs/r-7/explain`)).json())
  expect(all.tasks[0]!.rejected).toEqual([{ node: "ada", reason: "has 4 cores, 8 are needed" }])
  await fetch(`${url}/v1/runs/r-7/tasks/${encodeURIComponent("shard[3]")}/explain`)
  expect(face.calls.at(-1)).toEqual({
    method: "explainRun",
    argument: { run: "r-7", task: "shard[3]" },
  })
})

test("every task is listed when all are asked for; nothing else is a word for it", async () => {
  const { url, face } = await serve()
  face.addRun(aRun({ id: "r-7" }))
  expect((await fetch(`${url}/v1/runs/r-7?tasks=all`)).status).toBe(200)
  expect((await fetch(`${url}/v1/runs/r-7?tasks=few`)).status).toBe(400)
})

test("the client speaks all of it", async () => {
  const { url, face } = await serve()
  const client = createClient({ baseUrl: url })
  const { run, existing } = await client.submitJob({ command: ["make"] }, { key: "k" })
  expect(existing).toBe(false)
  expect((await client.submitJob({ command: ["make"] }, { key: "k" })).existing).toBe(true)
  expect((await client.planJob({ command: ["make"] })).label).toBe("job")
  expect((await client.explainRun(run.id, { task: "job[1]" })).tasks[0]!.task).toBe("job[1]")
  expect((await client.getRun(run.id, { tasks: "all" })).id).toBe(run.id)
  face.addRun(aRun({ id: "r-7", state: "finished", verdict: "failed" }))
  expect((await client.retryRun("r-7", { failed: true })).run.id).not.toBe("r-7")
})

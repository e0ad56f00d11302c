/** Routes of jobs, of runs that are to run again, and of why tasks wait. */
import * as z from "zod"
import { ExplainView, PlanView, RetryRun, RunView, SubmitJob } from "../schema/index.ts"
import { anonymous, answerLimit, type App, type RouteContext } from "./context.ts"
import { keyOf, warn } from "./runs.ts"
import {
  jsonAnswer,
  problemResponse,
  RunParams,
  SubmitHeaders,
  SubmitQuery,
  TaskParams,
} from "./schemas.ts"

export function jobRoutes(app: App, context: RouteContext): void {
  submitRoute(app, context)
  retryRoute(app, context)
  explainRoutes(app, context)
}

function submitRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "submitJob",
    summary: "Run one command, once or as many members",
    description:
      "A run of the kind `job`. Its output stays on the nodes that wrote it. Refused when no node of the roster could ever run it.",
    tags: ["runs"],
    querystring: SubmitQuery,
    headers: SubmitHeaders,
    body: SubmitJob,
    response: {
      200: jsonAnswer(
        z.union([RunView, PlanView]),
        "The run that this key made before; with `dryRun=true` the plan",
      ),
      201: jsonAnswer(RunView, "Accepted: it survives what the cluster survives"),
      default: problemResponse,
    },
  }
  app.post("/v1/jobs", { schema }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    if (request.query.dryRun === "true") {
      return await face.planJob(request.body, anonymous, options)
    }
    const key = keyOf(request.headers)
    const accepted = await face.submitJob(request.body, { ...anonymous, key }, options)
    warn(reply, accepted.warnings)
    reply.header("location", `/v1/runs/${encodeURIComponent(accepted.run.id)}`)
    reply.code(accepted.existing ? 200 : 201)
    return accepted.run
  })
}

function retryRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "retryRun",
    summary: "Run a finished run again: all of it, or what did not succeed",
    description:
      "A new run of the same plan. With `failed`, members that succeeded keep their results and do not run again.",
    tags: ["runs"],
    params: RunParams,
    headers: SubmitHeaders,
    body: RetryRun,
    response: {
      200: jsonAnswer(RunView, "The run that this key made before"),
      201: jsonAnswer(RunView, "Accepted: the new run"),
      default: problemResponse,
    },
  }
  app.post("/v1/runs/:id/retry", { schema }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    const caller = { ...anonymous, key: keyOf(request.headers) }
    const accepted = await face.retryRun(request.params.id, request.body, caller, options)
    warn(reply, accepted.warnings)
    reply.header("location", `/v1/runs/${encodeURIComponent(accepted.run.id)}`)
    reply.code(accepted.existing ? 200 : 201)
    return accepted.run
  })
}

function explained(operationId: string, summary: string) {
  return {
    operationId,
    summary,
    description:
      "For each node that cannot take a task, the first constraint that fails there. Members of a group that wait alike are one item.",
    tags: ["runs"],
    response: { 200: jsonAnswer(ExplainView, "What waits, and why"), default: problemResponse },
  }
}

function explainRoutes(app: App, { face, waits }: RouteContext): void {
  const all = { ...explained("explainRun", "Why the tasks of a run wait"), params: RunParams }
  app.get(
    "/v1/runs/:id/explain",
    { schema: all, exposeHeadRoute: true },
    async (request, reply) => {
      const { id } = request.params
      return await face.explainRun(id, undefined, waits.begin(reply.raw, answerLimit))
    },
  )
  const one = {
    ...explained("explainTask", "Why one task waits, or how it stands"),
    params: TaskParams,
  }
  app.get(
    "/v1/runs/:id/tasks/:task/explain",
    { schema: one, exposeHeadRoute: true },
    async (request, reply) => {
      const { id, task } = request.params
      return await face.explainRun(id, task, waits.begin(reply.raw, answerLimit))
    },
  )
}

/** Routes of runs: hand in, list, show, cancel. */
import type { FastifyReply } from "fastify"
import { PlanView, RunList, RunView, SubmitRun } from "../schema/index.ts"
import { anonymous, answerLimit, type App, type RouteContext } from "./context.ts"
import {
  CancelQuery,
  jsonAnswer,
  ListQuery,
  problemResponse,
  RunParams,
  RunQuery,
  SubmitHeaders,
  SubmitQuery,
} from "./schemas.ts"
import * as z from "zod"

/** Warnings of one submit that are sent along, and the length of each. */
const warningsMax = 16
const warningCharsMax = 300

export function runRoutes(app: App, context: RouteContext): void {
  submitRoute(app, context)
  listRoute(app, context)
  oneRoute(app, context)
  cancelRoute(app, context)
  pinRoutes(app, context)
}

function submitRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "submitRun",
    summary: "Hand in a run manifest",
    description:
      "As JSON with the digests of the files it names (uploaded before), or the bare manifest as YAML.",
    tags: ["runs"],
    querystring: SubmitQuery,
    headers: SubmitHeaders,
    body: SubmitRun,
    response: {
      200: jsonAnswer(
        z.union([RunView, PlanView]),
        "The run that this key made before; with `dryRun=true` the plan",
      ),
      201: jsonAnswer(RunView, "Accepted: it survives what the cluster survives"),
      default: problemResponse,
    },
  }
  app.post("/v1/runs", { schema }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    if (request.query.dryRun === "true") {
      return await face.planRun(request.body, anonymous, options)
    }
    const key = keyOf(request.headers)
    const accepted = await face.submitRun(request.body, { ...anonymous, key }, options)
    warn(reply, accepted.warnings)
    reply.header("location", `/v1/runs/${encodeURIComponent(accepted.run.id)}`)
    reply.code(accepted.existing ? 200 : 201)
    return accepted.run
  })
}

/** As a structured header it stands in quotes. */
export function keyOf(headers: z.infer<typeof SubmitHeaders>): string | undefined {
  return headers["idempotency-key"]?.replace(/^"(.*)"$/, "$1")
}

/** Percent-encoded, since a header holds neither line breaks nor other letters than ASCII. */
export function warn(reply: FastifyReply, warnings: readonly string[]): void {
  if (warnings.length === 0) return
  const shown = warnings
    .slice(0, warningsMax)
    .map((text) => encodeURIComponent(text.toWellFormed().slice(0, warningCharsMax).toWellFormed()))
  reply.header("troupe-warning", shown)
}

function listRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "listRuns",
    summary: "Runs, newest first",
    description: "The `Link` header holds the next page, if there is one.",
    tags: ["runs"],
    querystring: ListQuery,
    response: { 200: jsonAnswer(RunList, "A page of runs"), default: problemResponse },
  }
  app.get("/v1/runs", { schema, exposeHeadRoute: true }, async (request, reply) => {
    const { state, limit, cursor } = request.query
    const list = await face.listRuns({ state, limit, cursor }, waits.begin(reply.raw, answerLimit))
    if (list.nextCursor !== undefined) {
      const query = new URLSearchParams({ limit: String(limit), cursor: list.nextCursor })
      if (state !== undefined) query.set("state", state)
      reply.header("link", `</v1/runs?${query}>; rel="next"`)
    }
    return list
  })
}

function oneRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "getRun",
    summary: "One run with its phases and tasks",
    tags: ["runs"],
    params: RunParams,
    querystring: RunQuery,
    response: { 200: jsonAnswer(RunView, "The run"), default: problemResponse },
  }
  app.get("/v1/runs/:id", { schema, exposeHeadRoute: true }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    const { tasks } = request.query
    return await face.getRun(request.params.id, { ...options, tasks })
  })
}

function cancelRoute(app: App, { face, waits }: RouteContext): void {
  const schema = {
    operationId: "cancelRun",
    summary: "Cancel a run; one that is finished stays as it is",
    description: "With `Prefer: return=minimal` the answer is 204 without the run.",
    tags: ["runs"],
    params: RunParams,
    querystring: CancelQuery,
    response: {
      202: jsonAnswer(RunView, "Cancelling; what was collected so far still comes home"),
      204: {
        description: "The same, for a client that prefers `return=minimal`",
        content: { "application/json": { schema: z.undefined() } },
      },
      default: problemResponse,
    },
  }
  app.delete("/v1/runs/:id", { schema }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    const reason = request.query.reason ?? "cancelled through the API"
    if (request.headers.prefer === "return=minimal") {
      await face.cancelRunBriefly(request.params.id, reason, anonymous, options)
      return reply.code(204).header("preference-applied", "return=minimal").send(undefined)
    }
    const run = await face.cancelRun(request.params.id, reason, anonymous, options)
    reply.code(202)
    return run
  })
}

/** Pinning is a fact about the run, not an action: PUT and DELETE, each idempotent. */
function pinRoutes(app: App, { face, waits }: RouteContext): void {
  const schema = (operationId: string, summary: string) => ({
    operationId,
    summary,
    tags: ["runs"],
    params: RunParams,
    response: { 200: jsonAnswer(RunView, "The run"), default: problemResponse },
  })
  const pin = schema("pinRun", "Keep a run and its bundle, however old it is")
  app.put("/v1/runs/:id/pin", { schema: pin }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    return await face.pinRun(request.params.id, true, anonymous, options)
  })
  const unpin = schema("unpinRun", "Let retention decide about a run again")
  app.delete("/v1/runs/:id/pin", { schema: unpin }, async (request, reply) => {
    const options = waits.begin(reply.raw, answerLimit)
    return await face.pinRun(request.params.id, false, anonymous, options)
  })
}

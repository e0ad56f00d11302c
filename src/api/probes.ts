/** Routes that machines ask: is it well, alive, ready, and what are its numbers. */
import { readdir, readFile } from "node:fs/promises"
import type { Metric } from "../node/index.ts"
import { HealthView } from "../schema/index.ts"
import type { App, RouteContext } from "./context.ts"
import { exposition, type RequestCounts } from "./metrics.ts"
import { jsonAnswer, problemResponse, ReadyQuery, textBody } from "./schemas.ts"

export function probeRoutes(app: App, context: RouteContext, counts: RequestCounts): void {
  healthRoute(app, context)
  liveRoutes(app, context)
  metricsRoute(app, context, counts)
}

function healthRoute(app: App, { face }: RouteContext): void {
  const schema = {
    operationId: "health",
    summary: "For load balancers: 200 while requests can be served",
    tags: ["probes"],
    response: {
      200: jsonAnswer(HealthView, "ok or degraded"),
      503: jsonAnswer(HealthView, "No leader, or not yet a member"),
      default: problemResponse,
    },
  }
  app.get("/health", { schema, exposeHeadRoute: true }, async (_request, reply) => {
    const health = await face.health()
    const isServing = health.status === "ok" || health.status === "degraded"
    reply.code(isServing ? 200 : 503).header("cache-control", "no-store")
    if (!isServing) reply.header("retry-after", "2")
    return health
  })
}

/** Plain text, as probes of Kubernetes show it. */
function text(description: string) {
  return { description, content: { "text/plain": { schema: textBody } } }
}

function liveRoutes(app: App, { face }: RouteContext): void {
  const livez = {
    operationId: "livez",
    summary: "The process answers",
    tags: ["probes"],
    response: { 200: text("ok"), default: problemResponse },
  }
  app.get("/livez", { schema: livez, exposeHeadRoute: true }, async (_request, reply) => {
    reply.header("content-type", "text/plain; charset=utf-8").header("cache-control", "no-store")
    return "ok\n"
  })

  const readyz = {
    operationId: "readyz",
    summary: "The node is a member and knows a leader",
    tags: ["probes"],
    querystring: ReadyQuery,
    response: {
      200: text("ok, or one line a check"),
      503: text("not ready, or one line a check"),
      default: problemResponse,
    },
  }
  app.get("/readyz", { schema: readyz, exposeHeadRoute: true }, async (request, reply) => {
    const { ready, checks } = face.ready()
    reply
      .code(ready ? 200 : 503)
      .header("content-type", "text/plain; charset=utf-8")
      .header("cache-control", "no-store")
    if (request.query.verbose === undefined) return ready ? "ok\n" : "not ready\n"
    const lines = checks.map(
      ({ name, ok, detail }) =>
        `[${ok ? "+" : "-"}]${name}${detail === undefined ? "" : `: ${detail}`}`,
    )
    return [...lines, ready ? "ok" : "not ready", ""].join("\n")
  })
}

/** Of this process, where the system tells it. */
async function openFiles(): Promise<readonly Metric[]> {
  try {
    const [open, limits] = await Promise.all([
      readdir("/proc/self/fd"),
      readFile("/proc/self/limits", "utf8"),
    ])
    const max = Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1])
    const type = "gauge"
    // One is the directory that was just read.
    const value = open.length - 1
    const metrics: Metric[] = [
      { name: "process_open_fds", help: "Open file descriptors.", type, value },
    ]
    if (!Number.isNaN(max)) {
      const help = "Most file descriptors that this process may open."
      metrics.push({ name: "process_max_fds", help, type, value: max })
    }
    return metrics
  } catch {
    // Not Linux: Prometheus leaves these out there too.
    return []
  }
}

function metricsRoute(app: App, context: RouteContext, counts: RequestCounts): void {
  const schema = {
    operationId: "metrics",
    summary: "Numbers of this node in the Prometheus text format",
    tags: ["probes"],
    response: {
      200: {
        description: "Text format 0.0.4",
        content: { "text/plain": { schema: textBody } },
      },
      default: problemResponse,
    },
  }
  const startedAt = context.clock.boottime()
  app.get("/metrics", { schema }, async (_request, reply) => {
    reply.header("content-type", "text/plain; version=0.0.4; charset=utf-8")
    const uptimeS = (context.clock.boottime() - startedAt) / 1000
    return exposition([
      ...context.face.metrics(),
      {
        name: "process_resident_memory_bytes",
        help: "Memory that the node process holds.",
        type: "gauge",
        value: process.memoryUsage.rss(),
      },
      ...(await openFiles()),
      {
        name: "troupe_uptime_seconds",
        help: "Time since the API was started.",
        type: "gauge",
        value: uptimeS,
      },
      {
        name: "troupe_http_requests_open",
        help: "Requests that are not yet answered whole, streams included.",
        type: "gauge",
        value: context.waits.open,
      },
      ...counts.metrics(),
    ])
  })
}

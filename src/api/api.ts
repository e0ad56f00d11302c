/** The REST API of one node: a web server over its face. */
import { Buffer } from "node:buffer"
import { STATUS_CODES } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import fastify, { type FastifyReply, type FastifyRequest } from "fastify"
import type { ZodTypeProvider } from "fastify-type-provider-zod"
import type { NodeFace } from "../node/index.ts"
import type { Clock, Logger } from "../platform/index.ts"
import { TroupeError } from "../schema/index.ts"
import { blobRoutes } from "./blobs.ts"
import { bundleRoutes } from "./bundle.ts"
import { clusterRoutes } from "./cluster.ts"
import type { App, RouteContext } from "./context.ts"
import { eventRoutes } from "./events.ts"
import { type HostRule, isHostAllowed } from "./hosts.ts"
import { logRoutes } from "./logs.ts"
import { outputRoutes } from "./output.ts"
import { RequestCounts } from "./metrics.ts"
import { describeRoutes, documentRoute } from "./openapi.ts"
import { probeRoutes } from "./probes.ts"
import { jsonBytesMax, problemOf } from "./problem.ts"
import { RouteList } from "./routes.ts"
import { runRoutes } from "./runs.ts"
import { jobRoutes } from "./jobs.ts"
import { invalidRequest, validatorCompiler } from "./validation.ts"
import { ClientLeft, Waits } from "./waits.ts"

export interface ApiOptions {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** Further names for the Host header, beside addresses and this machine's own names. */
  readonly allowedHosts?: readonly string[]
  /** troupe's version, for the OpenAPI document. */
  readonly version: string
  /** Largest blob, bytes; 8 GiB unless told. */
  readonly blobBytesMax?: number
}

export interface ApiParts {
  readonly face: NodeFace
  readonly clock: Clock
  readonly logger: Logger
}

export interface Api {
  /** ERR_ADDRESS_IN_USE when the port is taken. */
  start(): Promise<{ readonly url: string; readonly port: number }>
  /** Ends streams, lets short requests finish, closes. */
  stop(): Promise<void>
}

const connectionsMax = 4096
/** stop() cuts what has not ended by itself after this time. */
const stopGraceMs = 2000
/** A body that is read into memory has to be there within this time. */
const bodyLimitMs = 30_000

interface Running {
  readonly app: App
  readonly waits: Waits
  readonly bound: { readonly url: string; readonly port: number }
}

/** Listens only when started. */
export function createApi(options: ApiOptions, parts: ApiParts): Api {
  let running: Promise<Running> | undefined
  return {
    async start() {
      running ??= listen(options, parts)
      try {
        return (await running).bound
      } catch (error) {
        running = undefined
        throw error
      }
    },
    async stop() {
      const current = running
      running = undefined
      if (!current) return
      const { app, waits } = await current
      waits.stop()
      const timer = parts.clock.after(stopGraceMs, () => app.server.closeAllConnections())
      await app.close().finally(() => timer.cancel())
    },
  }
}

async function listen(options: ApiOptions, parts: ApiParts): Promise<Running> {
  const waits = new Waits(parts.clock)
  const app = await build(options, parts, waits)
  try {
    await app.listen({ host: options.host, port: options.port })
  } catch (error) {
    await app.close()
    throw listenError(error, options)
  }
  const { port } = app.server.address() as AddressInfo
  return { app, waits, bound: { url: urlOf(options.host, port), port } }
}

async function build(options: ApiOptions, parts: ApiParts, waits: Waits): Promise<App> {
  const routes = new RouteList()
  const counts = new RequestCounts()
  const app: App = fastify({
    logger: false,
    bodyLimit: jsonBytesMax,
    // Bodies are bounded by our own clock (see guard); an upload may take hours.
    requestTimeout: 0,
    exposeHeadRoutes: false,
    forceCloseConnections: "idle",
    // What comes in over an open connection meanwhile is answered as always, or with our own words.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 512, ignoreTrailingSlash: true },
    // A silent stream's dead peer is found by TCP itself.
    http: { keepAlive: true, keepAliveInitialDelay: 15_000 },
    frameworkErrors: (error, request, reply) => answer(error, request, reply),
    clientErrorHandler: (error, socket) => refuse(error, socket),
  }).withTypeProvider<ZodTypeProvider>()
  const answer = (error: unknown, request: FastifyRequest, reply: FastifyReply): void =>
    answerProblem(error, { request, reply, parts })
  app.server.maxConnections = connectionsMax
  app.setValidatorCompiler(validatorCompiler)
  // Written as it is: the answers are typed by these schemas already, and a newer leader's answer, passed on by this
  // node, may hold a field that this version does not know.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  app.setErrorHandler((error, request, reply) => answer(error, request, reply))
  app.addHook("onRoute", (route) => {
    for (const method of [route.method].flat()) routes.add(route.url, method)
  })
  guard(
    app,
    { listen: options.host, allowed: options.allowedHosts ?? [], node: parts.face.name },
    parts,
  )
  app.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "none"
    counts.add({ method: request.method, route, status: String(reply.statusCode) })
    // A stream that ended because we stop leaves its connection open for more: there will be no more.
    if (waits.isStopped) setImmediate(() => app.server.closeIdleConnections())
  })
  bodyParsers(app)
  await describeRoutes(app, options.version)
  await addRoutes(
    app,
    { ...parts, waits, blobBytesMax: options.blobBytesMax ?? 8 * 2 ** 30 },
    counts,
  )
  documentRoute(app)
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?")[0]!
    const { problem, allow } = routes.missing(request.method, path)
    if (allow !== undefined) reply.header("allow", allow)
    answer(problem, request, reply)
  })
  await app.ready()
  return app
}

async function addRoutes(app: App, context: RouteContext, counts: RequestCounts): Promise<void> {
  runRoutes(app, context)
  jobRoutes(app, context)
  eventRoutes(app, context)
  logRoutes(app, context)
  outputRoutes(app, context)
  bundleRoutes(app, context)
  await blobRoutes(app, context)
  clusterRoutes(app, context)
  probeRoutes(app, context, counts)
}

/** Before anything else of a request: who it came for, and how long it may take to come. */
function guard(app: App, hosts: HostRule, { clock }: ApiParts): void {
  const node = encodeURIComponent(hosts.node)
  app.addHook("onRequest", async (request, reply) => {
    reply.header("troupe-node", node).header("x-content-type-options", "nosniff")
    const { host } = request.raw.headers
    if (isHostAllowed(host, hosts)) return
    throw new TroupeError(
      "ERR_FORBIDDEN",
      `this node does not answer for the host ${host?.slice(0, 255)}; name it in the node's allowed hosts, or use an address`,
      { what: "host" },
    )
  })
  app.addHook("preParsing", async (request, _reply, payload) => {
    const { raw, method } = request
    // Uploads have their own watch; see blobs.ts.
    if (method !== "POST") return payload
    const timer = clock.after(bodyLimitMs, () => {
      if (!raw.complete) raw.destroy()
    })
    raw.once("end", () => timer.cancel()).once("close", () => timer.cancel())
    return payload
  })
}

/** JSON, and the bare manifest. Fastify's own text/plain goes: a web page may send it across sites unasked. */
function bodyParsers(app: App): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser("application/json", { parseAs: "string" }, (_request, text, done) => {
    try {
      done(null, JSON.parse(String(text)))
    } catch (error) {
      const reason = error instanceof Error ? error.message : "not JSON"
      const message = text.length === 0 ? "the body is empty" : `the body is not JSON: ${reason}`
      done(invalidRequest([{ path: "", message }]))
    }
  })
  const yaml = ["application/yaml", "application/x-yaml", "text/yaml"]
  app.addContentTypeParser(yaml, { parseAs: "string" }, (_request, text, done) => {
    done(null, { document: String(text) })
  })
}

function answerProblem(
  error: unknown,
  { request, reply, parts }: { request: FastifyRequest; reply: FastifyReply; parts: ApiParts },
): void {
  const { body, retryAfterS, internal } = problemOf(error)
  const route = request.routeOptions.url
  if (internal && !(error instanceof ClientLeft)) {
    parts.logger.error("request failed", { route, method: request.method, error })
  }
  // Also where no hook of ours has run, as for a URL that cannot be read.
  reply.header("troupe-node", encodeURIComponent(parts.face.name))
  if (retryAfterS !== undefined) reply.header("retry-after", retryAfterS)
  if (body.code === "ERR_MEDIA_TYPE")
    reply.header("accept-post", "application/json, application/yaml")
  reply.code(body.status).header("content-type", "application/problem+json; charset=utf-8")
  reply.send(JSON.stringify(body))
}

/** What is not HTTP gets an answer without any of fastify. */
function refuse(error: Error & { code?: string }, socket: Socket): void {
  // Where something was answered before, a second answer could fall into the middle of the first.
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400
  const { body } = problemOf(
    invalidRequest([{ path: "", message: "this is not HTTP as we speak it" }]),
  )
  const text = JSON.stringify({ ...body, status })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/problem+json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  )
}

function listenError(error: unknown, { host, port }: ApiOptions): unknown {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  const address = hostPort(host, port)
  if (code === "EADDRINUSE") {
    return new TroupeError(
      "ERR_ADDRESS_IN_USE",
      `${address} is in use; choose another address with --api ADDR:PORT`,
      { address, flag: "--api" },
      { cause: error },
    )
  }
  if (code === "EADDRNOTAVAIL" || code === "EACCES" || code === "ENOTFOUND") {
    const why = code === "EACCES" ? "needs more rights" : "is not an address of this machine"
    const issues = [{ path: "api", message: `${address} ${why}; set --api ADDR:PORT` }]
    return new TroupeError("ERR_CONFIG_INVALID", issues[0]!.message, { issues }, { cause: error })
  }
  return error
}

/** A URL that works on this machine: a wildcard address is shown as loopback. */
function urlOf(host: string, port: number): string {
  const shown = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host
  return `http://${hostPort(shown, port)}`
}

function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
}

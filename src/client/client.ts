/** The client: one method a route. */
import {
  ClusterStatus,
  type CordonNodeInput,
  type DeclareDeadInput,
  type Digest,
  ExplainView,
  HealthView,
  LeaderTransferred,
  NodeCordoned,
  NodeDeclaredDead,
  NodeRemoved,
  NodeView,
  PlanView,
  ReplicaView,
  RunList,
  RunView,
  type SubmitJobInput,
  type SubmitRunInput,
  TroupeError,
} from "../schema/index.ts"
import * as z from "zod"
import { checked } from "./check.ts"
import { type OutputPart, type OutputQuery, outputStream } from "./output.ts"
import { piecesOf } from "./sse.ts"
import { eventStream, type LogQuery, logStream, type RunMessage } from "./streams.ts"
import { realTiming, type Timing } from "./timing.ts"
import { type Ask, createTransport, type Pause } from "./transport.ts"

export type { OutputPart, OutputQuery } from "./output.ts"
export type { LogQuery, RunMessage } from "./streams.ts"
export type { Pause } from "./transport.ts"

export interface ClientOptions {
  /** One or several nodes of one cluster, e.g. `http://127.0.0.1:8770`; any of them answers. */
  readonly baseUrl: string | readonly string[]
  readonly token?: string | undefined
  readonly fetch?: typeof fetch
  /** Tries of one request; 8 unless told. */
  readonly triesMax?: number
  /** Called before each pause between two tries of a request, and when one gets no answer for two seconds. */
  readonly onWait?: (pause: Pause) => void
  /** Whether somebody takes connections at a URL: makes the error of a node that does not answer say more. */
  readonly listens?: (url: string) => Promise<boolean>
  /** For tests. */
  readonly timing?: Timing
}

export interface Submitted {
  readonly run: RunView
  /** The key was used before, for the same request: this is that run. */
  readonly existing: boolean
  readonly warnings: readonly string[]
}

export interface BundleStream {
  readonly run: string
  readonly fileName: string
  /** Of the whole tar; the reader checks it. */
  readonly digest: Digest
  readonly bytes: number
  readonly read: AsyncIterable<Uint8Array>
}

interface Abortable {
  readonly signal?: AbortSignal | undefined
}

/** Every method throws TroupeError with the node's own code; ERR_PEER_UNREACHABLE when no node answers.
 *  Reads and submits with a key are tried again; nothing else is. */
export interface Client {
  submitRun(request: SubmitRunInput, options?: Abortable & { key?: string }): Promise<Submitted>
  planRun(request: SubmitRunInput, options?: Abortable): Promise<PlanView>
  /** One command as a run. */
  submitJob(request: SubmitJobInput, options?: Abortable & { key?: string }): Promise<Submitted>
  planJob(request: SubmitJobInput, options?: Abortable): Promise<PlanView>
  /** A new run of a finished one; `failed`: only of what did not succeed. */
  retryRun(
    run: string,
    options?: Abortable & { failed?: boolean; key?: string },
  ): Promise<Submitted>
  /** Why the run's tasks wait; of one task, how it stands. */
  explainRun(run: string, options?: Abortable & { task?: string | undefined }): Promise<ExplainView>
  listRuns(
    query?: Abortable & {
      state?: "active" | "ending" | "finished"
      limit?: number
      cursor?: string
    },
  ): Promise<RunList>
  /** Of more than 200 tasks those that say most, unless all are asked for. */
  getRun(run: string, options?: Abortable & { tasks?: "all" | undefined }): Promise<RunView>
  cancelRun(run: string, options?: Abortable & { reason?: string }): Promise<RunView>
  /** A pinned run is kept, however old it is. */
  pinRun(run: string, pinned: boolean, options?: Abortable): Promise<RunView>
  /** Past and coming events, over any number of connections; ends after the last. */
  events(
    run: string,
    options?: Abortable & { after?: string | undefined },
  ): AsyncIterable<RunMessage>
  logs(run: string, query: LogQuery): AsyncIterable<Uint8Array>
  /** Of all tasks, merged by time, over any number of connections; the last part is `end`. */
  output(run: string, query?: OutputQuery): AsyncIterable<OutputPart>
  bundle(run: string, options?: Abortable): Promise<BundleStream>
  /** A stream can be sent once only: it is never tried again. */
  putBlob(
    digest: Digest,
    body: Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array>,
    options?: Abortable,
  ): Promise<{ bytes: number; created: boolean }>
  nodes(options?: Abortable): Promise<readonly NodeView[]>
  status(options?: Abortable): Promise<ClusterStatus>
  /** Of the node that answers alone; needs no leader. */
  replica(options?: Abortable): Promise<ReplicaView>
  /** Never tried again. `to`: name or member id of a voter. */
  transferLeader(options?: Abortable & { to?: string | undefined }): Promise<LeaderTransferred>
  /** Never tried again. */
  removeNode(node: string, options?: Abortable): Promise<NodeRemoved>
  /** Never tried again. Nothing new is placed there; drained, what runs there leaves too. */
  cordonNode(node: string, request: CordonNodeInput, options?: Abortable): Promise<NodeCordoned>
  /** Never tried again. What runs there is given up; `force`: although it answers. */
  declareDead(
    node: string,
    request?: DeclareDeadInput,
    options?: Abortable,
  ): Promise<NodeDeclaredDead>
  /** Answers without a leader too. */
  health(options?: Abortable): Promise<HealthView>
}

const answerLimitMs = 45_000
/** What a node answers at once, or after it has waited for a leader for a moment. */
const readPatienceMs = 3000
/** A submit waits for disks and copies. */
const submitPatienceMs = 15_000
const breaksMax = 10

const BlobAnswer = z.looseObject({ bytes: z.int(), created: z.boolean() })
const NodesAnswer = z.looseObject({ items: z.array(NodeView) })

export function createClient(options: ClientOptions): Client {
  const baseUrls = [options.baseUrl].flat().map((url) => url.replace(/\/+$/, ""))
  if (baseUrls.length === 0) throw new Error("a client needs a base URL")
  const timing = options.timing ?? realTiming
  const transport = createTransport({
    baseUrls,
    token: options.token,
    // Called without a receiver: browsers refuse fetch as a method of another object.
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    timing,
    triesMax: options.triesMax ?? 8,
    onWait: options.onWait,
    listens: options.listens,
  })
  const streams = { transport, timing, baseUrls, breaksMax }

  const json = async <T>(schema: z.ZodType<T>, ask: Ask): Promise<T> =>
    await transport.ask(ask, async (response, url) =>
      checked(schema, await jsonOf(response, url), url),
    )
  const get = <T>(schema: z.ZodType<T>, path: string, { signal }: Abortable = {}): Promise<T> =>
    json(schema, { ...reading(path), signal })
  /** With a key it is asked again until it is known. */
  const submit = async (
    sent: ReturnType<typeof submission>,
    { key, signal }: Abortable & { key?: string } = {},
  ): Promise<Submitted> => {
    const ask = {
      ...sent,
      repeatable: key !== undefined,
      limitMs: answerLimitMs,
      ...(key !== undefined && { patienceMs: submitPatienceMs }),
      signal,
    }
    if (key !== undefined) ask.headers["idempotency-key"] = key
    return await transport.ask(ask, async (response, url) => ({
      run: checked(RunView, await jsonOf(response, url), url),
      existing: response.status === 200,
      warnings: warningsOf(response),
    }))
  }
  /** A dry run changes nothing, so it is a read. */
  const plan = (sent: ReturnType<typeof submission>, { signal }: Abortable = {}) =>
    json(PlanView, {
      ...sent,
      repeatable: true,
      limitMs: answerLimitMs,
      patienceMs: submitPatienceMs,
      signal,
    })

  return {
    submitRun: (request, how) => submit(submission(request, "/v1/runs"), how),
    planRun: (request, how) => plan(submission(request, "/v1/runs?dryRun=true"), how),
    submitJob: (request, how) => submit(submission(request, "/v1/jobs"), how),
    planJob: (request, how) => plan(submission(request, "/v1/jobs?dryRun=true"), how),
    retryRun: (run, { failed = false, ...how } = {}) =>
      submit(submission({ failed }, `${runPath(run)}/retry`), how),
    explainRun(run, { task, signal } = {}) {
      const at = task === undefined ? "" : `/tasks/${encodeURIComponent(task)}`
      return get(ExplainView, `${runPath(run)}${at}/explain`, { signal })
    },
    listRuns({ state, limit, cursor, signal } = {}) {
      const query = new URLSearchParams()
      if (state !== undefined) query.set("state", state)
      if (limit !== undefined) query.set("limit", String(limit))
      if (cursor !== undefined) query.set("cursor", cursor)
      return get(RunList, withQuery("/v1/runs", query), { signal })
    },
    getRun(run, { tasks, signal } = {}) {
      const query = new URLSearchParams(tasks === undefined ? {} : { tasks })
      return get(RunView, withQuery(runPath(run), query), { signal })
    },
    cancelRun(run, { reason, signal } = {}) {
      const query = new URLSearchParams(reason === undefined ? {} : { reason })
      const path = withQuery(runPath(run), query)
      const ask = { method: "DELETE" as const, path, repeatable: false, limitMs: answerLimitMs }
      return json(RunView, { ...ask, signal })
    },
    pinRun(run, pinned, { signal } = {}) {
      const ask = { method: pinned ? ("PUT" as const) : ("DELETE" as const), repeatable: true }
      const path = `${runPath(run)}/pin`
      return json(RunView, { ...ask, path, limitMs: answerLimitMs, signal })
    },
    events: (run, { after, signal } = {}) => eventStream(run, { after, signal }, streams),
    logs: (run, query) => logStream(run, query, streams),
    output: (run, query = {}) => outputStream(run, query, streams),
    bundle: (run, { signal } = {}) =>
      transport.ask({ ...reading(`${runPath(run)}/bundle`), signal }, async (response, url) =>
        bundleOf(response, url),
      ),
    putBlob: (digest, body, { signal } = {}) =>
      json(BlobAnswer, {
        method: "PUT",
        path: `/v1/blobs/${digest}`,
        headers: { "content-type": "application/octet-stream" },
        body: body instanceof Uint8Array ? body : streamOf(body),
        repeatable: false,
        signal,
      }),
    nodes: async (abortable) => (await get(NodesAnswer, "/v1/nodes", abortable)).items,
    status: (abortable) => get(ClusterStatus, "/v1/cluster/status", abortable),
    health: (abortable) => get(HealthView, "/v1/cluster/health", abortable),
    replica: (abortable) => get(ReplicaView, "/v1/cluster/replica", abortable),
    transferLeader: ({ to, signal } = {}) =>
      json(LeaderTransferred, {
        ...order("/v1/cluster/transfer", to === undefined ? {} : { to }),
        signal,
      }),
    removeNode: (node, { signal } = {}) =>
      json(NodeRemoved, { ...order("/v1/cluster/remove", { node }), signal }),
    cordonNode: (node, request, { signal } = {}) =>
      json(NodeCordoned, { ...order(nodePath(node, "cordon"), request), signal }),
    declareDead: (node, request = {}, { signal } = {}) =>
      json(NodeDeclaredDead, { ...order(nodePath(node, "declare-dead"), request), signal }),
  }
}

function nodePath(node: string, what: string): string {
  return `/v1/nodes/${encodeURIComponent(node)}/${what}`
}

function submission(request: object, path: string) {
  const headers: Record<string, string> = { "content-type": "application/json" }
  return { method: "POST" as const, path, headers, body: JSON.stringify(request) }
}

function reading(path: string) {
  const limits = { limitMs: answerLimitMs, patienceMs: readPatienceMs }
  return { method: "GET" as const, path, repeatable: true, ...limits }
}

function order(path: string, body: object) {
  const headers = { "content-type": "application/json" }
  const rest = { headers, body: JSON.stringify(body), repeatable: false, limitMs: answerLimitMs }
  return { method: "POST" as const, path, ...rest }
}

function runPath(run: string): string {
  return `/v1/runs/${encodeURIComponent(run)}`
}

function withQuery(path: string, query: URLSearchParams): string {
  return query.size === 0 ? path : `${path}?${query}`
}

async function jsonOf(response: Response, url: string): Promise<unknown> {
  const text = await response.text()
  try {
    return JSON.parse(text)
  } catch (error) {
    const reason = "the answer is not JSON; is this a troupe node?"
    throw new TroupeError(
      "ERR_PROTOCOL",
      `${url}: ${reason}`,
      { where: url, reason },
      { cause: error },
    )
  }
}

/** `Troupe-Warning` headers: percent-encoded sentences, joined by fetch. */
function warningsOf(response: Response): readonly string[] {
  const header = response.headers.get("troupe-warning")
  return header === null ? [] : header.split(",").map((text) => decodeURIComponent(text.trim()))
}

function bundleOf(response: Response, url: string): BundleStream {
  const base64 = /sha-256=:([A-Za-z0-9+/=]+):/.exec(response.headers.get("repr-digest") ?? "")?.[1]
  const fileName = /filename="([A-Za-z0-9._-]+)"/.exec(
    response.headers.get("content-disposition") ?? "",
  )?.[1]
  if (base64 === undefined || fileName === undefined) {
    const reason = "a bundle without its digest and name"
    throw new TroupeError("ERR_PROTOCOL", `${url} sent ${reason}`, { where: url, reason })
  }
  return {
    run: response.headers.get("troupe-run") ?? "",
    fileName,
    digest: hexOf(base64),
    bytes: Number(response.headers.get("content-length") ?? 0),
    read: piecesOf(response),
  }
}

function hexOf(base64: string): string {
  return Array.from(atob(base64), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join(
    "",
  )
}

/** Pulled, so that a slow network holds the source back. ReadableStream.from is not in every browser. */
function streamOf(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await iterator.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}

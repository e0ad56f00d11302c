/** What the face answers about runs, at any node: the leader decides, blobs and logs come from who holds them. */
import { createHash } from "node:crypto"
import {
  type BundleRef,
  type ExplainView,
  type LogChunk,
  type PlanView,
  type RetryRun,
  type RunList,
  type RunView,
  type SubmitJob,
  type SubmitRun,
  TroupeError,
} from "../schema/index.ts"
import type { Changes } from "./changes.ts"
import type { NodeContext } from "./context.ts"
import type { Caller, EventPage, NodeFace, Waiting } from "./face.ts"
import type { JobBody, RetryBody } from "./job-operations.ts"
import type { SubmitBody } from "./operations.ts"
import { replicateBlobs } from "./replication.ts"
import type { LogPlace } from "./run-operations.ts"

const blobBytesMax = 64 * 2 ** 30

export class Runs {
  readonly #context: NodeContext
  readonly #changes: Changes

  constructor(context: NodeContext, changes: Changes) {
    this.#context = context
    this.#changes = changes
  }

  async submitRun(
    request: SubmitRun,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    return await this.#make("submitRun", await this.#submission(request, options), caller, options)
  }

  async planRun(request: SubmitRun, caller: Caller, options: Waiting): Promise<PlanView> {
    const body = await this.#submission(request, options)
    const how = { signal: options.signal, principal: caller.principal }
    return (await this.#context.call("planRun", body, how)) as PlanView
  }

  async submitJob(
    request: SubmitJob,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    const body = this.#job(request)
    return await this.#make("submitJob", body, caller, options)
  }

  async planJob(request: SubmitJob, caller: Caller, options: Waiting): Promise<PlanView> {
    const how = { signal: options.signal, principal: caller.principal }
    return (await this.#context.call("planJob", this.#job(request), how)) as PlanView
  }

  #job(request: SubmitJob): JobBody {
    const bodyHash = sha256(JSON.stringify(request))
    return { request, entryNode: this.#context.options.name, bodyHash }
  }

  async retryRun(
    run: string,
    request: RetryRun,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    const entryNode = this.#context.options.name
    const body: RetryBody = { run, how: request.failed ? "failed" : "rerun", entryNode }
    return await this.#make("retryRun", body, caller, options)
  }

  /** Without a key of the caller's, one for this request, so that it can be asked again when a leader is lost. */
  async #make(
    op: "submitRun" | "submitJob" | "retryRun",
    body: object,
    caller: Caller & { readonly key: string | undefined },
    options: Waiting,
  ): Promise<{ run: RunView; existing: boolean; warnings: readonly string[] }> {
    const key = caller.key ?? Buffer.from(this.#context.parts.random.bytes(16)).toString("hex")
    const how = { signal: options.signal, principal: caller.principal, key }
    return (await this.#context.call(op, body, how)) as {
      run: RunView
      existing: boolean
      warnings: readonly string[]
    }
  }

  /** The files have their copies before the run is proposed; the leader reads the document. */
  async #submission(request: SubmitRun, options: Waiting): Promise<SubmitBody> {
    const document = Buffer.from(request.document)
    const manifest = { digest: sha256(document), bytes: document.length }
    const digests: string[] = []
    for (const { digest } of Object.values(request.files)) {
      await this.#context.fetch(digest, options.signal)
      digests.push(digest)
    }
    if (digests.length > 0) await replicateBlobs(this.#context, digests, options.signal)
    const { os, arch } = this.#context.parts.host
    return {
      request,
      manifest,
      entryNode: this.#context.options.name,
      controller: { os, arch },
      bodyHash: sha256(JSON.stringify(request)),
    }
  }

  async listRuns(
    query: { state?: string | undefined; limit: number; cursor?: string | undefined },
    options: Waiting,
  ): Promise<RunList> {
    return (await this.#context.call("listRuns", query, options)) as RunList
  }

  async getRun(run: string, options: Waiting & { tasks?: "all" | undefined }): Promise<RunView> {
    const { signal, tasks } = options
    const body = { run, ...(tasks !== undefined && { tasks }) }
    return (await this.#context.call("getRun", body, { signal })) as RunView
  }

  async explainRun(run: string, task: string | undefined, options: Waiting): Promise<ExplainView> {
    const body = { run, ...(task !== undefined && { task }) }
    return (await this.#context.call("explainRun", body, options)) as ExplainView
  }

  async cancelRun(run: string, reason: string, caller: Caller, options: Waiting): Promise<RunView> {
    const how = { ...options, principal: caller.principal }
    return (await this.#context.call("cancelRun", { run, reason }, how)) as RunView
  }

  async cancelRunBriefly(
    run: string,
    reason: string,
    caller: Caller,
    options: Waiting,
  ): Promise<void> {
    const how = { ...options, principal: caller.principal }
    await this.#context.call("cancelRun", { run, reason, brief: true }, how)
  }

  async pinRun(run: string, pinned: boolean, caller: Caller, options: Waiting): Promise<RunView> {
    const how = { ...options, principal: caller.principal }
    return (await this.#context.call("pinRun", { run, pinned }, how)) as RunView
  }

  async readEvents(
    run: string,
    query: { after: string | undefined; limit: number; waitMs: number },
    options: Waiting,
  ): Promise<EventPage> {
    return (await this.#context.call("readEvents", { run, ...query }, options)) as EventPage
  }

  async readLog(
    run: string,
    query: Parameters<NodeFace["readLog"]>[1],
    options: Waiting,
  ): Promise<LogChunk> {
    const { task, stream, attempt, offset, max, waitMs } = query
    const place = (await this.#context.call(
      "locateLog",
      { run, task, stream, attempt },
      options,
    )) as LogPlace | null
    const chunk = { task, stream, offset, attempt: place?.attempt ?? 0, node: place?.node ?? "" }
    if (!place) {
      await this.#changes.next(waitMs, options.signal)
      const { state } = await this.getRun(run, options)
      return { ...chunk, next: offset, data: "", ended: state !== "active" }
    }
    if (place.output) {
      await this.#context.fetch(place.output.digest, options.signal)
      const length = Math.max(0, Math.min(max, place.output.bytes - offset))
      const data =
        length === 0
          ? Buffer.alloc(0)
          : await collectBytes(
              this.#context.parts.blobs.read(place.output.digest, { offset, length }),
            )
      const next = offset + data.length
      return { ...chunk, next, data: data.toString("base64"), ended: next >= place.output.bytes }
    }
    if (place.finished) return { ...chunk, next: offset, data: "", ended: true }
    return await this.#tail(run, place, query, options)
  }

  /** From the keeper of the node that runs it. */
  async #tail(
    run: string,
    place: LogPlace,
    query: Parameters<NodeFace["readLog"]>[1],
    options: Waiting,
  ): Promise<LogChunk> {
    const { stream, offset, max, waitMs } = query
    const { id } = await this.getRun(run, options)
    const answer = await this.#context.job(
      place.peer,
      {
        type: "readLog",
        run: id,
        task: place.task,
        fence: place.fence,
        stream,
        offset,
        max,
        waitMs,
      },
      options,
    )
    if (answer.type !== "readLog") {
      throw new TroupeError(
        "ERR_ATTEMPT_GONE",
        `the log of ${place.task} is not at ${place.node}`,
        {
          run: id,
          task: place.task,
        },
      )
    }
    return {
      task: place.task,
      stream,
      offset,
      attempt: place.attempt,
      node: place.node,
      next: offset + answer.data.length,
      data: Buffer.from(answer.data).toString("base64"),
      ended: answer.ended && !place.live,
    }
  }

  async openBundle(
    run: string,
    options: Waiting,
  ): Promise<{ run: RunView; bundle: BundleRef; read: AsyncIterable<Uint8Array> }> {
    const view = await this.getRun(run, options)
    if (!view.bundle) {
      if (view.state !== "finished") {
        throw new TroupeError("ERR_RUN_NOT_FINISHED", `run ${view.label} has no bundle yet`, {
          run: view.id,
        })
      }
      throw new TroupeError(
        "ERR_BUNDLE_NOT_FOUND",
        `run ${view.label} has no bundle: ${view.reason}`,
        {
          run: view.id,
        },
      )
    }
    await this.#context.fetch(view.bundle.digest, options.signal)
    return {
      run: view,
      bundle: view.bundle,
      read: this.#context.parts.blobs.read(view.bundle.digest),
    }
  }

  async putBlob(
    digest: string,
    source: AsyncIterable<Uint8Array>,
    options: Waiting,
  ): Promise<{ bytes: number; created: boolean }> {
    const known = await this.#context.parts.blobs.has(digest)
    if (known) {
      await replicateBlobs(this.#context, [digest], options.signal)
      return { bytes: known.bytes, created: false }
    }
    const { bytes } = await this.#context.parts.blobs.put(bounded(source, blobBytesMax), digest)
    await replicateBlobs(this.#context, [digest], options.signal)
    return { bytes, created: true }
  }
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex")
}

async function* bounded(
  source: AsyncIterable<Uint8Array>,
  max: number,
): AsyncGenerator<Uint8Array> {
  let total = 0
  for await (const chunk of source) {
    total += chunk.length
    if (total > max)
      throw new TroupeError("ERR_LIMIT", `a blob may have ${max} bytes`, {
        what: "blob bytes",
        max,
      })
    yield chunk
  }
}

async function collectBytes(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

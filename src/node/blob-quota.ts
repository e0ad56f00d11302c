/** A node's own duty: above its quota, blobs that no kept run names go, the oldest first (DESIGN.md §8). */
import type { Logger } from "../platform/index.ts"
import type { NodeContext } from "./context.ts"
import { defaultRetention, type Retention } from "./options.ts"
import type { BlobStore, Parts } from "./parts.ts"
import type { BlobUses } from "./run-operations.ts"

/** What has just come may be about to be named: an upload before its run, an output before its report. */
const graceMs = 3600 * 1000
const askMs = 10_000
/** The leader reads the rows of every run for an answer: it is not asked more often than this. */
const restMs = 1800 * 1000

interface Held {
  readonly digest: string
  readonly bytes: number
  readonly at: number
}

/** What of a node this duty needs. */
export interface QuotaContext {
  readonly options: {
    readonly timing: { readonly retainMs: number }
    readonly retention?: Retention
  }
  readonly parts: {
    readonly clock: Pick<Parts["clock"], "now" | "boottime" | "every" | "timeoutSignal">
    readonly logger: Pick<Logger, "info" | "warn">
    readonly blobs: Pick<BlobStore, "list" | "remove">
  }
  readonly call: NodeContext["call"]
}

export class BlobQuota {
  readonly #context: QuotaContext
  #working = false
  /** Boot-time clock. */
  #restUntil = Number.NEGATIVE_INFINITY

  constructor(context: QuotaContext) {
    this.#context = context
  }

  /** Call the answer to end it. */
  start(): () => void {
    const { parts, options } = this.#context
    const stop = new AbortController()
    const timer = parts.clock.every(options.timing.retainMs, () => {
      this.enforce(stop.signal).catch((error: unknown) => {
        if (stop.signal.aborted) return
        parts.logger.info("the blobs here were not looked through", { error: String(error) })
      })
    })
    return () => {
      timer.cancel()
      stop.abort()
    }
  }

  /** Bytes that were removed. */
  async enforce(signal: AbortSignal): Promise<number> {
    if (this.#working) return 0
    this.#working = true
    try {
      return await this.#enforce(signal)
    } finally {
      this.#working = false
    }
  }

  async #enforce(signal: AbortSignal): Promise<number> {
    const { parts, options } = this.#context
    const quota = (options.retention ?? defaultRetention).blobBytes
    const held: Held[] = []
    for await (const blob of parts.blobs.list()) held.push(blob)
    const total = held.reduce((sum, { bytes }) => sum + bytes, 0)
    const { clock } = parts
    if (total <= quota || clock.boottime() < this.#restUntil) return 0
    this.#restUntil = clock.boottime() + restMs
    const before = clock.now() - graceMs
    const used = await this.#used(signal)
    const free = held
      .filter(({ digest, at }) => at < before && !used.has(digest))
      .toSorted((a, b) => a.at - b.at)
    let removed = 0
    for (const { digest, bytes } of free) {
      if (total - removed <= quota || signal.aborted) break
      await parts.blobs.remove(digest)
      removed += bytes
    }
    const left = total - removed
    const fields = { removedBytes: removed, leftBytes: left, quotaBytes: quota }
    if (left > quota) parts.logger.warn("more blobs are needed here than the quota allows", fields)
    else parts.logger.info("blobs that no run names any more were removed", fields)
    return removed
  }

  /** What the leader counts as named by runs that are kept, pinned and going on ones among them. */
  async #used(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const used = new Set<string>()
    let after: string | undefined
    do {
      const limit = AbortSignal.any([
        signal,
        this.#context.parts.clock.timeoutSignal(askMs, "asking which blobs are used"),
      ])
      const body = after === undefined ? {} : { after }
      const page = (await this.#context.call("blobUses", body, { signal: limit })) as BlobUses
      for (const digest of page.digests) used.add(digest)
      after = page.next
    } while (after !== undefined)
    return used
  }
}

/** A node's own duty: output that it keeps goes with its run, and above the quota that of the run that ended first. */
import type { Logger } from "../platform/index.ts"
import type { KeptOutput } from "../wire/index.ts"
import type { NodeContext } from "./context.ts"
import type { RunsKept } from "./log-operations.ts"
import { defaultRetention, type Retention } from "./options.ts"
import type { Keeper, Parts } from "./parts.ts"

const askMs = 10_000
/** A leader that knows nothing of a run may know nothing yet, or be one of a cluster that was recovered. */
const unknownMs = 3600 * 1000
/** Runs in one question to the leader. */
const askedMax = 1000

/** What of a node this duty needs. */
export interface OutputQuotaContext {
  readonly options: {
    readonly timing: { readonly retainMs: number }
    readonly retention?: Retention
  }
  readonly parts: {
    readonly clock: Pick<Parts["clock"], "now" | "every" | "timeoutSignal">
    readonly logger: Pick<Logger, "info">
    readonly keeper: Pick<Keeper, "kept" | "dropKept">
  }
  readonly call: NodeContext["call"]
}

export class OutputQuota {
  readonly #context: OutputQuotaContext
  #working = false

  constructor(context: OutputQuotaContext) {
    this.#context = context
  }

  /** Call the answer to end it. */
  start(): () => void {
    const { parts, options } = this.#context
    const stop = new AbortController()
    const timer = parts.clock.every(options.timing.retainMs, () => {
      this.enforce(stop.signal).catch((error: unknown) => {
        if (stop.signal.aborted) return
        parts.logger.info("the output kept here was not looked through", { error: String(error) })
      })
    })
    return () => {
      timer.cancel()
      stop.abort()
    }
  }

  /** Runs whose output was removed. */
  async enforce(signal: AbortSignal): Promise<readonly string[]> {
    if (this.#working) return []
    this.#working = true
    try {
      return await this.#enforce(signal)
    } finally {
      this.#working = false
    }
  }

  async #enforce(signal: AbortSignal): Promise<readonly string[]> {
    const { parts, options } = this.#context
    const held = (await parts.keeper.kept()).toSorted((a, b) => a.changedAt - b.changedAt)
    if (held.length === 0) return []
    const known = await this.#ask(
      held.map(({ run }) => run),
      signal,
    )
    const quota = (options.retention ?? defaultRetention).outputBytes
    const before = parts.clock.now() - unknownMs
    const unknown = held.filter(({ run, changedAt }) => !known.has(run) && changedAt < before)
    const gone = new Set(unknown.map(({ run }) => run))
    let left = sum(held.filter(({ run }) => !gone.has(run)))
    for (const { run, bytes } of held) {
      if (left <= quota) break
      const what = known.get(run)
      if (!what?.over || what.pinned) continue
      gone.add(run)
      left -= bytes
    }
    if (gone.size === 0 || signal.aborted) return []
    await parts.keeper.dropKept(gone)
    parts.logger.info("output of runs was removed", { runs: gone.size, leftBytes: left })
    return [...gone]
  }

  async #ask(
    runs: readonly string[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, RunsKept["kept"][number]>> {
    const known = new Map<string, RunsKept["kept"][number]>()
    for (let at = 0; at < runs.length; at += askedMax) {
      const limit = AbortSignal.any([
        signal,
        this.#context.parts.clock.timeoutSignal(askMs, "asking which runs are kept"),
      ])
      const body = { runs: runs.slice(at, at + askedMax) }
      const { kept } = (await this.#context.call("runsKept", body, { signal: limit })) as RunsKept
      for (const one of kept) known.set(one.run, one)
    }
    return known
  }
}

function sum(held: readonly KeptOutput[]): number {
  return held.reduce((total, { bytes }) => total + bytes, 0)
}

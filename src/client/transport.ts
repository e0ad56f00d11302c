/** One request to whichever node answers: tries the next base URL, and again later where that can do no harm. */
import { isTroupeError, TroupeError } from "../schema/index.ts"
import { errorOf, frozen, isFrozen, isRefused, reasonOf, unreachable } from "./problems.ts"
import { backoffMs, type Timing } from "./timing.ts"

export interface Ask {
  readonly method: "GET" | "POST" | "PUT" | "DELETE"
  /** With the query, from `/`. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>
  /** Asking twice is the same as asking once: reads, and submits with a key. */
  readonly repeatable: boolean
  /** Time of one try until `read` has what it wants; undefined for uploads, which take what they take. */
  readonly limitMs?: number
  /** After so long without the beginning of an answer the node is asked whether it lives; one that does not say so at once
   *  is given up. Undefined: only `limitMs` counts. */
  readonly patienceMs?: number
  readonly signal?: AbortSignal | undefined
}

export interface Transport {
  /** The answer as `read` makes it of the response; a break while reading counts as a lost connection. */
  ask<T>(ask: Ask, read: (response: Response, url: string) => Promise<T>): Promise<T>
}

export interface TransportOptions {
  readonly baseUrls: readonly string[]
  readonly token: string | undefined
  readonly fetch: typeof fetch
  readonly timing: Timing
  /** Tries of one request, over all base URLs. */
  readonly triesMax: number
  readonly onWait: ((pause: Pause) => void) | undefined
  /** Whether somebody takes connections at a URL, where the runtime can tell. */
  readonly listens: ((url: string) => Promise<boolean>) | undefined
}

/** Between two tries of one request, or in the middle of one that takes long. */
export interface Pause {
  /** Why the last try failed, or what is waited for. */
  readonly reason: string
  /** Until the next try; undefined: the request is under way. */
  readonly waitMs: number | undefined
}

/** Without an answer for so long the caller is told what it waits for. */
const tellAfterMs = 2000
/** A node that lives says so within this: it takes no disk, no leader and no lock. */
const livesMs = 2000

/** A node may ask for a long pause; no one waits longer than this for it. */
const retryAfterMaxMs = 5000

/** A lost connection or a passing answer: the try failed, the request may not have. */
class TryFailed extends Error {
  readonly url: string
  readonly waitMs: number
  constructor(url: string, cause: unknown, waitMs: number) {
    super(reasonOf(cause), { cause })
    this.url = url
    this.waitMs = waitMs
  }
}

export function createTransport(options: TransportOptions): Transport {
  // The base URL that answered last; where a connection failed, the next one is tried first.
  let current = 0
  let wasReached = false

  const tryOnce = async <T>(
    ask: Ask,
    read: (response: Response, url: string) => Promise<T>,
  ): Promise<T> => {
    const base = options.baseUrls[current]!
    const url = base + ask.path
    const limit = new AbortController()
    const timer =
      ask.limitMs === undefined
        ? undefined
        : setTimeout(() => limit.abort(timedOut(ask, url)), ask.limitMs)
    const signal = ask.signal ? AbortSignal.any([ask.signal, limit.signal]) : limit.signal
    const begun = watch(ask, base, limit)
    try {
      const response = await options.fetch(url, init(ask, signal, options.token))
      begun()
      wasReached = true
      if (response.ok) return await read(response, url)
      const error = errorOf(await bodyOf(response), { status: response.status, url })
      if (response.status === 503) throw new TryFailed(base, error, retryAfterMs(response))
      throw error
    } catch (error) {
      ask.signal?.throwIfAborted()
      if (limit.signal.aborted) throw new TryFailed(base, limit.signal.reason, 0)
      if (isTroupeError(error) || error instanceof TryFailed) throw error
      throw new TryFailed(base, error, 0)
    } finally {
      // A stream goes on after this, and only its own signal ends it.
      clearTimeout(timer)
      begun()
    }
  }

  /** Until the beginning of an answer: tells what is waited for, and gives up a node that does not live. */
  const watch = (ask: Ask, base: string, limit: AbortController): (() => void) => {
    const end = new AbortController()
    const { signal } = end
    const after = (ms: number, work: () => void): void => {
      // Ended in time: nothing was to be told.
      options.timing.sleep(ms, signal).then(work, () => undefined)
    }
    if (ask.limitMs !== undefined) {
      after(tellAfterMs, () => {
        if (signal.aborted) return
        options.onWait?.({ reason: `no answer from ${base} yet`, waitMs: undefined })
      })
    }
    if (ask.patienceMs !== undefined) {
      after(ask.patienceMs, () => {
        void isAlive(base, signal).then(async (alive) => {
          if (alive || signal.aborted) return
          const listens = await options.listens?.(base).catch(() => false)
          limit.abort(frozen(base, listens))
        })
      })
    }
    return () => end.abort()
  }

  const isAlive = async (base: string, ended: AbortSignal): Promise<boolean> => {
    const late = new AbortController()
    const lateness = options.timing.sleep(livesMs, AbortSignal.any([ended, late.signal]))
    const asking = new AbortController()
    const answer = options.fetch(`${base}/livez`, { signal: asking.signal })
    try {
      return await Promise.race([answer.then(() => true), lateness.then(() => false)])
    } catch {
      // Refused, or broken: what was asked before will break too, and says why.
      return true
    } finally {
      late.abort()
      lateness.catch(() => undefined)
      asking.abort()
      answer.then(async (response) => await response.body?.cancel()).catch(() => undefined)
    }
  }

  return {
    async ask(ask, read) {
      for (let tries = 1; ; tries++) {
        const asked = current
        try {
          return await tryOnce(ask, read)
        } catch (error) {
          if (!(error instanceof TryFailed)) throw error
          // Another request may have moved on already.
          if (asked === current) current = (current + 1) % options.baseUrls.length
          const refused = isRefused(error.cause)
          const isFirstRound = tries < options.baseUrls.length
          // Where nobody listens nothing was asked: the next URL is not a second request.
          if (isFirstRound && (refused || ask.repeatable)) continue
          // Nobody anywhere, and there never was: that will not pass by waiting.
          const isHopeless = (refused || isFrozen(error.cause)) && !wasReached
          if (isHopeless || !ask.repeatable || tries >= options.triesMax) {
            throw final(error, ask, options.baseUrls)
          }
          const wait = Math.max(error.waitMs, backoffMs(tries, options.timing))
          const { message: reason } = isTroupeError(error.cause) ? error.cause : error
          options.onWait?.({ reason, waitMs: wait })
          await options.timing.sleep(wait, ask.signal)
        }
      }
    },
  }
}

/** What the caller learns after the last try. */
function final(failed: TryFailed, ask: Ask, urls: readonly string[]): TroupeError {
  const { cause } = failed
  if (isFrozen(cause) && (ask.method === "GET" || ask.repeatable)) return cause
  const isTimeout = isTroupeError(cause) && cause.code === "ERR_TIMEOUT"
  if (isTroupeError(cause) && !(isTimeout && ask.method !== "GET")) return cause
  if (ask.method === "GET" || isRefused(cause)) return unreachable(urls, cause)
  const hint = ask.repeatable
    ? "ask again with the same Idempotency-Key"
    : "look whether it happened before you ask again"
  return new TroupeError(
    "ERR_UNKNOWN_OUTCOME",
    `the connection to ${failed.url} was lost in the middle of a request (${failed.message}); ${hint}`,
    { hint },
    { cause },
  )
}

function init(
  ask: Ask,
  signal: AbortSignal,
  token: string | undefined,
): RequestInit & { duplex?: "half" } {
  const headers = new Headers(ask.headers)
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`)
  const { body } = ask
  return {
    method: ask.method,
    headers,
    signal,
    redirect: "error",
    ...(body === undefined ? {} : { body }),
    // A stream is sent before its answer is read; fetch wants that said.
    ...(body instanceof ReadableStream ? { duplex: "half" as const } : {}),
  }
}

async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text()
  try {
    return JSON.parse(text)
  } catch {
    // Not from a troupe node, or a proxy's page: errorOf says so.
    return undefined
  }
}

function retryAfterMs(response: Response): number {
  const seconds = Number(response.headers.get("retry-after") ?? 0)
  return Number.isFinite(seconds) ? Math.min(retryAfterMaxMs, Math.max(0, seconds * 1000)) : 0
}

function timedOut(ask: Ask, url: string): TroupeError<"ERR_TIMEOUT"> {
  const afterMs = ask.limitMs ?? 0
  return new TroupeError("ERR_TIMEOUT", `${url} did not answer within ${afterMs} ms`, {
    what: `${ask.method} ${url}`,
    afterMs,
  })
}

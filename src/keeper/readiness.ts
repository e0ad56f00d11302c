/** When a job is ready: by lines of its output, by a port that answers, or by time. */
import { closeSync, openSync, readSync } from "node:fs"
import { connect } from "node:net"
import { StringDecoder } from "node:string_decoder"
import { createContext, Script } from "node:vm"
import type { Readiness } from "../schema/index.ts"
import type { KeeperClock } from "./clock.ts"

export interface ReadinessWatch {
  cancel(): void
}

export interface ReadinessParts {
  readonly clock: KeeperClock
  readonly stdout: string
  readonly ready: () => void
  /** One sentence why it will not become ready. */
  readonly failed: (reason: string) => void
}

const tailPollMs = 20
const dialEveryMs = 100
const dialTimeoutMs = 500

export function watchReadiness(readiness: Readiness, parts: ReadinessParts): ReadinessWatch {
  const { clock } = parts
  let probe: { cancel(): void; readonly seen: () => string }
  let over = false
  const end = (then: () => void) => {
    if (over) return
    over = true
    probe.cancel()
    limit.cancel()
    then()
  }
  const outcome: ProbeOutcome = {
    clock,
    yes: () => end(parts.ready),
    never: (reason) => end(() => parts.failed(`not ready: ${reason}`)),
  }
  const limit = clock.after(readiness.timeoutMs, () =>
    end(() => parts.failed(`not ready after ${readiness.timeoutMs / 1000} s: ${probe.seen()}`)),
  )
  probe = startProbe(readiness, parts.stdout, outcome)
  return { cancel: () => end(() => undefined) }
}

interface ProbeOutcome {
  readonly clock: KeeperClock
  readonly yes: () => void
  readonly never: (reason: string) => void
}

interface Probe {
  cancel(): void
  /** What it has seen so far instead, for the reason. */
  seen(): string
}

function startProbe(readiness: Readiness, stdout: string, outcome: ProbeOutcome): Probe {
  if (readiness.method === "tcp_connect") return dial(readiness, outcome)
  if (readiness.method === "delay") {
    const timer = outcome.clock.after(readiness.delayMs, outcome.yes)
    return { cancel: () => timer.cancel(), seen: () => "the delay is longer than the timeout" }
  }
  const [pattern, what] =
    readiness.method === "structured_stdout"
      ? [/"event"\s*:\s*"server_ready"/, 'no line of stdout held "event":"server_ready"']
      : [readiness.pattern, `no line of stdout matched /${readiness.pattern}/`]
  try {
    return tail(stdout, pattern, { ...outcome, what })
  } catch (error) {
    // A pattern that is none, or output that is gone. Told in the next turn: the caller's watch is not set up yet.
    const timer = outcome.clock.after(0, () => outcome.never((error as Error).message))
    return { cancel: () => timer.cancel(), seen: () => what }
  }
}

const chunkBytes = 64 << 10
const chunksMax = 16

function tail(
  path: string,
  pattern: string | RegExp,
  outcome: ProbeOutcome & { readonly what: string },
): Probe {
  const matches = typeof pattern === "string" ? guardedMatcher(pattern) : plainMatcher(pattern)
  const lines = new LineTail()
  const buffer = Buffer.alloc(chunkBytes)
  const decoder = new StringDecoder("utf8")
  let offset = 0
  const file = openSync(path, "r")
  const look = () => {
    // More than one chunk, so that a talkative job is kept up with, but not for ever.
    for (let chunk = 0; chunk < chunksMax; chunk++) {
      const count = readSync(file, buffer, 0, chunkBytes, offset)
      offset += count
      const found = lines.push(decoder.write(buffer.subarray(0, count)))
      try {
        if (found.length > 0 && matches(found)) return outcome.yes()
      } catch (error) {
        return outcome.never((error as Error).message)
      }
      if (count < chunkBytes) return
    }
  }
  const timer = outcome.clock.every(tailPollMs, look)
  return {
    cancel() {
      timer.cancel()
      closeSync(file)
    },
    seen: () => (offset === 0 ? `${outcome.what} (it is empty)` : outcome.what),
  }
}

const lineCharactersMax = 16 << 10
/** Polls without growth after which a line without its end is looked at too: prompts have none. */
const quietPolls = 10

/** Whole lines of a growing text, long ones cut, and the unfinished last one once it rests. */
export class LineTail {
  #open = ""
  #quiet = 0

  push(text: string): string[] {
    if (text === "") {
      this.#quiet++
      return this.#quiet === quietPolls && this.#open !== "" ? [this.#open] : []
    }
    this.#quiet = 0
    const parts = text.split("\n")
    parts[0] = this.#open + parts[0]!
    const last = parts.pop()!
    this.#open = last.slice(0, lineCharactersMax)
    return parts.map((line) => line.slice(0, lineCharactersMax).replace(/\r$/, ""))
  }
}

function plainMatcher(pattern: RegExp): (lines: readonly string[]) => boolean {
  return (lines) => lines.some((line) => pattern.test(line))
}

const matchTimeoutMs = 200

/** A user's pattern can take exponential time: it runs under a limit, so that it cannot hold up the other jobs. */
export function guardedMatcher(pattern: string): (lines: readonly string[]) => boolean {
  const sandbox: { pattern: RegExp; lines: readonly string[] } = {
    pattern: new RegExp(pattern),
    lines: [],
  }
  const context = createContext(sandbox)
  const script = new Script("lines.some((line) => pattern.test(line))")
  return (lines) => {
    sandbox.lines = lines
    try {
      return script.runInContext(context, { timeout: matchTimeoutMs }) === true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error
      throw new Error(`the pattern /${pattern}/ takes longer than ${matchTimeoutMs} ms`, {
        cause: error,
      })
    }
  }
}

function dial(target: { host: string; port: string }, { clock, yes, never }: ProbeOutcome): Probe {
  const port = Number(target.port)
  const place = `${target.host}:${target.port}`
  let seen = `${place} was not tried yet`
  let cancel: () => void
  const attempt = () => {
    const socket = connect({ host: target.host, port })
    let settled = false
    const settle = () => {
      const first = !settled
      settled = true
      limit.cancel()
      socket.destroy()
      return first
    }
    const failed = (what: string) => {
      if (!settle()) return
      seen = `${place} ${what}`
      const again = clock.after(dialEveryMs, attempt)
      cancel = () => again.cancel()
    }
    const limit = clock.after(dialTimeoutMs, () => failed("did not answer"))
    cancel = settle
    socket.once("connect", () => settle() && yes())
    // Not `once`: a socket that was given up may still report.
    socket.on("error", ({ code, message }: NodeJS.ErrnoException) =>
      failed(code === "ECONNREFUSED" ? "refused the connection" : `failed (${code ?? message})`),
    )
  }
  const isPort = Number.isInteger(port) && port > 0 && port < 65_536
  const begin = clock.after(0, () =>
    isPort ? attempt() : never(`${JSON.stringify(target.port)} is not a port`),
  )
  cancel = () => begin.cancel()
  return { cancel: () => cancel(), seen: () => seen }
}

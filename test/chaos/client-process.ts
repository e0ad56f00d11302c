/** A process of chaos clients: each asks random nodes over REST, one call after another, until SIGTERM. Arguments: JSON. */
import type { Problem, RunList, RunView } from "../../src/schema/index.ts"
import { attemptsOf, type RunCall, type RunOutput, sightOf } from "../histories/index.ts"
import { SeededRandom } from "../support/random.ts"
import { appendRecord, microseconds } from "./record.ts"
import { requestOf } from "./requests.ts"

export interface ClientOptions {
  readonly seed: number
  readonly name: string
  readonly clients: number
  readonly nodes: readonly { readonly name: string; readonly api: string }[]
  readonly file: string
  readonly jobs: string
  /** When the first key's time began, µs: all processes use the same keys at the same time. */
  readonly epoch: number
  /** A new key after so many ms. */
  readonly keyMs: number
  /** Longest pause of a client between two calls. */
  readonly pauseMs: number
}

/** Keys that are in use at once. */
const keysLive = 3
const pageSize = 20
const watchMs = 160
const openMax = 100
const stopping = new AbortController()

/** What an answer says of the call: an outcome, certainly nothing, or nobody knows. */
interface Answer {
  readonly ending: string
  readonly isRefused: boolean
  readonly body?: unknown
  readonly status?: number
}

const refusals = new Set(["ERR_NO_LEADER", "ERR_NOT_LEADER"])
const outcomes = new Set(["ERR_RUN_NOT_FOUND", "ERR_KEY_CONFLICT"])

async function ask(url: string, init: RequestInit, limitMs: number): Promise<Answer> {
  let response: Response
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(limitMs) })
    const body: unknown = await response.json()
    if (response.ok)
      return { ending: String(response.status), isRefused: false, body, status: response.status }
    const { code = `status ${response.status}: ${JSON.stringify(body)}` } = body as Partial<Problem>
    if (outcomes.has(code)) return { ending: code, isRefused: false, body, status: response.status }
    return { ending: code, isRefused: refusals.has(code) }
  } catch (error) {
    const { name, cause } = error as Error
    if (name === "TimeoutError") return { ending: "timeout", isRefused: false }
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : name
    // Nobody listened, so nothing was sent.
    return { ending: code, isRefused: code === "ECONNREFUSED" }
  }
}

class Client {
  readonly #options: ClientOptions
  readonly #random: SeededRandom
  readonly #name: string
  readonly #attempts = new Set<string>()
  /** Undefined: it asks all alike. */
  readonly #home: ClientOptions["nodes"][number] | undefined
  #reasons = 0

  constructor(options: ClientOptions, number: number) {
    this.#options = options
    const { nodes, clients } = options
    this.#home = number < clients ? nodes[(number + options.seed) % nodes.length] : undefined
    this.#name = `${options.name}.${number}`
    this.#random = new SeededRandom(options.seed * 64 + number)
  }

  async run(): Promise<void> {
    const { pauseMs } = this.#options
    while (!stopping.signal.aborted) {
      await this.#one()
      await new Promise((resolve) => setTimeout(resolve, this.#random.between(0, pauseMs)))
    }
  }

  /** Looks now and then without waiting for an answer: at a node that is paused or cut off, others go on meanwhile. */
  async watch(): Promise<void> {
    let open = 0
    while (!stopping.signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, this.#random.between(20, watchMs)))
      if (open >= openMax) continue
      open++
      const look = this.#call({ op: "look", input: { key: this.#key() } })
      void look.finally(() => open--)
    }
  }

  async #one(): Promise<void> {
    const random = this.#random
    const dice = random.next()
    if (dice < 0.1) return await this.#list()
    const key = this.#key()
    if (dice < 0.45) {
      const body = random.chance(0.8) ? "a" : "b"
      return await this.#call({ op: "submit", input: { key, body } })
    }
    if (dice < 0.53) {
      const reason = `${this.#name}-${this.#reasons++}`
      return await this.#call({ op: "cancel", input: { key, reason } })
    }
    await this.#call({ op: "look", input: { key } })
  }

  /** Mostly its own, so that one node that does not answer does not stop all clients. */
  #node(): ClientOptions["nodes"][number] {
    const { nodes } = this.#options
    const home = this.#home
    return home !== undefined && this.#random.chance(0.7) ? home : this.#random.pick(nodes)
  }

  /** One of those in use, sometimes an old one. */
  #key(): string {
    const { epoch, keyMs, seed } = this.#options
    const now = Math.floor((microseconds() - epoch) / 1000 / keyMs)
    const back = this.#random.chance(0.1)
      ? this.#random.below(now + 1)
      : this.#random.below(keysLive)
    return `k${seed >> 8}-${Math.max(0, now - back)}`
  }

  async #call(call: RunCall): Promise<void> {
    const { file } = this.#options
    const node = this.#node()
    const limitMs = this.#random.chance(0.3) ? 1500 : 9000
    const invokedAt = microseconds()
    const answer = await ask(...this.#request(node.api, call), limitMs)
    const output = outputOf(call, answer)
    const endedAt = microseconds()
    const completedAt = output && endedAt
    const { ending, isRefused } = answer
    const common = {
      client: this.#name,
      node: node.name,
      invokedAt,
      completedAt,
      endedAt,
      ending,
      isRefused,
    }
    appendRecord(file, { type: "call", call, ...common, output })
    if (answer.status === undefined || answer.status >= 300) return
    const view = answer.body as RunView
    if (call.op !== "look") {
      // What the answer shows besides is a look of its own, at some time before the answer.
      const seen = { type: "seen", sight: sightOf(view) } as const
      const look = { op: "look", input: { key: call.input.key } } as const
      appendRecord(file, { type: "call", call: look, ...common, output: seen })
    }
    for (const attempt of attemptsOf(view)) {
      const { run, task, n, fence } = attempt
      const known = `${run}/${task}.${n}@${fence}`
      if (this.#attempts.has(known)) continue
      this.#attempts.add(known)
      appendRecord(file, { type: "attempt", ...attempt })
    }
  }

  #request(api: string, call: RunCall): [string, RequestInit] {
    const { key } = call.input
    if (call.op === "look") return [`${api}/v1/runs/${key}`, {}]
    if (call.op === "cancel") {
      return [`${api}/v1/runs/${key}?reason=${call.input.reason}`, { method: "DELETE" }]
    }
    const request = requestOf(key, call.input.body, this.#options.jobs)
    return [
      `${api}/v1/runs`,
      {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify(request),
      },
    ]
  }

  async #list(): Promise<void> {
    const node = this.#node()
    const invokedAt = microseconds()
    const { status, body } = await ask(`${node.api}/v1/runs?limit=${pageSize}`, {}, 9000)
    if (status !== 200) return
    const { items, nextCursor } = body as RunList
    appendRecord(this.#options.file, {
      type: "page",
      client: this.#name,
      node: node.name,
      invokedAt,
      completedAt: microseconds(),
      items: items.map((run) => ({ ...sightOf(run), key: run.key ?? "" })),
      isWhole: nextCursor === undefined,
    })
  }
}

/** Undefined where the answer leaves the outcome open, or nothing happened. */
function outputOf(call: RunCall, { status, body }: Answer): RunOutput | undefined {
  if (status === undefined) return undefined
  if (status === 404) return { type: "absent" }
  if (status === 422) {
    const { details } = body as Problem
    return { type: "conflict", run: String(details?.["run"]) }
  }
  const view = body as RunView
  if (call.op === "submit") return { type: "accepted", run: view.id, existing: status === 200 }
  return call.op === "cancel" ? { type: "cancelling" } : { type: "seen", sight: sightOf(view) }
}

const options = JSON.parse(process.argv[2]!) as ClientOptions
process.once("SIGTERM", () => stopping.abort())
const clients = Array.from({ length: options.clients }, (_, number) => new Client(options, number))
const watcher = new Client(options, options.clients)
await Promise.all([...clients.map((client) => client.run()), watcher.watch()])
process.exit()

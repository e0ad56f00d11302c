/** Users who ask about runs that others submit, submit them too, cancel some, and write down all that they are told. */
import type { TroupeNode } from "../../../src/node/index.ts"
import { until } from "../../../src/platform/index.ts"
import { isTroupeError, SubmitRun } from "../../../src/schema/index.ts"
import { type RunOutput, RunRecorder, sightOf } from "../../histories/index.ts"
import type { RecordedCall } from "../../lincheck/index.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { Machine } from "./machine.ts"
import { InvariantError } from "./watch.ts"
import type { World } from "./world.ts"

/** What the cluster may answer when it is hurt. */
const passing: ReadonlySet<string> = new Set([
  "ERR_NOT_LEADER",
  "ERR_NO_LEADER",
  "ERR_UNKNOWN_OUTCOME",
  "ERR_STOPPED",
  "ERR_TIMEOUT",
  "ERR_PEER_UNREACHABLE",
  "ERR_BUSY",
])
/** Said only where the request certainly had no effect. */
const refusals = new Set(["ERR_NOT_LEADER", "ERR_NO_LEADER"])

const askMs = 12_000
const pageSize = 6
const visitorsMin = 2
const visitorsMax = 6
/** Short against an election: what is stale is stale for moments only. */
const pauseMs = 250
/** Questions of one visitor without an answer yet. */
const openMax = 32

/** The request of a key, whoever sends it; another `body` is another request. */
export function requestOf(documents: readonly string[], number: number, body: string): SubmitRun {
  const document = documents[number % documents.length]!
  return SubmitRun.parse({
    document: `run_id: key-${number}\n# body ${body}\n${document}`,
    analyze: Math.floor(number / documents.length) % 2 === 0,
  })
}

type Open = RecordedCall<RunOutput>

export class Visitors {
  readonly #world: World
  readonly #random: SeededRandom
  readonly recorder = new RunRecorder()
  readonly #documents: readonly string[]
  readonly #keyNow: () => number
  #reasons = 0
  #isOver = false
  /** Who still asks. */
  #asking = 0

  constructor(
    world: World,
    options: { readonly documents: readonly string[]; readonly keyNow: () => number },
  ) {
    this.#world = world
    this.#random = world.random.fork()
    this.#documents = options.documents
    this.#keyNow = options.keyNow
  }

  begin(): void {
    const count = this.#random.between(visitorsMin, visitorsMax)
    for (let number = 0; number < count; number++) {
      this.#visit(`visitor-${number}`).catch((error: unknown) => this.#world.fail(error as Error))
    }
  }

  end(): void {
    this.#isOver = true
  }

  /** Every visitor has left, and all that they asked for has come to something. */
  get haveLeft(): boolean {
    return this.#asking === 0
  }

  async #visit(name: string): Promise<void> {
    this.#asking++
    // Who does not wait for an answer still asks a node that stands still when others lead already.
    const isPatient = this.#random.chance(0.3)
    const open = new Set<Promise<void>>()
    while (!this.#isOver) {
      await this.#world.clock.sleep(this.#random.between(2, pauseMs))
      const up = this.#world.machines.filter(({ node }) => node)
      if (up.length === 0) continue
      const asked = this.#one(name, this.#random.pick(up))
        .catch((error: unknown) => this.#world.fail(error as Error))
        .finally(() => open.delete(asked))
      open.add(asked)
      if (isPatient || open.size >= openMax) await asked
    }
    await Promise.all(open)
    this.#asking--
  }

  async #one(name: string, machine: Machine): Promise<void> {
    const random = this.#random
    const dice = random.next()
    if (dice < 0.15) return await this.list(name, machine)
    // The next one too: some look before there is anything, some submit first.
    const number = Math.max(0, this.#keyNow() - random.below(3))
    const key = `key-${number}`
    if (dice < 0.35) {
      const body = random.chance(0.7) ? "a" : "b"
      const request = requestOf(this.#documents, number, body)
      await this.submit(name, machine, { key, body, request })
    } else if (dice < 0.42) await this.#cancel(name, machine, key)
    else await this.look(name, machine, key)
  }

  /** The run of the key; undefined where it is not known what came of it, or nothing did. */
  async submit(
    name: string,
    machine: Machine,
    input: { readonly key: string; readonly body: string; readonly request: SubmitRun },
  ): Promise<string | undefined> {
    const { key, body, request } = input
    const call = this.recorder.invoke(name, { op: "submit", input: { key, body } })
    const look = this.recorder.look(name, key)
    return await this.#ask({ call, look }, async (signal) => {
      const caller = { principal: "anonymous", key }
      const { run, existing } = await this.#reach(
        machine,
        (node) => node.submitRun(request, caller, { signal }),
        signal,
      )
      call.complete({ type: "accepted", run: run.id, existing })
      look.complete({ type: "seen", sight: sightOf(run) })
      this.recorder.attempts(run)
      return run.id
    })
  }

  async look(name: string, machine: Machine, key: string): Promise<void> {
    const look = this.recorder.look(name, key)
    await this.#ask({ call: look }, async (signal) => {
      const run = await this.#reach(machine, (node) => node.getRun(key, { signal }), signal)
      look.complete({ type: "seen", sight: sightOf(run) })
      this.recorder.attempts(run)
      return run.id
    })
  }

  async #cancel(name: string, machine: Machine, key: string): Promise<void> {
    const reason = `${name}-${this.#reasons++}`
    const call = this.recorder.invoke(name, { op: "cancel", input: { key, reason } })
    const look = this.recorder.look(name, key)
    await this.#ask({ call, look }, async (signal) => {
      const caller = { principal: "anonymous" }
      const run = await this.#reach(
        machine,
        (node) => node.cancelRun(key, reason, caller, { signal }),
        signal,
      )
      call.complete({ type: "cancelling" })
      look.complete({ type: "seen", sight: sightOf(run) })
      return run.id
    })
  }

  async list(name: string, machine: Machine, limit = pageSize): Promise<void> {
    const page = this.recorder.list(name)
    await this.#ask({}, async (signal) => {
      page.complete(
        await this.#reach(machine, (node) => node.listRuns({ limit }, { signal }), signal),
      )
      return undefined
    })
  }

  /** Asks the process, once it looks at its sockets. */
  async #reach<T>(
    machine: Machine,
    call: (node: TroupeNode) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const answer = new Promise<T>((resolve, reject) => {
      machine.reach(() => {
        const { node } = machine
        if (!signal.aborted && node) call(node).then(resolve, reject)
      })
    })
    return await until(answer, signal)
  }

  /** A call whose machine dies, or whose leader is lost, stays open: nobody knows. */
  async #ask(
    open: { readonly call?: Open; readonly look?: Open },
    answer: (signal: AbortSignal) => Promise<string | undefined>,
  ): Promise<string | undefined> {
    const { call, look } = open
    const signal = this.#world.clock.timeoutSignal(askMs, "a visitor's question")
    try {
      return await answer(signal)
    } catch (error) {
      if (!isTroupeError(error)) throw error
      look?.discard()
      const { code } = error
      if (code === "ERR_KEY_CONFLICT") {
        call?.complete({ type: "conflict", run: error.details.run })
        return error.details.run
      }
      if (code === "ERR_RUN_NOT_FOUND") call?.complete({ type: "absent" })
      else if (refusals.has(code)) call?.discard()
      else if (!passing.has(code)) throw error
      return undefined
    }
  }

  /** Of everything that anybody was told. */
  check(): { readonly calls: number } {
    const { faults, calls } = this.recorder.check()
    if (faults.length > 0) throw new InvariantError(faults.join("\n"))
    return { calls }
  }
}

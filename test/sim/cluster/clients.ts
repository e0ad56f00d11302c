/** Users of the simulated cluster: each submits a run at some node and asks again, with its key, until it has an answer. */
import type { FakeJob } from "../../support/fake-keeper.ts"
import type { SeededRandom } from "../../support/random.ts"
import { until } from "../../../src/platform/index.ts"
import { isTroupeError, SubmitRun } from "../../../src/schema/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { Machine } from "./machine.ts"
import { InvariantError } from "./watch.ts"
import type { World } from "./world.ts"

export interface Submission {
  readonly key: string
  readonly request: SubmitRun
  readonly askedAt: number
  tries: number
  /** Once acknowledged. */
  run: string | undefined
}

const askMs = 12_000

/** What the cluster may answer when it is hurt: the client asks again. */
const passing = new Set([
  "ERR_NOT_LEADER",
  "ERR_NO_LEADER",
  "ERR_UNKNOWN_OUTCOME",
  "ERR_STOPPED",
  "ERR_TIMEOUT",
  "ERR_PEER_UNREACHABLE",
  "ERR_BUSY",
])

const pair = `api_version: v1
roles:
  server:
    command: [serve]
  client:
    command: [work, "\${roles.server.address}"]
readiness:
  method: stdout_match
  pattern: ready
`
const single = `api_version: v1
roles:
  only:
    command: [work]
`
const three = `api_version: v1
roles:
  server:
    command: [serve]
  one:
    command: [work, "\${roles.server.address}"]
  two:
    command: [work]
`

/** What the commands of these manifests do. */
export function script(spec: LaunchSpec, random: SeededRandom): FakeJob {
  if (spec.argv[0] === "serve") {
    const atMs = random.between(5, 300)
    return { output: [{ atMs, text: "ready\n" }], onTerm: { exitCode: 0 } }
  }
  const durationMs = random.chance(0.3) ? random.between(1, 50) : random.between(50, 6000)
  return { durationMs, output: [{ atMs: 1, text: `${spec.run} ${spec.task}\n` }] }
}

export class Clients {
  readonly #world: World
  readonly #random: SeededRandom
  readonly submissions: Submission[] = []

  constructor(world: World) {
    this.#world = world
    this.#random = world.random.fork()
  }

  get acknowledged(): readonly Submission[] {
    return this.submissions.filter(({ run }) => run !== undefined)
  }

  submit(): void {
    const key = `key-${this.submissions.length}`
    const document = this.#random.pick([pair, single, three])
    const request = SubmitRun.parse({ document, analyze: this.#random.chance(0.5) })
    const askedAt = this.#world.clock.boottime()
    const submission: Submission = { key, request, askedAt, tries: 0, run: undefined }
    this.submissions.push(submission)
    this.#insist(submission).catch((error: unknown) => this.#world.fail(error as Error))
  }

  async #insist(submission: Submission): Promise<void> {
    const { clock } = this.#world
    while (submission.run === undefined) {
      const machine = this.#pick()
      if (machine) await this.#ask(machine, submission)
      if (submission.run === undefined) await clock.sleep(this.#random.between(10, 500))
    }
    const machine = this.#pick()
    if (machine) await this.#look(machine, submission.run)
  }

  #pick(): Machine | undefined {
    const up = this.#world.machines.filter(({ node }) => node)
    return up.length > 0 ? this.#random.pick(up) : undefined
  }

  /** Resolves whatever comes of it; a process that dies answers nothing. */
  async #ask(machine: Machine, submission: Submission): Promise<void> {
    const { key, request } = submission
    const signal = this.#world.clock.timeoutSignal(askMs, "a submission")
    submission.tries++
    try {
      const caller = { principal: "anonymous", key }
      const work = machine.node!.submitRun(request, caller, { signal })
      const { run, existing } = await until(work, signal)
      this.#world.note(`${machine.name} acknowledged ${key} as ${run.id} ${existing}`)
      submission.run = run.id
    } catch (error) {
      this.#world.note(`${machine.name} did not acknowledge ${key}: ${String(error)}`)
      if (isTroupeError(error) && passing.has(error.code)) return
      throw error
    }
  }

  /** What was acknowledged is seen by every read that answers. */
  async #look(machine: Machine, run: string): Promise<void> {
    const signal = this.#world.clock.timeoutSignal(askMs, "a read")
    try {
      await until(machine.node!.getRun(run, { signal }), signal)
    } catch (error) {
      if (isTroupeError(error) && passing.has(error.code)) return
      throw new InvariantError(`${machine.name} does not see ${run}: ${String(error)}`)
    }
  }
}

/** Users of the simulated cluster: each submits a run at some node and asks again, with its key, until it has an answer. */
import type { FakeJob } from "../../support/fake-keeper.ts"
import type { SeededRandom } from "../../support/random.ts"
import type { SubmitRun } from "../../../src/schema/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { Machine } from "./machine.ts"
import { requestOf, Visitors } from "./visitors.ts"
import type { World } from "./world.ts"

export interface Submission {
  readonly key: string
  readonly request: SubmitRun
  readonly askedAt: number
  tries: number
  /** Once acknowledged. */
  run: string | undefined
}

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

const documents = [pair, single, three]

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
  /** They ask about the same runs, and write everything down. */
  readonly visitors: Visitors

  constructor(world: World) {
    this.#world = world
    this.#random = world.random.fork()
    this.visitors = new Visitors(world, {
      documents,
      keyNow: () => this.submissions.length,
    })
  }

  get acknowledged(): readonly Submission[] {
    return this.submissions.filter(({ run }) => run !== undefined)
  }

  submit(): void {
    const number = this.submissions.length
    const key = `key-${number}`
    // By its number, so that everybody who submits this key asks for the same.
    const request = requestOf(documents, number, "a")
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
    if (machine) await this.visitors.look(`insisting on ${submission.key}`, machine, submission.key)
  }

  #pick(): Machine | undefined {
    const up = this.#world.machines.filter(({ node }) => node)
    return up.length > 0 ? this.#random.pick(up) : undefined
  }

  /** Resolves whatever comes of it; a process that dies answers nothing. */
  async #ask(machine: Machine, submission: Submission): Promise<void> {
    const { key, request } = submission
    submission.tries++
    const client = `insisting on ${key}`
    submission.run = await this.visitors.submit(client, machine, { key, body: "a", request })
    this.#world.note(`${machine.name} told ${key}: ${submission.run ?? "nothing"}`)
  }
}

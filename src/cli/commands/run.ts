/** `troupe run`: a manifest in, its verified bundle out. */
import { randomUUID } from "node:crypto"
import type { Client } from "../../client/index.ts"
import type { RunView, Verdict } from "../../schema/index.ts"
import { bringHome, type Home } from "../bring-home.ts"
import { writeDryRun } from "../dry-run.ts"
import { connect } from "../connect.ts"
import { exitCodes, verdictExit } from "../exit.ts"
import { UsageError } from "../failure.ts"
import { follow } from "../follow.ts"
import { onInterrupt } from "../interrupt.ts"
import { Left, stopOrLeave, tellHowToFollow } from "../leaving.ts"
import { type ManifestInput, readManifest } from "../manifest-input.ts"
import { printOne, runValue } from "../output.ts"
import { planText } from "../plan-text.ts"
import { createReporter, type Reporter } from "../reporter.ts"
import { formatOf, type Session } from "../session.ts"
import { planOf, submit, type SubmitOptions } from "../submission.ts"

export interface RunOptions {
  readonly dryRun?: true
  readonly printPlan?: true
  readonly agent: readonly string[]
  readonly bundleDir: string
  readonly timeout: number
  readonly verbose?: true
  readonly detach?: true
  readonly analyze: boolean
  readonly diff: boolean
  readonly lenient?: true
  readonly key?: string
  readonly output?: string
  readonly api?: string
}

/** A run ends by itself at its deadline; this is for a cluster that cannot even say so. */
const marginMs = 10 * 60_000

const statusWords: Readonly<Record<Verdict, string>> = {
  succeeded: "success",
  failed: "failed",
  timed_out: "timeout",
  cancelled: "cancelled",
  lost: "lost",
}

export async function run(
  session: Session,
  words: readonly string[],
  options: RunOptions,
): Promise<number> {
  const format = formatOf(session, options.output)
  const file = fileOf(words)
  const agents = agentsOf(options.agent)
  const client = connect(session, options)
  const lenient = options.lenient === true
  const { analyze, diff } = options
  const input = readManifest(session, file, { lenient, diff })
  const interrupted = new AbortController()
  const submission = {
    agents,
    lenient,
    analyze,
    diff,
    timeoutMs: options.timeout,
    signal: interrupted.signal,
  }
  if (options.printPlan === true) {
    const plan = await planOf(client, input, submission)
    for (const warning of plan.warnings) session.terminal.tell(`warning: ${warning}`)
    const { columns: width, paint } = session.terminal
    const text = () => planText(plan, input.spec, { width, paint })
    await printOne(session.terminal, format, { kind: "Plan", value: plan, text })
    const isPlaceable = plan.placements.every(({ node }) => node !== undefined)
    return isPlaceable ? exitCodes.ok : exitCodes.unplaceable
  }
  session.terminal.tell(`Starting orchestrated run from ${file}`)
  if (options.dryRun === true) {
    const plan = await planOf(client, input, submission)
    return await writeDryRun(session, { input, plan, format, bundleDir: options.bundleDir })
  }
  return await perform(session, { client, input, submission, interrupted, options })
}

interface Performance {
  readonly client: Client
  readonly input: ManifestInput
  readonly submission: SubmitOptions
  readonly interrupted: AbortController
  readonly options: RunOptions
}

async function perform(session: Session, work: Performance): Promise<number> {
  const { client, input, submission, interrupted, options } = work
  const { terminal } = session
  let accepted: RunView | undefined
  let reporter: Reporter | undefined
  const letGo = onInterrupt((signal) => {
    if (accepted === undefined) interrupted.abort(new Left("before-accepted"))
    else {
      const screen = reporter ?? terminal
      const notice = "cancelling; its logs still come home"
      void stopOrLeave(session, { client, run: accepted, screen, signal, interrupted, notice })
    }
  })
  try {
    const key = options.key ?? `cli-${randomUUID()}`
    const { run: first, existing, warnings } = await submit(client, input, { ...submission, key })
    accepted = first
    for (const warning of warnings) terminal.tell(`warning: ${warning}`)
    terminal.tell(`${existing ? "already accepted" : "accepted"} as ${first.id} (${first.label})`)
    if (options.detach === true) {
      tellHowToFollow(session, first)
      return await detached(session, first, options)
    }
    reporter = createReporter(session, {
      format: formatOf(session, options.output),
      verbose: options.verbose === true,
      spec: input.spec,
    })
    const limit = session.clock.timeoutSignal(options.timeout + marginMs, `run ${first.label}`)
    const last = await follow(client, first, {
      clock: session.clock,
      signal: AbortSignal.any([interrupted.signal, limit]),
      onEvent: reporter.onEvent,
      onView: reporter.onView,
    })
    reporter.stop()
    const home = await bringHome(client, last, {
      session,
      bundleDir: options.bundleDir,
      format: input.spec.bundleFormat,
      signal: interrupted.signal,
    })
    return await conclude(session, { view: last, home, options })
  } catch (error) {
    reporter?.stop()
    if (!(error instanceof Left)) throw error
    if (error.how === "detached" && accepted) {
      tellHowToFollow(session, accepted)
      return exitCodes.ok
    }
    terminal.tell("stopped before the run was known to be accepted; see: troupe runs list")
    return exitCodes.cancelled
  } finally {
    letGo()
  }
}

async function conclude(
  session: Session,
  end: { view: RunView; home: Home; options: RunOptions },
): Promise<number> {
  const { view, home, options } = end
  const { terminal } = session
  const format = formatOf(session, options.output)
  const value = { ...runValue(view), home: publicHome(home) }
  const text = () => summary(view, home)
  if (format === "table") terminal.print(text())
  else await printOne(terminal, format, { kind: "Run", value, text })
  if (home.problem !== undefined) {
    terminal.tell(`${terminal.paintError("red", "error:")} ${home.problem}`)
  }
  if (terminal.live) tellNext(session, view, home)
  const { verdict } = view
  if (verdict === undefined) return exitCodes.internal
  if (verdict === "succeeded" && home.problem !== undefined) return home.exitCode
  return verdictExit[verdict]
}

/** Where the bundle is, for programs. */
function publicHome({ path, zip, valid, problem }: Home): object {
  return { path, zip, valid, problem }
}

/** The original's words, with the reason when it did not succeed. */
function summary(view: RunView, home: Home): string {
  const took = ((view.endedAt ?? view.createdAt) - view.createdAt) / 1000
  const lines = [
    ["Run ID:", view.label],
    ["Status:", view.verdict === undefined ? view.state : statusWords[view.verdict]],
    ...(view.verdict !== "succeeded" && view.reason !== undefined
      ? [["Reason:", view.reason]]
      : []),
    ["Duration:", `${took.toFixed(1)}s`],
    ["Bundle:", home.path ?? "none"],
    ...(home.zip === undefined ? [] : [["Zip:", home.zip]]),
    ...(home.verified === undefined ? [] : [["Verified:", home.verified]]),
  ]
  return [
    "",
    "Run completed",
    ...lines.map(([name, value]) => `  ${name!.padEnd(9)} ${value}`),
  ].join("\n")
}

async function detached(session: Session, view: RunView, options: RunOptions): Promise<number> {
  const text = () => view.id
  await printOne(session.terminal, formatOf(session, options.output), {
    kind: "Run",
    value: runValue(view),
    text,
  })
  return exitCodes.ok
}

function tellNext({ terminal }: Session, view: RunView, home: Home): void {
  const next =
    home.path === undefined
      ? [`troupe runs show ${view.id}`]
      : [`troupe bundle info ${home.path}`, `(cd ${home.path} && sha256sum -c SHA256SUMS)`]
  if (view.verdict !== "succeeded") next.unshift(`troupe logs ${view.id}`)
  terminal.tell(`\nNext:\n${next.map((command) => `  ${command}`).join("\n")}`)
}

/** `run FILE`, and `run manifest FILE` as the original has it. */
function fileOf(words: readonly string[]): string {
  const [first, second] = words
  if (words.length === 1 && first !== undefined) return first
  if (words.length === 2 && first === "manifest" && second !== undefined) return second
  throw new UsageError(
    `one manifest at a time, got ${words.map((word) => JSON.stringify(word)).join(" ")}`,
    "write: troupe run FILE",
  )
}

function agentsOf(specs: readonly string[]): Record<string, string> {
  const agents: Record<string, string> = {}
  for (const spec of specs) {
    const equals = spec.indexOf("=")
    if (equals < 1 || equals === spec.length - 1) {
      throw new UsageError(
        `invalid agent spec ${JSON.stringify(spec)}: expected role=agent`,
        "write, for example: --agent server=lab-2",
      )
    }
    agents[spec.slice(0, equals)] = spec.slice(equals + 1)
  }
  return agents
}

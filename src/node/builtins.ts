/** The builtin tasks: stage, collect, bundle, analyze, diff, seal. Idempotent: a second try makes the same outputs. */
import { hostname } from "node:os"
import { resolvedYaml } from "../manifests/index.ts"
import {
  type BundleRef,
  type Output,
  type Plan,
  type StagedFile,
  type Task,
  type TaskGroup,
  TroupeError,
  type Work,
} from "../schema/index.ts"
import { outputsMax } from "../wire/index.ts"
import { keepArtifacts } from "./artifacts.ts"
import { groupOf, liveAttempt, resolveLaunch, type RunRows } from "./launch.ts"
import { encodeTimes, timesFolder } from "./log-times.ts"
import type { BundleInput, Parts } from "./parts.ts"

export type BuiltinWork = Extract<Work, { driver: "builtin" }>

export interface BuiltinResult {
  readonly outputs: readonly Output[]
  readonly bundle?: BundleRef
}

export interface BuiltinContext {
  readonly parts: Parts
  readonly version: string
  /** This node's member id. */
  readonly self: number
  readonly rows: RunRows
  readonly signal: AbortSignal
  /** Brings a blob here from whoever has it. */
  fetch(digest: string, signal: AbortSignal): Promise<void>
  /** Asks another connected member to hold these blobs too; answers the members that now do. */
  replicate(digests: readonly string[], signal: AbortSignal): Promise<readonly number[]>
}

/** Performs one builtin task; throws with a sentence when it cannot. */
export async function performBuiltin(
  work: BuiltinWork,
  task: Task,
  context: BuiltinContext,
): Promise<BuiltinResult> {
  switch (work.verb) {
    case "stage":
      return await stage(work.files, context)
    case "collect":
      return await collect(work.group, context)
    case "bundle":
      return await layOut(context)
    case "analyze": {
      const input = await describeRun(context)
      return await addFile("analysis/summary.json", context, (tree) =>
        context.parts.bundles.analyze({ files: tree }, input),
      )
    }
    case "diff":
      await context.fetch(work.baseline, context.signal)
      return await addFile("analysis/diff.json", context, (tree) =>
        context.parts.bundles.diff({ files: tree }, work.baseline),
      )
    case "seal":
      return await seal(context)
    default:
      return unreachable(work, task)
  }
}

function unreachable(work: never, task: Task): never {
  throw new Error(`unknown builtin of ${task.name}: ${JSON.stringify(work)}`)
}

async function stage(
  files: readonly StagedFile[],
  context: BuiltinContext,
): Promise<BuiltinResult> {
  for (const file of files) await context.fetch(file.digest, context.signal)
  return { outputs: [] }
}

/** Logs and artifacts of the group's tasks that ran here become blobs. */
async function collect(group: string, context: BuiltinContext): Promise<BuiltinResult> {
  const outputs: Output[] = []
  const { rows, self, parts } = context
  const globs = groupOf(rows.plan, group)?.artifacts ?? []
  // So that the streams of all of them fit into the report, however many artifacts one has.
  const others = 4 * rows.run.tasks.filter((task) => task.group === group).length
  for (const task of rows.run.tasks) {
    const attempt = liveAttempt(task)
    if (task.group !== group || attempt?.node !== self) continue
    const target = { run: rows.run.id, task: task.name, fence: attempt.fence }
    const held = (await parts.keeper.list()).find(
      (one) => one.run === target.run && one.task === target.task && one.fence === target.fence,
    )
    if (!held) {
      if (attempt.ending?.outcome === "not_started" && attempt.ending.startedAt === undefined)
        continue
      throw new TroupeError("ERR_ATTEMPT_GONE", `the output of ${task.name} is no longer here`, {
        run: rows.run.id,
        task: task.name,
      })
    }
    const folder = `roles/${task.name}`
    for (const [stream, file] of [
      ["stdout.log", held.stdout],
      ["stderr.log", held.stderr],
    ] as const) {
      outputs.push(await keep(`${folder}/${stream}`, parts.keeper.content(file), parts))
    }
    outputs.push(...(await timesOf({ ...target, attempt: held.attempt }, parts)))
    const artifacts = await parts.keeper.artifacts(target, globs)
    outputs.push(
      ...(await keepArtifacts(
        { folder, artifacts, room: outputsMax - outputs.length - others },
        parts,
      )),
    )
  }
  return { outputs }
}

/** When what was written was there, so that the streams of a finished run can be merged too; no part of the bundle. */
async function timesOf(
  target: { run: string; task: string; attempt: number; fence: number },
  parts: Parts,
): Promise<readonly Output[]> {
  const range = { start: { offset: 0 }, max: 0, allTimes: true } as const
  const { points: stdout } = await parts.keeper.tail({ ...target, stream: "stdout" }, range)
  const { points: stderr } = await parts.keeper.tail({ ...target, stream: "stderr" }, range)
  if (stdout.length + stderr.length === 0) return []
  const content = Buffer.from(encodeTimes({ stdout, stderr }))
  return [await keep(`${timesFolder}${target.task}.json`, [content], parts)]
}

/** Brings every output here, adds the describing files, and makes the second copy. */
async function layOut(context: BuiltinContext): Promise<BuiltinResult> {
  const { rows, parts, signal } = context
  const outputs: Output[] = []
  for (const { path, digest, bytes, text } of rows.plan.documents) {
    if (text === undefined) await context.fetch(digest, signal)
    else await keep(path, [Buffer.from(text)], parts)
    outputs.push({ path, digest, bytes })
  }
  for (const output of collected(rows)) {
    if (output.path.startsWith(timesFolder)) continue
    await context.fetch(output.digest, signal)
    outputs.push(output)
  }
  const input = await describeRun(context)
  for (const { path, content } of await parts.bundles.describe(input)) {
    outputs.push(await keep(path, [content], parts))
  }
  await context.replicate(
    outputs.map((output) => output.digest),
    signal,
  )
  return { outputs }
}

async function addFile(
  path: string,
  context: BuiltinContext,
  make: (tree: readonly Output[]) => Promise<Uint8Array>,
): Promise<BuiltinResult> {
  const tree = await fetchTree(context)
  const output = await keep(path, [await make(tree)], context.parts)
  await context.replicate([output.digest], context.signal)
  return { outputs: [output] }
}

async function seal(context: BuiltinContext): Promise<BuiltinResult> {
  const { parts, rows, self, signal } = context
  const tree = await fetchTree(context)
  const { digest, bytes, files } = await parts.bundles.seal({ files: tree }, rows.run.label)
  const copies = await context.replicate([digest], signal)
  return { outputs: [], bundle: { digest, bytes, files, holders: [self, ...copies] } }
}

/** The tree so far: what `bundle` laid out, and what analysis and diff added. */
async function fetchTree(context: BuiltinContext): Promise<readonly Output[]> {
  const tree = context.rows.run.tasks
    .filter((task) => {
      const work = groupOf(context.rows.plan, task.group)?.work
      return work?.driver === "builtin" && ["bundle", "analyze", "diff"].includes(work.verb)
    })
    .flatMap((task) => task.outputs)
  for (const { digest } of tree) await context.fetch(digest, context.signal)
  return tree
}

function collected(rows: RunRows): readonly Output[] {
  return rows.run.tasks
    .filter((task) => isCollect(groupOf(rows.plan, task.group)))
    .flatMap((task) => task.outputs)
}

function isCollect(group: TaskGroup | undefined): boolean {
  return group?.work.driver === "builtin" && group.work.verb === "collect"
}

/** Facts of the run for the bundle's metadata. */
async function describeRun(context: BuiltinContext): Promise<BundleInput> {
  const { rows, parts, version } = context
  const roles = rows.run.tasks.filter((task) => groupOf(rows.plan, task.group)?.role)
  const controller = { host: hostname(), os: parts.host.os, arch: parts.host.arch, version }
  const launched = roles.map((task) => {
    const attempt = liveAttempt(task)
    const resolved = resolveLaunch(rows, task)
    const member = rows.members.find((one) => one.id === attempt?.node)
    return {
      role: task.name,
      agentId: rows.plan.variables[`agent.${task.group}`] ?? member?.name ?? "",
      host: member?.name ?? "",
      os: member?.os ?? "",
      arch: member?.arch ?? "",
      argv: "launch" in resolved ? resolved.launch.argv : commandOf(groupOf(rows.plan, task.group)),
      attempt: attempt?.n ?? 0,
      ending: attempt?.ending,
    }
  })
  return {
    run: rows.run,
    plan: rows.plan,
    roles: launched,
    missing: missingFrom(rows),
    controller,
    resolved: resolvedYaml(rows.plan, {
      label: rows.run.label,
      argv: Object.fromEntries(launched.map(({ role, argv }) => [role, argv])),
      profileContent: await profileText(rows.plan, context),
    }),
  }
}

const profileBytesMax = 4 << 20

/** The profile as the resolved manifest quotes it; undefined when there is none, or it is too large to quote. */
export async function profileText(
  plan: Plan,
  from: Pick<BuiltinContext, "parts" | "signal" | "fetch">,
): Promise<string | undefined> {
  const profile = plan.documents.find(({ path }) => path === "profile.yaml")
  if (!profile || profile.bytes > profileBytesMax) return undefined
  await from.fetch(profile.digest, from.signal)
  const chunks: Uint8Array[] = []
  for await (const chunk of from.parts.blobs.read(profile.digest)) chunks.push(chunk)
  return Buffer.concat(chunks).toString("utf8")
}

function commandOf(group: TaskGroup | undefined): readonly string[] {
  return group?.work.driver === "process" ? group.work.argv : []
}

/** What a partial bundle lacks, and why. */
function missingFrom(rows: RunRows): readonly { path: string; reason: string }[] {
  const have = new Set(collected(rows).map((output) => output.path))
  return rows.run.tasks
    .filter((task) => groupOf(rows.plan, task.group)?.role && task.attempts.length > 0)
    .filter((task) => !have.has(`roles/${task.name}/stdout.log`))
    .map((task) => {
      const collector = rows.run.tasks.find((other) => {
        const work = groupOf(rows.plan, other.group)?.work
        return work?.driver === "builtin" && work.verb === "collect" && work.group === task.group
      })
      return {
        path: `roles/${task.name}/stdout.log`,
        reason: collector?.reason ?? task.reason ?? "it never ran",
      }
    })
}

async function keep(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  parts: Parts,
): Promise<Output> {
  const { digest, bytes } = await parts.blobs.put(toAsync(content))
  return { path, digest, bytes }
}

async function* toAsync(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* content
}

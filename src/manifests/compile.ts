/** Checked run manifest → plan, or what only placement-time knowledge could find wrong with it. */
import {
  type Issue,
  labelsForLimits,
  type Needs,
  type Plan,
  type Readiness,
  type StagedFile,
} from "../schema/index.ts"
import { type AgentContext, chooseNode, unusedAgents } from "./agents.ts"
import { argvOf } from "./argv.ts"
import { roleGroups, type RoleTask, tailGroups } from "./groups.ts"
import { referenceEdges } from "./order.ts"
import { byPlace } from "./reader.ts"
import { resolvedOf } from "./resolved.ts"
import type { ManifestSpec, ReadinessSpec, RoleSpec } from "./spec.ts"
import {
  type Constants,
  constantsOf,
  rolesNamedIn,
  networkTexts,
  withConstants,
} from "./variables.ts"

const timeoutMsDefault = 30 * 60_000

/** The phases of seed 000 and `done`, in order. */
export const manifestPhases = [
  "init",
  "stage",
  "server_start",
  "server_ready",
  "client_start",
  "client_done",
  "server_stop",
  "collect",
  "bundle",
  "analyze",
  "diff",
  "done",
] as const

interface Document {
  readonly digest: string
  readonly bytes: number
}

export interface CompileContext extends AgentContext {
  readonly documents: {
    /** The manifest itself; its bytes are staged as a blob. */
    readonly manifest: Document
    /** Of `manifestFiles`: the profile. `absolute` is its path where the user stands. */
    readonly profile?: Document & { readonly absolute: string }
    /** Of `manifestBaseline`: the packed bundle. */
    readonly baseline?: Document
  }
  /** ms since the epoch: names a run without `run_id`, and is `resolved_at`. */
  readonly now: number
  readonly timeoutMs?: number | undefined
  /** false: `--no-analyze`, `--no-diff`. */
  readonly analyze: boolean
  readonly diff: boolean
  readonly toolVersion: string
  /** As Node names them: linux, x64. */
  readonly controller: { readonly os: string; readonly arch: string }
}

export interface Compiled {
  /** There when `issues` is empty. */
  readonly plan: Plan | undefined
  readonly issues: Issue[]
  readonly warnings: Issue[]
}

/** Compiles a manifest that parseManifest accepted. */
export function compileManifest(manifest: ManifestSpec, context: CompileContext): Compiled {
  const issues: Issue[] = []
  const report = (path: string, message: string): void => {
    issues.push({ path, message, file: manifest.file, ...manifest.places.get(path) })
  }
  const profileFile = checkProfile(manifest, context, report)
  const baseline = checkBaseline(manifest, context, report)
  const profilePath = profileFile ? profileFile.path : manifest.profile?.path
  const constants = constantsOf(manifest, { profilePath })
  for (const { path, message } of unusedAgents(manifest, context)) report(path, message)
  const tasks = manifest.roles.map((role) => {
    return roleTask({ manifest, role, context, constants, profilePath }, report)
  })
  const edges = referenceEdges(tasks)
  if ("cycle" in edges) {
    const [first, second] = edges.cycle
    const message = `needs the address of '${second}', which starts only after '${first}'`
    report(`roles.${first}`, message)
  }
  if (issues.length > 0 || "cycle" in edges)
    return { plan: undefined, issues: byPlace(issues), warnings: [] }

  const timeoutMs = context.timeoutMs ?? timeoutMsDefault
  const label = manifest.runId ?? timeLabel(context.now)
  const staged = profileFile ? [profileFile] : []
  const plan: Plan = {
    version: 1,
    kind: "manifest",
    label,
    groups: [
      ...tasks.flatMap((task) => roleGroups(task, { tasks, staged, after: edges.after })),
      ...tailGroups(
        tasks.map(({ role }) => `collect-${role.name}`),
        { analyze: manifest.analyze && context.analyze, baseline },
      ),
    ],
    phases: [...manifestPhases],
    timeoutMs,
    documents: [
      { path: "manifest.yaml", ...pick(context.documents.manifest) },
      ...staged.map((file) => ({ ...file, path: "profile.yaml" })),
    ],
    variables: planVariables(manifest, constants),
    addresses: lateAddresses(manifest),
    resolved: resolvedOf(manifest, { ...context, label, profileFile, profilePath }),
    bundleFormat: manifest.bundleFormat,
  }
  return { plan, issues, warnings: durationWarnings(manifest, timeoutMs) }
}

/** Constants without variables of their own, and `agent.<role>` as written, for role_meta.json. */
function planVariables(manifest: ManifestSpec, constants: Constants): Record<string, string> {
  const plain = [...constants].filter(([, value]) => !value.includes("${"))
  const agents = manifest.roles.flatMap(({ name, agent }) =>
    agent === undefined ? [] : [[`agent.${name}`, agent] as const],
  )
  return Object.fromEntries([...plain, ...agents])
}

function pick({ digest, bytes }: Document): Document {
  return { digest, bytes }
}

type Fill = (text: string) => string
type Report = (path: string, message: string) => void

/** The profile as it is laid beside a role, unless the nodes have it already. */
function checkProfile(
  { profile }: ManifestSpec,
  { documents }: CompileContext,
  report: Report,
): StagedFile | undefined {
  if (!profile || profile.distribution === "preinstalled") return undefined
  if (!documents.profile) {
    report("profile.path", `the file '${profile.path}' was not handed in with the manifest`)
    return undefined
  }
  const actual = `sha256:${documents.profile.digest}`
  if (profile.checksum !== undefined && profile.checksum !== actual) {
    const message = `profile checksum mismatch: expected ${profile.checksum}, got ${actual}`
    report("profile.checksum", message)
  }
  return { path: fileName(profile.path), ...pick(documents.profile) }
}

/** Beside a role the profile keeps its own name: programs look at its ending. */
function fileName(path: string): string {
  const name = path.split(/[/\\]/).at(-1) ?? ""
  return /^\.{0,2}$/.test(name) ? "profile.yaml" : name
}

/** Digest of the packed bundle to compare with, when one is wanted. */
function checkBaseline(
  { diffBaseline }: ManifestSpec,
  { diff, documents }: CompileContext,
  report: Report,
): string | undefined {
  if (diffBaseline === undefined || !diff) return undefined
  if (!documents.baseline) {
    const message = `the bundle '${diffBaseline}' was not handed in with the manifest`
    report("post_run.diff_baseline", message)
  }
  return documents.baseline?.digest
}

function lateAddresses(manifest: ManifestSpec): { path: string; value: string }[] {
  return networkTexts(manifest).filter(({ value }) => value.includes("${"))
}

interface RoleInput {
  readonly manifest: ManifestSpec
  readonly role: RoleSpec
  readonly context: CompileContext
  readonly constants: Constants
  readonly profilePath: string | undefined
}

function roleTask(input: RoleInput, report: Report): RoleTask {
  const { manifest, role, context, constants, profilePath } = input
  const choice = chooseNode(role, context)
  if ("message" in choice) report(choice.path, choice.message)
  const node = "node" in choice ? choice.node : undefined
  const fill: Fill = (text) => withConstants(text, constants)
  const argv = argvOf(manifest, role, profilePath).map(fill)
  const env = Object.fromEntries([...role.env].map(([key, value]) => [key, fill(value)]))
  const readiness = role.readiness && readinessOf(role.readiness, { role, manifest, fill })
  const texts = [...argv, ...Object.values(env), readiness?.host ?? "", readiness?.port ?? ""]
  return {
    role,
    argv,
    env,
    needs: { ...needsOf(role), ...(node !== undefined && { node }) },
    readiness: readiness?.value,
    // A role that asks for its own address needs nobody else to be placed.
    names: [...new Set(texts.flatMap(rolesNamedIn))].filter((name) => name !== role.name),
    globs: [
      ...new Set([
        ...role.artifacts,
        ...manifest.include,
        ...(role.command ? [] : ["*.pcap", "*.pcapng"]),
      ]),
    ],
  }
}

/** A role with limits goes where they are kept. */
function needsOf({ needs, limits }: RoleSpec): Needs {
  if (limits === undefined) return needs
  return { ...needs, labels: { ...needs.labels, ...labelsForLimits(limits) } }
}

/** tcp_connect asks where the server listens; the original's fixed port was a bug its users knew. */
function readinessOf(
  spec: ReadinessSpec,
  { role, manifest, fill }: { role: RoleSpec; manifest: ManifestSpec; fill: Fill },
): { value: Readiness; host?: string; port?: string } {
  const { network } = manifest
  const timeoutMs = spec.timeoutSeconds * 1000
  switch (spec.method) {
    case "stdout_match":
      return { value: { method: spec.method, pattern: spec.pattern ?? "", timeoutMs } }
    case "delay": {
      const delayMs = (spec.seconds ?? 0) * 1000
      // The limit bounds a wait for something; a delay is waited for by the clock.
      return {
        value: { method: spec.method, delayMs, timeoutMs: Math.max(timeoutMs, delayMs + 1000) },
      }
    }
    case "tcp_connect": {
      const host = fill(spec.host ?? dialable(network.serverListenIp))
      const port = fill(spec.port ?? String(role.port ?? network.targetPort))
      return { value: { method: spec.method, host, port, timeoutMs }, host, port }
    }
    case "structured_stdout":
    default:
      return { value: { method: spec.method, timeoutMs } }
  }
}

/** Any-address is where one listens, never where one dials. */
function dialable(listenIp: string | undefined): string {
  if (listenIp === undefined || listenIp === "0.0.0.0") return "127.0.0.1"
  return /^[0:]+$/.test(listenIp) ? "::1" : listenIp
}

function durationWarnings(manifest: ManifestSpec, timeoutMs: number): Issue[] {
  return manifest.roles.flatMap((role) => {
    const seconds = role.command ? 0 : (role.durationSeconds ?? 0)
    if (seconds * 1000 < timeoutMs) return []
    const path = `roles.${role.name}.duration_seconds`
    const message = `${seconds} s do not fit into the run's timeout of ${timeoutMs / 1000} s; give a longer --timeout`
    return [{ path, message, file: manifest.file, ...manifest.places.get(path) }]
  })
}

/** UTC `2006-01-02_15-04-05`, the original's name of a run without one. */
function timeLabel(now: number): string {
  return new Date(now).toISOString().slice(0, 19).replace("T", "_").replaceAll(":", "-")
}

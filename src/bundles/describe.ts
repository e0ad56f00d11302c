/** The files that say what a run was: run_meta.json, versions.json, roles/R/role_meta.json, in the original's fields. */
import { goArch, goOs } from "../lib/index.ts"
import type { Ending, Plan, RunView } from "../schema/index.ts"
import { formatGoJson, formatGoTime } from "./go-json.ts"

/** Everything that the metadata files say. */
export interface BundleInput {
  readonly run: RunView
  readonly plan: Plan
  readonly roles: readonly RoleLaunch[]
  /** What a partial bundle lacks. */
  readonly missing: readonly { path: string; reason: string }[]
  readonly controller: { host: string; os: string; arch: string; version: string }
  /** Text of manifest_resolved.yaml. */
  readonly resolved: string
}

export interface RoleLaunch {
  readonly role: string
  /** As written in the manifest. */
  readonly agentId: string
  readonly host: string
  readonly os: string
  readonly arch: string
  readonly argv: readonly string[]
  readonly bindIp?: string
  readonly targetIp?: string
  readonly attempt: number
  readonly ending: Ending | undefined
}

/** The original's words for a verdict; `cancelled` and `lost` are failures to it, and are told apart beside. */
const statuses: Readonly<Record<NonNullable<RunView["verdict"]>, string>> = {
  succeeded: "success",
  failed: "failed",
  timed_out: "timeout",
  cancelled: "failed",
  lost: "failed",
}
/** run_meta.json is written before these. */
const laterPhases = new Set(["bundle", "analyze", "diff", "done"])

export function describeBundle(
  input: BundleInput,
): readonly { readonly path: string; readonly content: Uint8Array }[] {
  return [
    { path: "manifest_resolved.yaml", content: Buffer.from(input.resolved) },
    json("run_meta.json", runMeta(input)),
    json("versions.json", versions(input)),
    ...input.roles.map((role) => json(`roles/${role.role}/role_meta.json`, roleMeta(role, input))),
  ]
}

function json(path: string, value: unknown): { path: string; content: Uint8Array } {
  return { path, content: Buffer.from(formatGoJson(value)) }
}

/** Keys in order; absent ones are left out as Go's omitempty does. */
function present(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function runMeta({ run, missing, controller }: BundleInput): Record<string, unknown> {
  const ends = run.tasks.flatMap((task) => task.attempts.flatMap(({ endedAt }) => endedAt ?? []))
  // From the tables alone, so that a second try of this task writes the same bytes.
  const finishedAt = Math.max(run.createdAt, ...ends)
  const verdict = run.verdict ?? "failed"
  const error = errorOf(run, missing)
  return present({
    run_id: run.label,
    started_at: formatGoTime(run.createdAt),
    finished_at: formatGoTime(finishedAt),
    duration_seconds: (finishedAt - run.createdAt) / 1000,
    status: statuses[verdict],
    controller_host: controller.host,
    phases_completed: run.phases
      .filter(({ name, state }) => state === "completed" && !laterPhases.has(name))
      .map(({ name }) => name),
    error: error === "" ? undefined : error,
    // Beyond the original's fields, only where its own cannot say it.
    verdict: verdict === "cancelled" || verdict === "lost" ? verdict : undefined,
    missing: missing.length === 0 ? undefined : missing,
  })
}

function errorOf(run: RunView, missing: BundleInput["missing"]): string {
  const parts: string[] = []
  if (run.verdict !== "succeeded") parts.push(run.reason ?? "the run has no verdict yet")
  if (missing.length > 0) {
    const listed = missing.map(({ path, reason }) => `${path} (${reason})`).join(", ")
    parts.push(`missing from this bundle: ${listed}`)
  }
  return parts.join("; ")
}

function versions({ controller, roles }: BundleInput): Record<string, unknown> {
  const described = roles.map(({ role, host, os, arch }) => {
    const transport = host === controller.host ? "local" : "troupe"
    const fields = { host, os: goOs(os) || undefined, arch: goArch(arch) || undefined, transport }
    return [role, present(fields)] as const
  })
  return {
    // The original's reader wants this key filled, and prints it.
    cipdip_version: `troupe ${controller.version}`,
    controller_os: goOs(controller.os),
    controller_arch: goArch(controller.arch),
    roles: Object.fromEntries(described.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}

function roleMeta(launch: RoleLaunch, { run }: BundleInput): Record<string, unknown> {
  const { role, ending } = launch
  const folder = `roles/${role}/`
  const pcaps = run.tasks
    .flatMap((task) => task.outputs)
    .filter(({ path }) => path.startsWith(folder) && /\.pcap(?:ng)?$/.test(path))
    .map(({ path }) => path.slice(folder.length))
    .toSorted()
  const exited = ending?.outcome === "exited"
  return present({
    role,
    agent_id: launch.agentId,
    argv: launch.argv,
    bind_ip: launch.bindIp,
    target_ip: launch.targetIp,
    started_at: formatGoTime(ending?.startedAt),
    finished_at: formatGoTime(ending?.endedAt),
    // As Go: -1 for whatever did not exit by itself.
    exit_code: exited ? (ending.exitCode ?? -1) : -1,
    pcap_files: pcaps.length === 0 ? undefined : pcaps,
    // Beyond the original's fields, only where an exit code cannot say it.
    outcome: exited ? undefined : (ending?.outcome ?? "not_started"),
    signal: ending?.signal,
    reason: ending?.reason ?? (ending ? undefined : "it was never started"),
  })
}

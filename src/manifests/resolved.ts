/** manifest_resolved.yaml: the manifest with its defaults, and how it was resolved, in the original's keys and order. */
import { stringify } from "yaml"
import type { Plan } from "../schema/index.ts"
import { argvOf } from "./argv.ts"
import type { CompileContext } from "./compile.ts"
import { limitFields } from "./limits.ts"
import type { ManifestSpec, ReadinessSpec, RoleSpec } from "./spec.ts"
import { goArch, goOs } from "../lib/index.ts"

type Fields = Record<string, unknown>

/** Without what is undefined, so that absent keys stay absent. */
function present(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** RFC3339 in UTC, whole seconds. */
function secondsTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

/** What `plan.resolved` carries. The profile's content is not in it: a plan is replicated, and the blob has it. */
export function resolvedOf(
  manifest: ManifestSpec,
  context: CompileContext & {
    readonly label: string
    readonly profileFile: { readonly digest: string } | undefined
    readonly profilePath: string | undefined
  },
): Plan["resolved"] {
  const { profile } = manifest
  const checksum = context.profileFile ? `sha256:${context.profileFile.digest}` : profile?.checksum
  return present({
    manifest: manifestFields(manifest, context.label),
    resolved_at: secondsTime(context.now),
    profile_path: profile && (context.documents.profile?.absolute ?? profile.path),
    profile_checksum: checksum,
    profile_inline: profile?.distribution === "inline",
    args: Object.fromEntries(
      manifest.roles.map((role) => [role.name, argvOf(manifest, role, context.profilePath)]),
    ),
    tool_version: context.toolVersion,
    controller_os: goOs(context.controller.os),
    controller_arch: goArch(context.controller.arch),
  })
}

/** Text of manifest_resolved.yaml. `launch` brings what is known only later: the run's final label, the argv of roles
 *  as they were started (program first), the profile's text, the acceptance (ms). Without it, what was planned is written. */
export function resolvedYaml(
  plan: Plan,
  launch: {
    readonly label?: string | undefined
    readonly argv?: Readonly<Record<string, readonly string[]>> | undefined
    readonly profileContent?: string | undefined
    readonly controller?: { readonly os: string; readonly arch: string } | undefined
    readonly resolvedAt?: number | undefined
  } = {},
): string {
  const { manifest, args, profile_inline: inline, ...rest } = plan.resolved
  const planned = args as Readonly<Record<string, readonly string[]>>
  const written = manifest as Fields
  const content = inline === true ? launch.profileContent : undefined
  const names = Object.keys(planned)
  const first = ["server", "client"].filter((name) => names.includes(name))
  const roles = [...first, ...names.filter((name) => !first.includes(name))]
  const argsOf = (name: string): readonly string[] =>
    (launch.argv?.[name] ?? planned[name] ?? []).slice(1)
  const document = present({
    manifest: { ...written, run_id: launch.label ?? written["run_id"] },
    resolved_at:
      launch.resolvedAt === undefined ? rest["resolved_at"] : secondsTime(launch.resolvedAt),
    profile_path: rest["profile_path"],
    profile_checksum: rest["profile_checksum"],
    profile_content: content,
    ...Object.fromEntries(roles.map((name) => [`${name}_args`, argsOf(name)])),
    tool_version: rest["tool_version"],
    controller_os: launch.controller ? goOs(launch.controller.os) : rest["controller_os"],
    controller_arch: launch.controller ? goArch(launch.controller.arch) : rest["controller_arch"],
  })
  return stringify(document, {
    indent: 4,
    lineWidth: 0,
    aliasDuplicateObjects: false,
    // yaml.v3, which wrote the original's, reads YAML 1.1 booleans and dates too: quote what it would take for one.
    compat: "yaml-1.1",
    version: "1.2",
  })
}

function manifestFields(manifest: ManifestSpec, label: string): Fields {
  const { network, profile, readiness } = manifest
  const dataPlane = present({
    client_bind_ip: network.clientBindIp,
    server_listen_ip: network.serverListenIp,
    target_ip: network.targetIp,
    target_port: network.targetPort,
  })
  return present({
    api_version: "v1",
    run_id: label,
    seed: manifest.seed,
    profile: profile && present({ ...profile }),
    network: present({ control_plane: network.controlPlane, data_plane: dataPlane }),
    roles: Object.fromEntries(manifest.roles.map((role) => [role.name, roleFields(role)])),
    readiness: readinessFields(readiness),
    artifacts: present({
      bundle_format: manifest.bundleFormat,
      include: nonEmpty(manifest.include),
    }),
    post_run: present({
      analyze: manifest.analyze,
      diff_baseline: manifest.diffBaseline,
    }),
  })
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list
}

function roleFields(role: RoleSpec): Fields {
  const { args, env, needs } = role
  return present({
    agent: role.agent,
    mode: role.mode,
    personality: role.personality,
    scenario: role.scenario,
    profile_role: role.profileRole,
    duration_seconds: role.durationSeconds,
    interval_ms: role.intervalMs || undefined,
    command: role.command,
    args: args && ("list" in args ? args.list : Object.fromEntries(args.map)),
    env: env.size === 0 ? undefined : Object.fromEntries(env),
    artifacts: nonEmpty(role.artifacts),
    needs: Object.keys(needs).length === 0 ? undefined : needsFields(role),
    limits: role.limits && present({ ...limitFields(role.limits) }),
    life: role.command ? role.life : undefined,
    readiness: role.command && role.readiness ? readinessFields(role.readiness) : undefined,
    port: role.port,
  })
}

function needsFields({ needs }: RoleSpec): Fields {
  const { memoryBytes, ...rest } = needs
  return present({ ...rest, memory: memoryBytes === undefined ? undefined : String(memoryBytes) })
}

function readinessFields(readiness: ReadinessSpec): Fields {
  const { method, timeoutSeconds, ...rest } = readiness
  return present({ method, timeout_seconds: timeoutSeconds, ...rest })
}

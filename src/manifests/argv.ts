/** Command lines of roles: their own, or the original's, word for word. */
import { type ArgsSpec, type ManifestSpec, type RoleSpec, seedProgram } from "./spec.ts"

/** Program and arguments, with variables still in them. `profilePath` is where the role finds the profile. */
export function argvOf(
  manifest: ManifestSpec,
  role: RoleSpec,
  profilePath: string | undefined,
): readonly string[] {
  const own = role.command
  if (own) return [...own, ...flagsOf(role.args)]
  const base =
    role.name === "server"
      ? serverArgs(manifest, role)
      : clientArgs(manifest, role, profilePath ?? manifest.profile?.path ?? "")
  return [seedProgram, ...base, ...flagsOf(role.args)]
}

function serverArgs({ network }: ManifestSpec, role: RoleSpec): readonly string[] {
  return [
    "server",
    "--listen-ip",
    network.serverListenIp ?? "",
    "--listen-port",
    String(role.port ?? network.targetPort),
    ...(role.personality === undefined ? [] : ["--personality", role.personality]),
    "--tui-stats",
  ]
}

function clientArgs({ network }: ManifestSpec, role: RoleSpec, profilePath: string): string[] {
  const work =
    role.scenario === "profile"
      ? ["--profile", profilePath, ...(role.profileRole ? ["--role", role.profileRole] : [])]
      : ["--scenario", role.scenario ?? ""]
  return [
    "client",
    "--ip",
    network.targetIp ?? "",
    "--port",
    String(role.port ?? network.targetPort),
    ...work,
    "--duration-seconds",
    String(role.durationSeconds ?? 0),
    ...(role.intervalMs ? ["--interval-ms", String(role.intervalMs)] : []),
    "--tui-stats",
  ]
}

/** true → `--key`, false → nothing, else `--key value`; in the order of the document. */
function flagsOf(args: ArgsSpec | undefined): readonly string[] {
  if (!args) return []
  if ("list" in args) return args.list
  return [...args.map].flatMap(([key, value]) => {
    if (value === false) return []
    return value === true ? [`--${key}`] : [`--${key}`, String(value)]
  })
}

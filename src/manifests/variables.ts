/** The `${…}` of a manifest: which there are, which are known before placement, and who must be placed for the rest. */
import { nearest, variablesIn } from "../lib/index.ts"
import type { ManifestSpec } from "./spec.ts"

const roleVariablePattern = /^roles\.(.+)\.(address|node)$/
/** An escape `$${`, or a variable. */
const variablePattern = /\$\$\{|\$\{([^{}]*)\}/g

/** Name → text. The text may hold `${run.…}` and `${roles.…}`, which only the node that starts the task can fill. */
export type Constants = ReadonlyMap<string, string>

export function constantsOf(
  manifest: ManifestSpec,
  options: { readonly profilePath: string | undefined },
): Constants {
  const { network, roles } = manifest
  const constants = new Map([["network.target_port", String(network.targetPort)]])
  const add = (name: string, value: string | undefined): void => {
    if (value !== undefined) constants.set(name, value)
  }
  add("network.target_ip", network.targetIp)
  add("network.server_listen_ip", network.serverListenIp)
  add("profile.path", options.profilePath)
  for (const role of roles) add(`roles.${role.name}.port`, String(role.port ?? network.targetPort))
  return constants
}

/** Every name that a text of this manifest may use. */
function variableNames(manifest: ManifestSpec, constants: Constants): readonly string[] {
  const perRole = manifest.roles.flatMap(({ name }) => [
    `roles.${name}.address`,
    `roles.${name}.node`,
  ])
  return ["run.id", "run.label", ...perRole, ...constants.keys()]
}

/** Constants put in; what is left is filled when the task is assigned. */
export function withConstants(text: string, constants: Constants): string {
  return text.replace(variablePattern, (whole, name: string | undefined) => {
    return (name === undefined ? undefined : constants.get(name)) ?? whole
  })
}

/** What is wrong with the variables of a text, if anything. */
function variableProblem(text: string, names: readonly string[]): string | undefined {
  const used = variablesIn(text)
  const unknown = used.names.find((name) => !names.includes(name))
  if (unknown !== undefined) {
    const guess = nearest(unknown, names)
    const advice =
      guess === undefined ? `there are: ${names.join(", ")}` : `did you mean '\${${guess}}'?`
    return `unknown variable '\${${unknown}}'; ${advice}`
  }
  if (used.malformed === undefined) return undefined
  return `'${used.malformed}' is no variable; write \${name}, or $\${ for a plain \${`
}

/** Roles whose place the text needs to know. */
export function rolesNamedIn(text: string): readonly string[] {
  return variablesIn(text).names.flatMap((name) => {
    const role = roleVariablePattern.exec(name)?.[1]
    return role === undefined ? [] : [role]
  })
}

/** Every text that may hold variables, with its path. */
function* templates(manifest: ManifestSpec): Generator<readonly [path: string, text: string]> {
  for (const role of manifest.roles) {
    const path = `roles.${role.name}`
    for (const [index, word] of (role.command ?? []).entries()) {
      yield [role.command?.length === 1 ? `${path}.command` : `${path}.command[${index}]`, word]
    }
    if (role.args && "list" in role.args) {
      for (const [index, word] of role.args.list.entries()) yield [`${path}.args[${index}]`, word]
    } else if (role.args) {
      for (const [key, value] of role.args.map) {
        yield [`${path}.args.${key}`, key]
        if (typeof value === "string") yield [`${path}.args.${key}`, value]
      }
    }
    for (const [key, value] of role.env) yield [`${path}.env.${key}`, value]
    const { host, port } = role.readiness ?? {}
    if (host !== undefined) yield [`${path}.readiness.host`, host]
    if (port !== undefined) yield [`${path}.readiness.port`, port]
  }
}

/** Every mistake in the variables of a manifest: only its own words are needed, no cluster. */
export function variableIssues(manifest: ManifestSpec): { path: string; message: string }[] {
  const constants = constantsOf(manifest, { profilePath: manifest.profile?.path })
  const issues: { path: string; message: string }[] = []
  const report = (path: string, message: string): void => void issues.push({ path, message })
  const names = variableNames(manifest, constants)
  for (const [path, text] of templates(manifest)) {
    const problem = variableProblem(text, names)
    if (problem !== undefined) report(path, problem)
  }
  // Addresses are constants themselves, so they may name only what placement brings.
  const placed = names.filter((name) => !constants.has(name))
  for (const { path, value } of networkTexts(manifest)) {
    const problem = variableProblem(value, placed)
    if (problem !== undefined) report(path, problem)
  }
  return issues
}

/** Addresses of the data plane, where they are given. */
export function networkTexts({ network }: ManifestSpec): { path: string; value: string }[] {
  const texts = [
    { path: "network.data_plane.server_listen_ip", value: network.serverListenIp },
    { path: "network.data_plane.target_ip", value: network.targetIp },
  ]
  return texts.flatMap(({ path, value }) => (value === undefined ? [] : [{ path, value }]))
}

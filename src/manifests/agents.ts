/** Where a role is to run: `agent:`, `--agent` and `needs.node`, joined into one node or none. */
import { nearest } from "../lib/index.ts"
import type { ManifestSpec, RoleSpec } from "./spec.ts"

export interface AgentContext {
  /** `--agent KEY=SPEC`; KEY is a role, or what a role has as `agent`. */
  readonly agents: Readonly<Record<string, string>>
  /** What `local` means: the node that accepted the run. */
  readonly entryNode: string
  /** Names that exist; undefined when the caller cannot know. */
  readonly nodeNames: readonly string[] | undefined
}

export type AgentChoice =
  | { readonly node: string | undefined }
  /** `path` says which field or flag is wrong. */
  | { readonly path: string; readonly message: string }

/** `agents` entries that nothing in the manifest uses: a misspelt flag would otherwise pass in silence. */
export function unusedAgents(
  manifest: ManifestSpec,
  context: AgentContext,
): { readonly path: string; readonly message: string }[] {
  const known = new Set(
    manifest.roles.flatMap((role) => [
      role.name,
      ...(role.agent === undefined ? [] : [role.agent]),
    ]),
  )
  return Object.keys(context.agents)
    .filter((key) => !known.has(key))
    .map((key) => {
      const guess = nearest(key, known)
      const advice =
        guess === undefined ? `there are: ${[...known].join(", ")}` : `did you mean '${guess}'?`
      const message = `no role and no agent of the manifest is called '${key}'; ${advice}`
      return { path: `--agent ${key}`, message }
    })
}

/** The node of a role, or why there is none. */
export function chooseNode(role: RoleSpec, context: AgentContext): AgentChoice {
  const own = Object.hasOwn(context.agents, role.name) ? role.name : role.agent
  const mapped = own !== undefined && Object.hasOwn(context.agents, own) ? own : undefined
  const path = mapped === undefined ? `roles.${role.name}.agent` : `--agent ${mapped}`
  const spec = mapped === undefined ? role.agent : context.agents[mapped]
  const agent = resolveSpec(spec, { path, context })
  if ("message" in agent || role.needs.node === undefined) return agent
  const needsPath = `roles.${role.name}.needs.node`
  const needed = resolveSpec(role.needs.node, { path: needsPath, context })
  if ("message" in needed || agent.node === undefined || agent.node === needed.node) return needed
  const message = `'${needed.node}' is not '${agent.node}', where \`agent\` puts this role; keep one`
  return { path: needsPath, message }
}

function resolveSpec(
  spec: string | undefined,
  { path, context }: { readonly path: string; readonly context: AgentContext },
): AgentChoice {
  if (spec === undefined) return { node: undefined }
  if (spec === "" || spec === "local" || spec.startsWith("local://")) {
    return { node: context.entryNode }
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(spec)?.[1]
  if (scheme !== undefined && scheme !== "ssh") {
    return { path, message: `unsupported transport scheme: ${scheme}` }
  }
  if (scheme === "ssh" || spec.includes("@")) {
    const message =
      "ssh agents come with a later version; run `troupe node start` on that host and write its node's name"
    return { path, message }
  }
  const { nodeNames } = context
  // A number may be a member's id.
  if (!nodeNames || nodeNames.includes(spec) || /^\d+$/.test(spec)) return { node: spec }
  const guess = nearest(spec, nodeNames)
  const advice =
    guess === undefined
      ? `nodes: ${[...nodeNames].toSorted().join(", ")}`
      : `did you mean '${guess}'?`
  const message = `agent '${spec}' not found in agent mappings, and no node is called so; ${advice}`
  return { path, message }
}

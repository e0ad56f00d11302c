/** What `--print-plan` shows: where each task of a plan would go, and why not elsewhere. */
import { resolvedYaml } from "../manifests/index.ts"
import type { Plan, PlanView } from "../schema/index.ts"
import { profileText } from "./builtins.ts"
import { groupOf } from "./launch.ts"
import type { OperationParts } from "./operations.ts"

/** Members of one group that are shown: all ask the same. */
const membersShownMax = 100

/** By the same code that places. */
export async function planView(
  parts: OperationParts,
  { plan, warnings }: { readonly plan: Plan; readonly warnings: readonly string[] },
  signal: AbortSignal,
): Promise<PlanView> {
  const { leadership, context } = parts
  const from = {
    parts: context.parts,
    signal,
    fetch: (digest: string, limit: AbortSignal) => context.fetch(digest, limit),
  }
  const shown = { ...plan, groups: plan.groups.map(fewMembers) }
  const places = leadership.scheduler.place(shown, leadership.placing())
  const hidden = plan.groups.filter(({ count }) => count > membersShownMax)
  const profile = plan.resolved["profile_path"]
  const checksum = plan.resolved["profile_checksum"]
  return {
    label: plan.label,
    ...(typeof profile === "string" && { profile }),
    ...(typeof checksum === "string" && { profileChecksum: checksum }),
    timeoutMs: plan.timeoutMs,
    placements: places.map(({ task, group, node, waiting, rejected }) => ({
      task,
      ...(node && { node: node.name }),
      command: commandLine(plan, group),
      after: (groupOf(plan, group)?.after ?? []).map((edge) => `${edge.group} ${edge.on}`),
      ...(waiting !== undefined && { waiting }),
      rejected: rejected.map((one) => ({ node: one.node, reason: one.reason })),
    })),
    warnings: [
      ...warnings,
      ...hidden.map(
        ({ name, count }) => `the first ${membersShownMax} of ${count} ${name}s are shown`,
      ),
    ],
    resolved:
      plan.kind === "manifest"
        ? resolvedYaml(plan, { profileContent: await profileText(plan, from) })
        : "",
  }
}

function fewMembers(group: Plan["groups"][number]): Plan["groups"][number] {
  return { ...group, count: Math.min(group.count, membersShownMax) }
}

function commandLine(plan: Plan, group: string): string[] {
  const work = groupOf(plan, group)?.work
  return work?.driver === "process" ? [...work.argv] : [`(${work?.verb ?? "unknown"})`]
}

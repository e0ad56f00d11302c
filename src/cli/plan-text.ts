/** `--print-plan`: the execution plan in the original's form, and which task would go where. */
import type { ManifestSpec, RoleSpec } from "../manifests/index.ts"
import type { PlacementView, PlanView } from "../schema/index.ts"
import { isRole } from "./progress.ts"
import { renderTable } from "./table.ts"
import type { Paint } from "./terminal.ts"

/** Without a trailing newline. Roles other than the original's two have the same form. */
export function planText(
  plan: PlanView,
  spec: ManifestSpec,
  options: { width: number | undefined; paint: Paint },
): string {
  const { network } = spec
  const sections = [
    ["Execution Plan\n=============="],
    section(undefined, [
      ["Run ID", plan.label],
      ["Profile", plan.profile],
      ["Profile Checksum", plan.profileChecksum],
    ]),
    section("Network", [
      ["Target IP", network.targetIp],
      ["Target Port", network.targetPort],
      ["Server Listen IP", network.serverListenIp],
    ]),
    ...spec.roles.map((role) => roleSection(role, plan)),
    readinessSection(spec.roles),
    section("Post-Run", [
      ["Analyze", plan.placements.some(({ task }) => task === "analyze")],
      ["Diff Baseline", spec.diffBaseline],
    ]),
    placementSection(plan.placements, options),
  ]
  return sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join("\n"))
    .join("\n\n")
}

function roleSection(role: RoleSpec, plan: PlanView): string[] {
  const placement = plan.placements.find(({ task }) => task === role.name)
  const title = `${role.name.charAt(0).toUpperCase()}${role.name.slice(1)} Role`
  return section(title, [
    ["Agent", role.agent ?? "any"],
    ["Personality", role.personality],
    ["Scenario", role.scenario],
    ["Duration", role.durationSeconds === undefined ? undefined : `${role.durationSeconds}s`],
    ["Interval", role.intervalMs === undefined ? undefined : `${role.intervalMs}ms`],
    ["Command", placement?.command.map(quoted).join(" ")],
  ])
}

/** In the original's form when all roles that have one share it. */
function readinessSection(roles: readonly RoleSpec[]): string[] {
  const given = roles.flatMap(({ name, readiness }) => (readiness ? [{ name, ...readiness }] : []))
  const [first] = given
  if (first === undefined) return []
  const isShared = given.every(
    ({ method, timeoutSeconds }) =>
      method === first.method && timeoutSeconds === first.timeoutSeconds,
  )
  const fields: readonly Field[] = isShared
    ? [
        ["Method", first.method],
        ["Timeout", `${first.timeoutSeconds}s`],
      ]
    : given.map(({ name, method, timeoutSeconds }) => [name, `${method} within ${timeoutSeconds}s`])
  return section("Readiness", fields)
}

type Field = readonly [string, string | number | boolean | undefined]

function section(title: string | undefined, fields: readonly Field[]): string[] {
  const given = fields.filter(([, value]) => value !== undefined && value !== "")
  if (given.length === 0) return []
  const indent = title === undefined ? "" : "  "
  const lines = given.map(([name, value]) => `${indent}${name}: ${value}`)
  return title === undefined ? lines : [`${title}:`, ...lines]
}

/** `--print-plan` of a job: its command, and where its members would go. */
export function jobPlanText(
  plan: PlanView,
  options: { width: number | undefined; paint: Paint },
): string {
  const command = plan.placements[0]?.command ?? []
  const fields = section(undefined, [
    ["Run ID", plan.label],
    ["Command", command.map(quoted).join(" ")],
  ])
  return [...fields, "", ...placementSection(plan.placements, options)].join("\n")
}

function placementSection(
  placements: readonly PlacementView[],
  options: { width: number | undefined; paint: Paint },
): string[] {
  if (placements.length === 0) return []
  const rows = [...placements].toSorted((a, b) => rank(a) - rank(b))
  const table = renderTable(
    rows,
    [
      { title: "TASK", value: ({ task }) => task },
      {
        title: "NODE",
        value: ({ node }) => node ?? "none fits",
        style: (text, { node }) => (node === undefined ? options.paint("red", text) : text),
      },
      { title: "AFTER", value: ({ after }) => after.join(", ") },
      {
        title: "NOT ON",
        value: ({ rejected }) =>
          rejected.map(({ node, reason }) => `${node}: ${reason}`).join("; "),
      },
    ],
    { width: options.width, bold: (text) => options.paint("bold", text) },
  )
  return ["Placement:", ...table.map((line) => `  ${line}`)]
}

function rank({ task }: PlacementView): number {
  return isRole({ group: task.replace(/\[[0-9]+\]$/, "") }) ? 0 : 1
}

/** As a shell would need it, so that the line can be tried by hand. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./${}-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** One command → plan: what `troupe job run` and POST /v1/jobs hand in. */
import { stringify } from "yaml"
import { nearest } from "../lib/index.ts"
import {
  type Issue,
  labelsForLimits,
  type Needs,
  type Plan,
  type SubmitJob,
  type TaskGroup,
} from "../schema/index.ts"
import { collectGroup, tailGroups } from "./groups.ts"
import { issuesOfJob } from "./job-check.ts"

export interface JobContext {
  /** What `local` means: the node that accepted the job. */
  readonly entryNode: string
  /** ms since the epoch. */
  readonly now: number
  readonly toolVersion: string
  /** Lower-case hex. */
  readonly sha256: (text: string) => string
}

const secondMs = 1000
const timeoutMsDefault = 7 * 24 * 3600 * secondMs
const backoffMsDefault = secondMs
const graceMs = 10 * secondMs
const groupName = "job"

/** The plan, or every mistake in the request: `path` is the field in the body, each message names the flag too. */
export function compileJob(
  job: SubmitJob,
  context: JobContext,
): { readonly plan: Plan | undefined; readonly issues: readonly Issue[] } {
  const issues = issuesOfJob(job)
  if (issues.length > 0) return { plan: undefined, issues }
  const group = jobGroup(job, context)
  const isBundled = job.artifacts.length > 0
  const plan: Plan = {
    version: 1,
    kind: "job",
    label: job.name ?? labelOf(job.command[0]!),
    groups: isBundled ? [group, ...bundling(group)] : [group],
    phases: isBundled
      ? ["init", groupName, "collect", "bundle", "done"]
      : ["init", groupName, "done"],
    timeoutMs: job.timeoutMs ?? timeoutMsDefault,
    documents: isBundled ? [documentOf(job, context)] : [],
    variables: {},
    addresses: [],
    resolved: isBundled ? resolvedJob(job, context) : {},
    bundleFormat: "dir",
    ...(job.priority !== undefined && job.priority !== 0 && { priority: job.priority }),
  }
  return { plan, issues: [] }
}

function jobGroup(job: SubmitJob, context: JobContext): TaskGroup {
  const { deadlineMs, parallel, exclusive, placing, limits, cwd } = job
  return {
    name: groupName,
    count: job.count,
    work: {
      driver: "process",
      argv: job.command.map(literal),
      env: Object.fromEntries(Object.entries(job.env).map(([key, text]) => [key, literal(text)])),
      directory: job.artifacts.length > 0,
      files: [],
      ...(cwd !== undefined && { cwd: literal(cwd) }),
      ...(limits !== undefined && Object.keys(limits).length > 0 && { limits }),
    },
    needs: needsOf(job, context),
    nearOutputs: false,
    after: [],
    life: "batch",
    retries: job.retries,
    backoffMs: job.backoffMs ?? backoffMsDefault,
    ...(deadlineMs !== undefined && { deadlineMs }),
    graceMs,
    onLoss: job.onLoss ?? "wait",
    artifacts: [...job.artifacts],
    phase: groupName,
    vital: true,
    role: true,
    // A limit that no member can reach is none.
    ...(parallel !== undefined && parallel < job.count && { parallel }),
    ...(job.failFast && { failFast: true }),
    ...(exclusive !== undefined && { exclusive }),
    ...(placing === "pack" && { placing }),
  }
}

/** The command is the user's, as a shell has handed it over: `${…}` in it is text. */
function literal(text: string): string {
  return text.replaceAll("${", () => "$${")
}

function needsOf({ needs, limits }: SubmitJob, { entryNode }: JobContext): Needs {
  const labels = { ...needs.labels, ...labelsForLimits(limits) }
  return {
    ...needs,
    ...(needs.node === "local" && { node: entryNode }),
    ...(Object.keys(labels).length > 0 && { labels }),
  }
}

/** A label from the program's name: what a label cannot hold is left out. */
function labelOf(program: string): string {
  const name = program.split("/").findLast((part) => part !== "") ?? ""
  const label = name
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[.-]+/, "")
    .slice(0, 64)
  // `r-12` would hide the run of that id.
  return label === "" || /^r-\d/.test(label) ? `job-${label}`.replace(/-$/, "") : label
}

/** The request as it was handed in: what a bundle has in the place of a manifest. */
function documentOf(job: SubmitJob, { sha256 }: JobContext): Plan["documents"][number] {
  const text = stringify({ job: given(job) })
  const bytes = Array.from(text, (letter) => utf8Bytes(letter.codePointAt(0)!))
  return {
    path: "manifest.yaml",
    digest: sha256(text),
    bytes: bytes.reduce((sum, each) => sum + each, 0),
    text,
  }
}

/** Without what was not asked for. */
function given(job: SubmitJob): Partial<SubmitJob> {
  const pairs = Object.entries(job).filter(
    ([, value]) => typeof value !== "object" || Object.keys(value).length > 0,
  )
  return Object.fromEntries(pairs)
}

function utf8Bytes(point: number): number {
  if (point < 0x80) return 1
  if (point < 0x800) return 2
  return point < 0x10000 ? 3 : 4
}

/** In the form of a manifest's. */
function resolvedJob(job: SubmitJob, { now, toolVersion }: JobContext): Plan["resolved"] {
  return {
    manifest: { job: given(job) },
    resolved_at: `${new Date(now).toISOString().slice(0, 19)}Z`,
    args: { [groupName]: job.command },
    tool_version: toolVersion,
  }
}

/** What brings artifacts home, and the output with them. */
function bundling(group: TaskGroup): TaskGroup[] {
  const collect = collectGroup(group.name, [group.name])
  return [collect, ...tailGroups([collect.name], { analyze: false, baseline: undefined })]
}

/** A node that is named and is not there: what to say of it. */
export function unknownNode(
  needs: Needs,
  names: readonly string[],
): { readonly node: string; readonly nearest: string | undefined } | undefined {
  const { node } = needs
  // A number may be a member's id.
  if (node === undefined || names.includes(node) || /^\d+$/.test(node)) return undefined
  return { node, nearest: nearest(node, names) }
}

/** The plan: what every document compiles to and the only thing that is executed. Replicated as it is. */
import * as z from "zod"

/** SHA-256 of some bytes, lower-case hex, no prefix. */
export const Digest = z.string().regex(/^[0-9a-f]{64}$/)
export type Digest = z.infer<typeof Digest>

/** When a task may start, seen from another group: all members of `group` must have reached `on`.
 *  `finished` = ended in any way, or skipped; `succeeded` = ended well. */
export const Edge = z.strictObject({
  group: z.string(),
  on: z.enum(["started", "ready", "succeeded", "finished"]),
})
export type Edge = z.infer<typeof Edge>

/** How a task says that it is ready. `structured_stdout` looks for `"event":"server_ready"` in a line of stdout. */
export const Readiness = z.discriminatedUnion("method", [
  z.strictObject({ method: z.literal("structured_stdout"), timeoutMs: z.int().positive() }),
  z.strictObject({
    method: z.literal("stdout_match"),
    pattern: z.string(),
    timeoutMs: z.int().positive(),
  }),
  /** host and port may hold `${…}`; they are strings until the task is assigned. */
  z.strictObject({
    method: z.literal("tcp_connect"),
    host: z.string(),
    port: z.string(),
    timeoutMs: z.int().positive(),
  }),
  z.strictObject({
    method: z.literal("delay"),
    delayMs: z.int().nonnegative(),
    timeoutMs: z.int().positive(),
  }),
])
export type Readiness = z.infer<typeof Readiness>

/** What a node must be or have. Checked in this order; the first that fails is what `explain` names. */
export const Needs = z.strictObject({
  /** Node name or member id, as written in `agent:`. */
  node: z.string().optional(),
  os: z.string().optional(),
  arch: z.string().optional(),
  cores: z.int().positive().optional(),
  memoryBytes: z.int().positive().optional(),
  /** A node says how many it has by the label `troupe.gpus`. Cores, memory and GPUs that a process asks for are its
   *  own while its attempt lives. */
  gpus: z.int().positive().optional(),
  /** Every pair must match. */
  labels: z.record(z.string(), z.string()).optional(),
  /** Programs that must be on the node's PATH. */
  tools: z.array(z.string()).optional(),
})
export type Needs = z.infer<typeof Needs>

/** What a process and everything that it starts may use at most. What is left out is not limited; a node that cannot
 *  enforce one refuses the attempt. */
export const Limits = z.strictObject({
  /** All of its memory together, swap included; beyond it the kernel kills. */
  memoryBytes: z
    .int()
    .min(1 << 20)
    .optional(),
  /** Processor time, in cores: 0.5 is half of one. */
  cpus: z.number().min(0.01).optional(),
  /** Processes and threads at once. */
  pids: z.int().positive().optional(),
  /** File descriptors of each process. */
  openFiles: z.int().min(16).optional(),
})
export type Limits = z.infer<typeof Limits>

const limitWords = {
  memoryBytes: "memory",
  cpus: "cpus",
  pids: "pids",
  openFiles: "open_files",
} as const satisfies Record<keyof Limits, string>

/** Labels of a node that can enforce these limits, given in the manifest's words. */
export function limitLabels(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => [`troupe.limits.${word}`, "enforced"]))
}

/** Which labels a node must have so that these limits are kept there. */
export function labelsForLimits(limits: Limits | undefined): Record<string, string> {
  const asked = new Map(Object.entries(limits ?? {}))
  return limitLabels(
    Object.entries(limitWords).flatMap(([key, word]) =>
      asked.get(key) === undefined ? [] : [word],
    ),
  )
}

/** A file laid into the task's working directory before it starts. */
export const StagedFile = z.strictObject({
  path: z.string(),
  digest: Digest,
  bytes: z.int().nonnegative(),
})
export type StagedFile = z.infer<typeof StagedFile>

/** A file of the bundle that is known when the run is accepted: a blob, or small enough to travel in the plan itself. */
const PlanDocument = StagedFile.extend({ text: z.string().optional() })

/** What a task does. Strings of a `process` may hold `${…}`, resolved when it is assigned, never by a shell. */
export const Work = z.discriminatedUnion("driver", [
  z.strictObject({
    driver: z.literal("process"),
    argv: z.array(z.string()).min(1),
    env: z.record(z.string(), z.string()),
    /** Absolute, or undefined for the attempt's own directory (if `directory`) or the node's work directory. */
    cwd: z.string().optional(),
    /** Gives every attempt a directory of its own; needed by `files` and `artifacts`. */
    directory: z.boolean(),
    files: z.array(StagedFile),
    readiness: Readiness.optional(),
    limits: Limits.optional(),
  }),
  z.discriminatedUnion("verb", [
    /** Brings the staged files to this node's blob store ahead of the role that needs them. */
    z.strictObject({
      driver: z.literal("builtin"),
      verb: z.literal("stage"),
      files: z.array(StagedFile),
    }),
    /** Turns the logs and artifacts of `group`'s members on this node into blobs and reports them as outputs. */
    z.strictObject({ driver: z.literal("builtin"), verb: z.literal("collect"), group: z.string() }),
    /** Brings every output of the run to this node and lays out the bundle's tree (not yet hashed). */
    z.strictObject({ driver: z.literal("builtin"), verb: z.literal("bundle") }),
    /** Reads the tree and adds `analysis/summary.json`. */
    z.strictObject({ driver: z.literal("builtin"), verb: z.literal("analyze") }),
    /** Compares with a baseline bundle (a packed bundle's digest) and adds `analysis/diff.json`. */
    z.strictObject({
      driver: z.literal("builtin"),
      verb: z.literal("diff"),
      baseline: Digest,
    }),
    /** Writes the hashes last, packs, and makes the second copy. */
    z.strictObject({ driver: z.literal("builtin"), verb: z.literal("seal") }),
  ]),
])
export type Work = z.infer<typeof Work>

export const TaskGroup = z.strictObject({
  /** `[a-z0-9][a-z0-9_.-]*`; a task is `<name>` when count is 1, else `<name>[i]`. */
  name: z.string(),
  count: z.int().positive(),
  work: Work,
  needs: Needs,
  /** Place on the node where member 0 of that group was last placed (that group must come before). */
  with: z.string().optional(),
  /** Soft: prefer a node that holds the outputs of this run. */
  nearOutputs: z.boolean(),
  after: z.array(Edge),
  /** batch ends by itself; server is stopped when every group that depends on it has finished; service is restarted. */
  life: z.enum(["batch", "server", "service"]),
  /** Further tries after the first. */
  retries: z.int().nonnegative(),
  /** Before the second try; doubles with each further one. */
  backoffMs: z.int().nonnegative(),
  /** Per attempt, from its start. */
  deadlineMs: z.int().positive().optional(),
  graceMs: z.int().nonnegative(),
  /** What happens when the node of a running attempt is lost. */
  onLoss: z.enum(["fail", "wait", "requeue"]),
  /** Globs relative to the attempt's directory. */
  artifacts: z.array(z.string()),
  /** The phase of the run's view that this group belongs to when assigned but not finished. */
  phase: z.string(),
  /** false: its failure does not make the run fail (analysis, diff). */
  vital: z.boolean(),
  /** true: a user's task whose outcome decides the verdict; false: bookkeeping (stage, collect, bundle, …). */
  role: z.boolean(),
  // ---- what follows is from version 3 on
  /** No wait between two tries is longer; absent: 5 minutes. */
  backoffMaxMs: z.int().positive().optional(),
  /** At most so many members have a live attempt at once. */
  parallel: z.int().positive().optional(),
  /** The first member that fails for good ends the others. */
  failFast: z.literal(true).optional(),
  /** node: no other process on its node meanwhile · network: no other with `exclusive` on its node meanwhile */
  exclusive: z.enum(["node", "network"]).optional(),
  /** spread (when absent): on the node with the fewest · pack: on the one that has least room left */
  placing: z.enum(["spread", "pack"]).optional(),
  /** The node ends the attempt by itself when it has had no lease for so long. */
  selfStopMs: z.int().positive().optional(),
  /** Members whose success is taken over from the run of `origin`, as `[first, last, first, last, …]`, ascending, both
   *  ends included. They have no row and are not run. */
  carried: z.array(z.int().nonnegative()).optional(),
})
export type TaskGroup = z.infer<typeof TaskGroup>

export const Plan = z.strictObject({
  version: z.literal(1),
  kind: z.enum(["manifest", "job"]),
  /** What the user called the run; the leader appends `-2`, `-3`… to a label that is taken. */
  label: z.string(),
  groups: z.array(TaskGroup),
  /** Names of the phases of the view, in order. */
  phases: z.array(z.string()),
  /** Whole run, from acceptance. */
  timeoutMs: z.int().positive(),
  /** Files that go into the bundle as they are: `manifest.yaml`, `profile.yaml`, … */
  documents: z.array(PlanDocument),
  /** Further variables for `${…}`, e.g. `network.target_port`. */
  variables: z.record(z.string(), z.string()),
  /** Checked against an IP pattern after placement, with the message of the manifest check. */
  addresses: z.array(z.strictObject({ path: z.string(), value: z.string() })),
  /** The checked manifest in the original's key names; written into manifest_resolved.yaml. Opaque to the engine. */
  resolved: z.record(z.string(), z.unknown()),
  bundleFormat: z.enum(["dir", "zip"]),
  // ---- what follows is from version 3 on
  /** Higher goes first; absent: 0. */
  priority: z.int().min(-100).max(100).optional(),
  /** The finished run that this one repeats: all of it, or what did not succeed. */
  origin: z.strictObject({ run: z.string(), how: z.enum(["rerun", "failed"]) }).optional(),
})
export type Plan = z.infer<typeof Plan>

/** Label by which a node says how many GPUs it has. */
export const gpusLabel = "troupe.gpus"

/** How many GPUs labels speak of; what is no number is none. */
export function gpusOf(labels: Readonly<Record<string, string>>): number {
  const text = new Map(Object.entries(labels)).get(gpusLabel) ?? ""
  return /^\d{1,6}$/.test(text) ? Number(text) : 0
}

type Carrying = Pick<TaskGroup, "carried">

/** How many members are taken over without a row. */
export function carriedCount({ carried = [] }: Carrying): number {
  let count = 0
  for (let at = 0; at < carried.length; at += 2) count += carried[at + 1]! - carried[at]! + 1
  return count
}

export function isCarried({ carried = [] }: Carrying, index: number): boolean {
  let low = 0
  let high = carried.length / 2
  while (low < high) {
    const middle = (low + high) >>> 1
    if (carried[middle * 2 + 1]! < index) low = middle + 1
    else high = middle
  }
  return low * 2 < carried.length && carried[low * 2]! <= index
}

/** Ascending indexes in the form of `carried`. */
export function rangesOf(indexes: readonly number[]): number[] {
  const ranges: number[] = []
  for (const index of indexes) {
    if (ranges.length > 0 && ranges.at(-1) === index - 1) ranges[ranges.length - 1] = index
    else ranges.push(index, index)
  }
  return ranges
}

/** `server` of a group of one, `shard[3]` of a larger group. */
export function taskName(group: Pick<TaskGroup, "name" | "count">, index: number): string {
  return group.count === 1 ? group.name : `${group.name}[${index}]`
}

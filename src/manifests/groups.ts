/** The task groups of a run: stage, the roles, collect, and the tail that makes the bundle. */
import type { Edge, Needs, Readiness, StagedFile, TaskGroup, Work } from "../schema/index.ts"
import type { RoleSpec } from "./spec.ts"

/** A role with everything that its task needs. */
export interface RoleTask {
  readonly role: RoleSpec
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly needs: Needs
  readonly readiness: Readiness | undefined
  /** Other roles whose address or node it uses. */
  readonly names: readonly string[]
  readonly globs: readonly string[]
}

const minuteMs = 60_000
/** As the original: a server gets this long to leave after TERM. */
const graceMs = 10_000

/** Bookkeeping: no verdict hangs on it unless `vital`; tried again, also elsewhere. */
function builtin(
  name: string,
  work: Work & { driver: "builtin" },
  rest: Partial<TaskGroup> & Pick<TaskGroup, "after" | "phase">,
): TaskGroup {
  return {
    name,
    count: 1,
    work,
    needs: {},
    nearOutputs: false,
    life: "batch",
    retries: 2,
    backoffMs: 1000,
    deadlineMs: 30 * minuteMs,
    graceMs,
    onLoss: "requeue",
    artifacts: [],
    vital: false,
    role: false,
    ...rest,
  }
}

/** stage-R (when there are files), R, collect-R. */
export function roleGroups(
  task: RoleTask,
  run: {
    readonly tasks: readonly RoleTask[]
    readonly staged: readonly StagedFile[]
    readonly after: ReadonlyMap<string, readonly Edge[]>
  },
): TaskGroup[] {
  const { name, life } = task.role
  const staged = run.staged.length > 0
  const stageName = `stage-${name}`
  const stage = builtin(
    stageName,
    { driver: "builtin", verb: "stage", files: [...run.staged] },
    {
      needs: task.needs,
      after: [],
      phase: "stage",
      vital: true,
      // Elsewhere only when the user left the choice.
      onLoss: task.needs.node === undefined ? "requeue" : "fail",
    },
  )
  const hasClients = run.tasks.some((other) => other.role.life === "batch")
  const role: TaskGroup = {
    name,
    count: 1,
    work: {
      driver: "process",
      argv: [...task.argv],
      env: { ...task.env },
      directory: true,
      files: [...run.staged],
      ...(task.readiness && { readiness: task.readiness }),
      ...(task.role.limits && { limits: task.role.limits }),
    },
    needs: task.needs,
    ...(staged && { with: stageName }),
    nearOutputs: false,
    after: [
      ...(staged ? [{ group: stageName, on: "succeeded" as const }] : []),
      ...(run.after.get(name) ?? []),
    ],
    // With nobody to serve, a server runs until it ends by itself.
    life: life === "server" && hasClients ? "server" : "batch",
    // An interrupted measurement is void: neither tried again nor moved.
    retries: 0,
    backoffMs: 0,
    graceMs,
    onLoss: "fail",
    artifacts: [...task.globs],
    phase: life === "server" ? "server_start" : "client_start",
    vital: true,
    role: true,
  }
  const collect = collectGroup(
    name,
    run.tasks.map((other) => other.role.name),
  )
  return staged ? [stage, role, collect] : [role, collect]
}

/** Takes the output of the role `name` where that ran, once all of `roles` have finished. */
export function collectGroup(name: string, roles: readonly string[]): TaskGroup {
  return builtin(
    `collect-${name}`,
    { driver: "builtin", verb: "collect", group: name },
    {
      with: name,
      after: roles.map((group) => ({ group, on: "finished" as const })),
      phase: "collect",
      // The files are there or nowhere: the bundle then says what is missing, and the roles' verdict stands.
      onLoss: "fail",
    },
  )
}

/** bundle, analyze, diff, seal, behind the groups that collect. Only `bundle` and `seal` can spoil a run. */
export function tailGroups(
  collects: readonly string[],
  wanted: { readonly analyze: boolean; readonly baseline: string | undefined },
): TaskGroup[] {
  const bundle = builtin(
    "bundle",
    { driver: "builtin", verb: "bundle" },
    {
      after: collects.map((group) => ({ group, on: "finished" as const })),
      nearOutputs: true,
      phase: "bundle",
      vital: true,
    },
  )
  const bundled: Edge = { group: "bundle", on: "succeeded" }
  const extra: TaskGroup[] = []
  if (wanted.analyze) {
    const work: Work = { driver: "builtin", verb: "analyze" }
    extra.push(builtin("analyze", work, { after: [bundled], nearOutputs: true, phase: "analyze" }))
  }
  if (wanted.baseline !== undefined) {
    const work: Work = { driver: "builtin", verb: "diff", baseline: wanted.baseline }
    const after = [bundled, ...extra.map(({ name }) => ({ group: name, on: "finished" as const }))]
    extra.push(builtin("diff", work, { after, nearOutputs: true, phase: "diff" }))
  }
  const seal = builtin(
    "seal",
    { driver: "builtin", verb: "seal" },
    {
      after: [bundled, ...extra.map(({ name }) => ({ group: name, on: "finished" as const }))],
      nearOutputs: true,
      phase: "done",
      vital: true,
    },
  )
  return [bundle, ...extra, seal]
}

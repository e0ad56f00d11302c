/** Builders with defaults for members, groups and plans, and plans at random. */
import * as fc from "fast-check"
import type { MemberDeclaration, Plan, TaskGroup, Work } from "../../src/schema/index.ts"

export function aDeclaration(fields: Partial<MemberDeclaration> = {}): MemberDeclaration {
  return {
    peerId: `peer-${fields.name ?? "a"}`,
    name: "a",
    addresses: ["/ip4/10.0.0.1/tcp/8771"],
    voter: "auto",
    os: "linux",
    arch: "x64",
    cores: 4,
    memoryBytes: 8 * 2 ** 30,
    labels: {},
    tools: ["iperf3"],
    capacity: 4,
    ...fields,
  }
}

export function aProcess(fields: Partial<Extract<Work, { driver: "process" }>> = {}): Work {
  return { driver: "process", argv: ["run"], env: {}, directory: true, files: [], ...fields }
}

export const readiness = { method: "stdout_match", pattern: "ready", timeoutMs: 1000 } as const

export function aGroup(name: string, fields: Partial<TaskGroup> = {}): TaskGroup {
  return {
    name,
    count: 1,
    work: aProcess(),
    needs: {},
    nearOutputs: false,
    after: [],
    life: "batch",
    retries: 0,
    backoffMs: 0,
    graceMs: 5000,
    onLoss: "fail",
    artifacts: [],
    phase: `${name}_start`,
    vital: true,
    role: true,
    ...fields,
  }
}

/** collect for each role, then bundle, then seal: as a manifest compiles to. */
export function bookkeeping(roles: readonly TaskGroup[]): TaskGroup[] {
  const collects = roles.map((role) =>
    aGroup(`collect-${role.name}`, {
      work: { driver: "builtin", verb: "collect", group: role.name },
      after: [{ group: role.name, on: "finished" }],
      with: role.name,
      phase: "collect",
      role: false,
      onLoss: "fail",
    }),
  )
  return [
    ...collects,
    aGroup("bundle", {
      work: { driver: "builtin", verb: "bundle" },
      after: [...roles, ...collects].map(({ name }) => ({ group: name, on: "finished" as const })),
      nearOutputs: true,
      phase: "bundle",
      role: false,
      onLoss: "requeue",
      retries: 1,
    }),
    aGroup("seal", {
      work: { driver: "builtin", verb: "seal" },
      after: [{ group: "bundle", on: "succeeded" }],
      with: "bundle",
      phase: "bundle",
      role: false,
    }),
  ]
}

export function aPlan(groups: readonly TaskGroup[], fields: Partial<Plan> = {}): Plan {
  return {
    version: 1,
    kind: "manifest",
    label: "run",
    groups: [...groups],
    phases: ["init", "done"],
    timeoutMs: 600_000,
    documents: [],
    variables: {},
    addresses: [],
    resolved: {},
    bundleFormat: "dir",
    ...fields,
  }
}

/** A server, a client that waits for it to be ready, and the bookkeeping: the run of seed 000. */
export function aPair(fields: Partial<Plan> = {}): Plan {
  const roles = [
    aGroup("server", { life: "server", work: aProcess({ readiness }) }),
    aGroup("client", { after: [{ group: "server", on: "ready" }] }),
  ]
  return aPlan([...roles, ...bookkeeping(roles)], {
    phases: [
      "init",
      "server_start",
      "server_ready",
      "client_start",
      "client_done",
      "server_stop",
      "collect",
      "bundle",
      "done",
    ],
    ...fields,
  })
}

const arbitraryMark = fc.constantFrom("started", "ready", "succeeded", "finished" as const)

/** Up to five groups, each waiting for earlier ones only, with the bookkeeping of a manifest. */
export const arbitraryPlan: fc.Arbitrary<Plan> = fc
  .tuple(
    fc.array(
      fc.record({
        count: fc.integer({ min: 1, max: 3 }),
        life: fc.constantFrom("batch", "batch", "server", "service" as const),
        ready: fc.boolean(),
        retries: fc.integer({ min: 0, max: 2 }),
        backoffMs: fc.constantFrom(0, 1000),
        onLoss: fc.constantFrom("fail", "wait", "requeue" as const),
        vital: fc.boolean(),
        edges: fc.array(fc.tuple(fc.nat(4), arbitraryMark), { maxLength: 2 }),
        parallel: fc.constantFrom(undefined, undefined, 1, 2),
        failFast: fc.constantFrom(undefined, undefined, true as const),
        sameNode: fc.boolean(),
        staged: fc.boolean(),
        node: fc.constantFrom(undefined, undefined, "a", "b"),
      }),
      { minLength: 1, maxLength: 5 },
    ),
    fc.constantFrom(5000, 60_000, 600_000),
    fc.boolean(),
  )
  .map(([seeds, timeoutMs, withBookkeeping]) => {
    const groups: TaskGroup[] = []
    const stages: TaskGroup[] = []
    for (const [place, seed] of seeds.entries()) {
      const edges = place === 0 ? [] : seed.edges
      const after = edges.map(([to, on]) => ({ group: `g${to % place}`, on }))
      if (seed.staged) {
        const work: Work = { driver: "builtin", verb: "stage", files: [] }
        stages.push(aGroup(`stage${place}`, { work, role: false, phase: "stage" }))
        after.push({ group: `stage${place}`, on: "succeeded" })
      }
      const anchor = seed.sameNode ? edges[0] : undefined
      groups.push(
        aGroup(`g${place}`, {
          count: seed.count,
          life: seed.life,
          work: aProcess(seed.ready ? { readiness } : {}),
          retries: seed.retries,
          backoffMs: seed.backoffMs,
          onLoss: seed.onLoss,
          vital: seed.vital,
          after,
          ...(seed.parallel !== undefined && { parallel: seed.parallel }),
          ...(seed.failFast !== undefined && { failFast: seed.failFast }),
          ...(anchor && { with: `g${anchor[0] % place}` }),
          needs: seed.node === undefined ? {} : { node: seed.node },
        }),
      )
    }
    const extra = withBookkeeping ? bookkeeping(groups) : []
    return aPlan([...stages, ...groups, ...extra], { timeoutMs })
  })

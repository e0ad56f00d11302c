/** What a task's strings become once its node is known. */
import { expect, test } from "vitest"
import { resolveLaunch, type RunRows } from "../../../src/node/launch.ts"
import { parseTaskName } from "../../../src/node/orders.ts"
import type { Attempt, Plan, RunView, Task } from "../../../src/schema/index.ts"
import { aDeclaration, aGroup, aPlan, aProcess } from "../../support/plans.ts"

function attempt(node: number, fields: Partial<Attempt> = {}): Attempt {
  const base = { n: 1, fence: 40 + node, lease: 3, state: "assigned", assignedAt: 1000 } as const
  return { ...base, node, address: `10.0.0.${node}`, ...fields }
}

function task(name: string, attempts: Attempt[] = [], group = name): Task {
  const { index } = parseTaskName(name)
  return { run: "r-40", group, index, name, state: "active", attempts, outputs: [] }
}

const server = task("server", [attempt(1)])
const client = task("client", [attempt(2, { n: 2, fence: 99 })])

function rows(of: Plan, tasks: Task[] = [server, client]): RunRows {
  const run: RunView = {
    id: "r-40",
    label: "tuesday",
    kind: "manifest",
    state: "active",
    principal: "anonymous",
    entryNode: "n1",
    createdAt: 0,
    deadlineAt: 1,
    events: 0,
    phase: "init",
    phases: [],
    tasks,
  }
  const members = [1, 2].map((id) => ({
    id,
    role: "voter" as const,
    ...aDeclaration({ name: `node-${id}`, peerId: `peer-${id}` }),
  }))
  return { run, plan: of, members }
}

function plan(work: Parameters<typeof aProcess>[0], fields: Partial<Plan> = {}): Plan {
  return aPlan(
    [aGroup("server", { life: "server" }), aGroup("client", { work: aProcess(work) })],
    fields,
  )
}

function resolved(argv: string[], fields: Partial<Plan> = {}, tasks?: Task[]): unknown {
  const result = resolveLaunch(rows(plan({ argv }, fields), tasks), client)
  return "launch" in result ? result.launch.argv : result.problem
}

test.each<[string, string]>([
  ["${run.id}", "r-40"],
  ["${run.label}", "tuesday"],
  ["${roles.server.address}", "10.0.0.1"],
  ["${roles.server.node}", "node-1"],
  ["${roles.client.node}", "node-2"],
  ["${roles.server.port}", "4444"],
  ["${roles.client.port}", "5201"],
  ["${network.target_port}", "5201"],
  ["--to=${roles.server.address}:${roles.server.port}", "--to=10.0.0.1:4444"],
  ["no variable; $(rm -rf /) `id` $HOME", "no variable; $(rm -rf /) `id` $HOME"],
  ["$${run.id}", "${run.id}"],
])("%s becomes %s", (text, expected) => {
  const variables = { "network.target_port": "5201", "roles.server.port": "4444" }
  expect(resolved(["run", text], { variables })).toEqual(["run", expected])
})

test("a value is never looked at again, whatever stands in it", () => {
  const variables = { "network.name": "${run.id} $(reboot)" }
  expect(resolved(["run", "${network.name}"], { variables })).toEqual([
    "run",
    "${run.id} $(reboot)",
  ])
})

test.each<[string, string]>([
  ["${roles.nobody.address}", "${roles.nobody.address} has no value for client"],
  ["${no.such}", "${no.such} has no value for client"],
])("%s: %s", (text, expected) => {
  expect(resolved(["run", text])).toBe(expected)
})

test("a role that is not placed yet has no address", () => {
  const problem = resolved(["run", "${roles.server.address}"], {}, [task("server"), client])
  expect(problem).toBe("${roles.server.address} has no value for client")
})

test.each<[string, boolean]>([
  ["10.0.0.1", true],
  ["${roles.server.address}", true],
  ["fd00::1", true],
  ["::ffff:10.0.0.1", true],
  ["10.0.0.256", false],
  ["010.0.0.1", false],
  ["10.0.0", false],
  ["lab-3", false],
  [":::", false],
  ["12:34", false],
  ["${run.label}", false],
])("the address %s after placement is fine: %s", (value, isFine) => {
  const addresses = [{ path: "network.data_plane.target_ip", value }]
  const text = value === "${run.label}" ? "tuesday" : value
  expect(resolved(["run"], { addresses })).toEqual(
    isFine ? ["run"] : `network.data_plane.target_ip: must be a valid IP address, got '${text}'`,
  )
})

test("the address of a role that is placed later is not judged before", () => {
  const addresses = [{ path: "x", value: "${roles.server.address}" }]
  expect(resolved(["run"], { addresses }, [task("server"), client])).toEqual(["run"])
})

test("a job is told of itself and of its siblings", () => {
  const work = { argv: ["run"], env: { WHO: "${run.label}", TWICE: "${run.id}${run.id}" } }
  const shard = task("my-shard.1[3]", [attempt(2)], "my-shard.1")
  const groups = plan(work).groups
  const whole = { ...plan(work), groups: [...groups, aGroup("my-shard.1", { count: 4 })] }
  const result = resolveLaunch(rows(whole, [server, client, shard, task("late")]), client)
  expect(result).toMatchObject({
    launch: {
      env: {
        WHO: "tuesday",
        TWICE: "r-40r-40",
        TROUPE_RUN_ID: "r-40",
        TROUPE_RUN_LABEL: "tuesday",
        TROUPE_ROLE: "client",
        TROUPE_ATTEMPT: "2",
        TROUPE_FENCE: "99",
        TROUPE_SERVER_ADDR: "10.0.0.1",
        TROUPE_CLIENT_ADDR: "10.0.0.2",
        TROUPE_MY_SHARD_1_3__ADDR: "10.0.0.2",
      },
    },
  })
  expect(Object.keys("launch" in result ? result.launch.env : {})).not.toContain("TROUPE_LATE_ADDR")
})

test("bookkeeping has no address that a job would care for", () => {
  const whole = plan({ argv: ["run"] })
  const groups = [...whole.groups, aGroup("collect-server", { role: false })]
  const tasks = [server, client, task("collect-server", [attempt(1)])]
  const result = resolveLaunch(rows({ ...whole, groups }, tasks), client)
  const env = "launch" in result ? Object.keys(result.launch.env) : []
  expect(env.filter((name) => name.endsWith("_ADDR"))).toEqual([
    "TROUPE_SERVER_ADDR",
    "TROUPE_CLIENT_ADDR",
  ])
})

test("where tcp_connect knocks is filled in, a pattern is left alone", () => {
  const tcp = {
    method: "tcp_connect",
    host: "${roles.client.address}",
    port: "80",
    timeoutMs: 1,
  } as const
  const match = { method: "stdout_match", pattern: "^${run.id}$", timeoutMs: 1 } as const
  const readinessOf = (readiness: typeof tcp | typeof match): unknown => {
    const result = resolveLaunch(rows(plan({ argv: ["run"], readiness })), client)
    return "launch" in result ? result.launch.readiness : result
  }
  expect(readinessOf(tcp)).toEqual({ ...tcp, host: "10.0.0.2" })
  expect(readinessOf(match)).toEqual(match)
})

test.each<[string, { group: string; index: number }]>([
  ["server", { group: "server", index: 0 }],
  ["shard[3]", { group: "shard", index: 3 }],
  ["a.b-c[12]", { group: "a.b-c", index: 12 }],
])("%s is a member of a group", (name, expected) => {
  expect(parseTaskName(name)).toEqual(expected)
})

/** Compiling: groups and their order, placement, variables, and what only a compiler finds wrong. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  type CompileContext,
  compileManifest,
  manifestPhases,
  parseManifest,
} from "../../../src/manifests/index.ts"
import { Plan, type TaskGroup } from "../../../src/schema/index.ts"
import { aContext, commandManifest, seedManifest } from "./seed.ts"

function compile(text: string, changes: Partial<CompileContext> = {}) {
  const { manifest, issues } = parseManifest(text, { file: "m.yaml", lenient: false })
  expect(issues).toEqual([])
  return compileManifest(manifest!, aContext(changes))
}

function plan(text: string, changes: Partial<CompileContext> = {}): Plan {
  const compiled = compile(text, changes)
  expect(compiled.issues).toEqual([])
  // What is replicated must pass the schema's own check.
  return Plan.parse(compiled.plan)
}

function group(text: string, name: string, changes: Partial<CompileContext> = {}): TaskGroup {
  const found = plan(text, changes).groups.find((one) => one.name === name)
  expect(found, name).toBeDefined()
  return found!
}

function argv(text: string, name: string, changes: Partial<CompileContext> = {}): string[] {
  const { work } = group(text, name, changes)
  return work.driver === "process" ? work.argv : []
}

function mistakes(text: string, changes: Partial<CompileContext> = {}): string[] {
  const compiled = compile(text, changes)
  expect(compiled.plan === undefined).toBe(compiled.issues.length > 0)
  return compiled.issues.map(({ path, message }) => `${path}: ${message}`)
}

const roles = (body: string): string => `api_version: v1\nrun_id: r\nroles:\n${body}`

// ---------------------------------------------------------------- the graph

test("the seed's manifest becomes stage, roles, collect and the tail, in this order of edges", () => {
  const compiled = plan(seedManifest)
  const shape = compiled.groups.map(({ name, phase, after }) => [
    name,
    phase,
    after.map((edge) => `${edge.group} ${edge.on}`),
  ])
  expect(shape).toEqual([
    ["stage-server", "stage", []],
    ["server", "server_start", ["stage-server succeeded"]],
    ["collect-server", "collect", ["server finished", "client finished"]],
    ["stage-client", "stage", []],
    ["client", "client_start", ["stage-client succeeded", "server ready"]],
    ["collect-client", "collect", ["server finished", "client finished"]],
    ["bundle", "bundle", ["collect-server finished", "collect-client finished"]],
    ["analyze", "analyze", ["bundle succeeded"]],
    ["seal", "done", ["bundle succeeded", "analyze finished"]],
  ])
  expect(compiled.phases).toEqual([...manifestPhases])
  expect(compiled).toMatchObject({
    label: "lab-7",
    timeoutMs: 1_800_000,
    bundleFormat: "dir",
    documents: [{ path: "manifest.yaml" }, { path: "profile.yaml", bytes: 8000 }],
    addresses: [],
  })
})

test("who decides the verdict, who moves when a node is lost, and who goes where", () => {
  const { groups } = plan(seedManifest)
  const byName = new Map(groups.map((one) => [one.name, one]))
  const facts = groups.map(({ name, role, vital, onLoss }) => [name, role, vital, onLoss])
  expect(facts).toEqual([
    // The node was named (`local`), so staging cannot move either.
    ["stage-server", false, true, "fail"],
    ["server", true, true, "fail"],
    ["collect-server", false, false, "fail"],
    ["stage-client", false, true, "fail"],
    ["client", true, true, "fail"],
    ["collect-client", false, false, "fail"],
    ["bundle", false, true, "requeue"],
    ["analyze", false, false, "requeue"],
    ["seal", false, true, "requeue"],
  ])
  expect(byName.get("server")).toMatchObject({ life: "server", with: "stage-server", retries: 0 })
  expect(byName.get("client")).toMatchObject({ life: "batch", with: "stage-client", retries: 0 })
  expect(byName.get("collect-client")?.with).toBe("client")
  // A dead node after `bundle` must not hold up the rest: the tail follows the bytes softly.
  for (const name of ["bundle", "analyze", "seal"]) {
    expect(byName.get(name)).toMatchObject({ nearOutputs: true })
    expect(byName.get(name)?.with).toBeUndefined()
  }
})

test("without files nothing is staged; without clients a server runs to its own end", () => {
  expect(plan(commandManifest).groups.map(({ name }) => name)).toEqual([
    "server",
    "collect-server",
    "client",
    "collect-client",
    "bundle",
    "seal",
  ])
  expect(group(roles("  server: {command: x}\n"), "server").life).toBe("batch")
})

test("clients wait for every server: ready when it says so, else started", () => {
  const text = roles(`  server: {command: x, readiness: {method: delay, seconds: 1}}
  db: {command: y, life: server}
  one: {command: z}
  two: {command: z}
`)
  for (const name of ["one", "two"]) {
    expect(group(text, name).after).toEqual([
      { group: "server", on: "ready" },
      { group: "db", on: "started" },
    ])
  }
  expect(group(text, "db").after).toEqual([])
})

function lastGroups(text: string, changes: Partial<CompileContext> = {}): string[] {
  const { groups } = plan(text, changes)
  return groups.map(({ name }) => name).slice(-3)
}

test("analysis and comparison are there when both manifest and command want them", () => {
  expect(lastGroups(seedManifest)).toEqual(["bundle", "analyze", "seal"])
  expect(lastGroups(seedManifest, { analyze: false })).toEqual(["collect-client", "bundle", "seal"])
  const compared = seedManifest.replace("analyze: true", "diff_baseline: runs/old")
  const baseline = { digest: "c".repeat(64), bytes: 1 }
  const documents = { ...aContext().documents, baseline }
  expect(lastGroups(compared, { documents })).toEqual(["bundle", "diff", "seal"])
  expect(group(compared, "diff", { documents })).toMatchObject({
    work: { verb: "diff", baseline: baseline.digest },
    vital: false,
  })
  expect(lastGroups(compared, { diff: false })).toEqual(["collect-client", "bundle", "seal"])
  expect(mistakes(compared)).toEqual([
    "post_run.diff_baseline: the bundle 'runs/old' was not handed in with the manifest",
  ])
})

test("a run without a name is named by its start in UTC", () => {
  expect(plan(seedManifest.replace("lab-7", "auto")).label).toBe("2026-01-13_14-30-05")
})

// ---------------------------------------------------------------- command lines

test("the original's command lines, word for word", () => {
  expect(argv(seedManifest, "server").join(" ")).toBe(
    "cipdip server --listen-ip 127.0.0.1 --listen-port 44818 --personality adapter --tui-stats",
  )
  expect(argv(seedManifest, "client").join(" ")).toBe(
    "cipdip client --ip 127.0.0.1 --port 44818 --scenario baseline --duration-seconds 3 --interval-ms 250 --tui-stats",
  )
})

test("scenario profile names the file as it lies beside the role, or on the node", () => {
  const text = seedManifest
    .replace("scenario: baseline", "scenario: profile\n    profile_role: plc")
    .replace("    interval_ms: 250\n", "")
  expect(argv(text, "client").join(" ")).toBe(
    "cipdip client --ip 127.0.0.1 --port 44818 --profile tank.yaml --role plc --duration-seconds 3 --tui-stats",
  )
  expect(group(text, "client").work).toMatchObject({ files: [{ path: "tank.yaml" }] })
  const there = text
    .replace("distribution: inline", "distribution: preinstalled")
    .replace("profiles/tank.yaml", "/srv/tank.yaml")
  expect(argv(there, "client")).toContain("/srv/tank.yaml")
  expect(plan(there).groups.some(({ name }) => name.startsWith("stage-"))).toBe(false)
  expect(plan(there).documents.map(({ path }) => path)).toEqual(["manifest.yaml"])
})

test("args of a map are flags: true alone, false not at all, numbers as written", () => {
  const args = "{fast: true, slow: false, pcap: run.pcap, count: 3, ratio: 0.5}"
  const text = seedManifest.replace("personality: adapter", `args: ${args}`)
  expect(argv(text, "server").slice(-8)).toEqual([
    "--tui-stats",
    "--fast",
    "--pcap",
    "run.pcap",
    "--count",
    "3",
    "--ratio",
    "0.5",
  ])
})

test("a command takes its list, then its args", () => {
  expect(argv(commandManifest, "server")).toEqual(["iperf3", "-s", "-1"])
  expect(argv(commandManifest, "client")).toEqual(["iperf3", "-c", "${roles.server.address}", "-J"])
})

test("limits come through to the process and to the resolved manifest, in the manifest's words", () => {
  const limits = "{memory: 512MiB, cpus: 1.5, pids: 100, open_files: 1024}"
  const text = roles(`  one: {command: x, limits: ${limits}}\n  two: {command: y}\n`)
  const { work } = group(text, "one")
  expect(work).toMatchObject({
    limits: { memoryBytes: 512 << 20, cpus: 1.5, pids: 100, openFiles: 1024 },
  })
  expect(group(text, "two").work).not.toHaveProperty("limits")
  const kept = (limit: string) => [`troupe.limits.${limit}`, "enforced"]
  expect(group(text, "one").needs.labels, "it goes where they are kept").toEqual(
    Object.fromEntries(["memory", "cpus", "pids", "open_files"].map(kept)),
  )
  expect(group(text, "two").needs).not.toHaveProperty("labels")
})

test("env, artifacts and needs come through; includes hold for every role, captures for the original's", () => {
  const text = `${roles(`  one:
    command: x
    env: {LEVEL: 3, WHERE: "\${run.id}"}
    artifacts: [out/*.json]
    needs: {os: Linux, arch: amd64, cores: 4, memory: 2GiB, labels: {rack: 7}, tools: [tcpdump]}
`)}artifacts: {include: ["*.csv"]}
`
  const one = group(text, "one")
  expect(one.work).toMatchObject({ env: { LEVEL: "3", WHERE: "${run.id}" }, directory: true })
  expect(one.artifacts).toEqual(["out/*.json", "*.csv"])
  expect(one.needs).toEqual({
    os: "linux",
    arch: "x64",
    cores: 4,
    memoryBytes: 2 * 1024 ** 3,
    labels: { rack: "7" },
    tools: ["tcpdump"],
  })
  expect(group(seedManifest, "client").artifacts).toEqual(["*.pcap", "*.pcapng"])
})

// ---------------------------------------------------------------- readiness

test.each<[string, unknown]>([
  ["structured_stdout}", { method: "structured_stdout", timeoutMs: 30_000 }],
  [
    "stdout_match, pattern: Server listening, timeout_seconds: 5}",
    { method: "stdout_match", pattern: "Server listening", timeoutMs: 5000 },
  ],
  ["delay, seconds: 2}", { method: "delay", delayMs: 2000, timeoutMs: 30_000 }],
  // A delay is never cut short by the limit of a wait.
  ["delay, seconds: 60}", { method: "delay", delayMs: 60_000, timeoutMs: 61_000 }],
  // Not the original's fixed 44818 but where the server listens.
  ["tcp_connect}", { method: "tcp_connect", host: "127.0.0.1", port: "5201", timeoutMs: 30_000 }],
  [
    'tcp_connect, host: "${roles.server.address}", port: 80}',
    { method: "tcp_connect", host: "${roles.server.address}", port: "80", timeoutMs: 30_000 },
  ],
])("readiness {method: %s", (rest, expected) => {
  const text = roles(`  server: {command: x, port: 5201, readiness: {method: ${rest}}\n`)
  const { work } = group(text, "server")
  expect(work.driver === "process" ? work.readiness : undefined).toEqual(expected)
})

test.each([
  ["0.0.0.0", "127.0.0.1"],
  ["'::'", "::1"],
  ["10.1.2.3", "10.1.2.3"],
  ['"${roles.server.address}"', "${roles.server.address}"],
])("tcp_connect of a server that listens on %s dials %s", (listen, host) => {
  const text = seedManifest
    .replace("server_listen_ip: 127.0.0.1", `server_listen_ip: ${listen}`)
    .replace("method: structured_stdout", "method: tcp_connect")
  expect(group(text, "server").work).toMatchObject({ readiness: { host, port: "44818" } })
})

// ---------------------------------------------------------------- placement

test.each<[string, Record<string, string>, string | undefined]>([
  ["agent: local, ", {}, "alpha"],
  ["", {}, undefined],
  ["agent: beta, ", {}, "beta"],
  ["agent: 12, ", {}, "12"],
  ["agent: A1, ", { A1: "gamma" }, "gamma"],
  ["agent: A1, ", { one: "beta", A1: "gamma" }, "beta"],
  ["agent: beta, ", { one: "local" }, "alpha"],
  ["", { one: "gamma" }, "gamma"],
  ["needs: {node: beta}, ", {}, "beta"],
  ["needs: {node: local}, ", {}, "alpha"],
])("role {%s} with --agent %j goes to %s", (agent, agents, node) => {
  expect(group(roles(`  one: {${agent}command: x}\n`), "one", { agents }).needs.node).toBe(node)
})

test.each<[string, Record<string, string>, string]>([
  [
    "agent: betta",
    {},
    "roles.one.agent: agent 'betta' not found in agent mappings, and no node is called so; did you mean 'beta'?",
  ],
  [
    "agent: nothing-like-it",
    {},
    "roles.one.agent: agent 'nothing-like-it' not found in agent mappings, and no node is called so; nodes: alpha, beta, gamma",
  ],
  [
    "agent: ssh://me@host?insecure=true",
    {},
    "roles.one.agent: ssh agents come with a later version; run `troupe node start` on that host and write its node's name",
  ],
  [
    "agent: me@host",
    {},
    "roles.one.agent: ssh agents come with a later version; run `troupe node start` on that host and write its node's name",
  ],
  ["agent: ftp://host", {}, "roles.one.agent: unsupported transport scheme: ftp"],
  [
    "agent: A1",
    { A1: "zeta" },
    "--agent A1: agent 'zeta' not found in agent mappings, and no node is called so; did you mean 'beta'?",
  ],
  [
    "agent: local",
    { ones: "beta" },
    "--agent ones: no role and no agent of the manifest is called 'ones'; did you mean 'one'?",
  ],
  [
    "agent: beta, needs: {node: gamma}",
    {},
    "roles.one.needs.node: 'gamma' is not 'beta', where `agent` puts this role; keep one",
  ],
])("role {%s} with --agent %j: %s", (agent, agents, expected) => {
  expect(mistakes(roles(`  one: {${agent}, command: x}\n`), { agents })).toEqual([expected])
})

test("with unknown node names any name passes: the scheduler will say that nothing fits", () => {
  const text = roles("  one: {agent: zeta, command: x}\n")
  expect(group(text, "one", { nodeNames: undefined }).needs.node).toBe("zeta")
})

// ---------------------------------------------------------------- variables

test("constants are put in at once, placement's variables stay, escapes stay escaped", () => {
  const text = `${roles(
    `  server: {command: s, port: 5201}
  client: {command: [c, "\${roles.server.address}:\${roles.server.port}", "\${network.target_ip}", "$\${HOME}", "\${run.id}"]}
`,
  )}network: {data_plane: {target_ip: "\${roles.server.address}", target_port: 9}}
`
  expect(argv(text, "client")).toEqual([
    "c",
    "${roles.server.address}:5201",
    "${roles.server.address}",
    "$${HOME}",
    "${run.id}",
  ])
  const compiled = plan(text)
  expect(compiled.variables).toEqual({
    "network.target_port": "9",
    "roles.server.port": "5201",
    "roles.client.port": "9",
  })
  expect(compiled.addresses).toEqual([
    { path: "network.data_plane.target_ip", value: "${roles.server.address}" },
  ])
})

test("the agent as written is kept for role_meta.json", () => {
  expect(plan(seedManifest).variables).toMatchObject({ "agent.server": "local" })
})

test("unknown and broken variables are found before anything starts, at their place", () => {
  const text = roles(`  server: {command: s}
  client:
    command: [c, "\${roles.sever.address}"]
    args: {x: "\${run.ids}"}
    env: {A: "\${", B: "\${profile.path}"}
`)
  const { issues } = parseManifest(text, { file: "m.yaml", lenient: false })
  expect(issues.map(({ path, message }) => `${path}: ${message}`)).toEqual([
    "roles.client.command[1]: unknown variable '${roles.sever.address}'; did you mean '${roles.server.address}'?",
    "roles.client.args.x: unknown variable '${run.ids}'; did you mean '${run.id}'?",
    "roles.client.env.A: '${' is no variable; write ${name}, or $${ for a plain ${",
    expect.stringMatching(/^roles\.client\.env\.B: unknown variable '\$\{profile\.path\}'; /),
  ])
  expect(issues[0]).toMatchObject({ file: "m.yaml", line: 6, column: 18 })
  const circular = `${roles("  one: {command: x}\n")}network: {data_plane: {target_ip: "\${network.server_listen_ip}", server_listen_ip: 10.0.0.1}}\n`
  const [issue] = parseManifest(circular, { file: "m.yaml", lenient: false }).issues
  expect(issue).toMatchObject({ path: "network.data_plane.target_ip", line: 5 })
  expect(issue!.message).toMatch(/^unknown variable '\$\{network\.server_listen_ip\}'/)
})

test("an unknown key, a variable and a machine that is none are told in one round", () => {
  const text = roles(`  server: {command: s, lief: 3, needs: {arch: amd46, os: linus}}
  client: {command: [c, "\${run.idd}"]}
`)
  const { issues } = parseManifest(text, { file: "m.yaml", lenient: false })
  expect(issues.map(({ path, line }) => `${line} ${path}`)).toEqual([
    "4 roles.server.lief",
    "4 roles.server.needs.arch",
    "4 roles.server.needs.os",
    "5 roles.client.command[1]",
  ])
  expect(issues[1]!.message).toBe("unknown arch 'amd46'; did you mean 'amd64'?")
  expect(issues[2]!.message).toBe("unknown os 'linus'; did you mean 'linux'?")
})

test("whose address is used starts first; a circle is a mistake", () => {
  const text = roles(`  first: {command: x}
  second: {command: [y, "\${roles.first.address}", "\${roles.second.node}"]}
`)
  expect(group(text, "second").after).toEqual([{ group: "first", on: "started" }])
  expect(group(text, "first").after).toEqual([])
  const circle = roles(`  server: {command: [x, "\${roles.client.address}"]}
  client: {command: y}
`)
  expect(mistakes(circle)).toEqual([
    "roles.server: needs the address of 'client', which starts only after 'server'",
  ])
})

// ---------------------------------------------------------------- documents

function withChecksum(digit: string): string {
  const line = `distribution: inline\n  checksum: sha256:${digit.repeat(64)}`
  return seedManifest.replace("distribution: inline", line)
}

test("a profile must be handed in and have the checksum it names", () => {
  const { profile, ...documents } = aContext().documents
  expect(profile).toBeDefined()
  expect(mistakes(seedManifest, { documents })).toEqual([
    "profile.path: the file 'profiles/tank.yaml' was not handed in with the manifest",
  ])
  expect(mistakes(withChecksum("c"))).toEqual([
    `profile.checksum: profile checksum mismatch: expected sha256:${"c".repeat(64)}, got sha256:${"b".repeat(64)}`,
  ])
  expect(mistakes(withChecksum("B"))).toEqual([])
})

test("a client that runs longer than the run may is warned of", () => {
  const text = seedManifest.replace("duration_seconds: 3", "duration_seconds: 1800")
  expect(compile(text).warnings).toMatchObject([
    { path: "roles.client.duration_seconds", file: "m.yaml", line: 18 },
  ])
  expect(compile(text, { timeoutMs: 3_600_000 }).warnings).toEqual([])
})

// ---------------------------------------------------------------- properties

test("every plan is a graph without circles in which everything reaches the seal", () => {
  const names = fc.uniqueArray(fc.constantFrom("server", "client", "a", "b", "c", "d"), {
    minLength: 1,
  })
  const role = fc.record({ life: fc.constantFrom("server", "batch"), uses: fc.nat({ max: 5 }) })
  fc.assert(
    fc.property(names, fc.array(role, { minLength: 6, maxLength: 6 }), (chosen, kinds) => {
      const body = chosen.map((name, index) => {
        const { life, uses } = kinds[index]!
        const used = chosen[uses]
        const argument = used === undefined ? "" : `, args: ["\${roles.${used}.address}"]`
        return `  ${name}: {command: x, life: ${life}${argument}}\n`
      })
      const compiled = compile(roles(body.join("")))
      if (!compiled.plan) {
        expect(compiled.issues.every(({ message }) => message.includes("starts only after"))).toBe(
          true,
        )
        return
      }
      const { groups } = compiled.plan
      const done = new Set<string>()
      for (let round = 0; round < groups.length; round++) {
        for (const { name, after } of groups) {
          if (after.every((edge) => done.has(edge.group))) done.add(name)
        }
      }
      expect(done.size).toBe(groups.length)
      const needed = new Set(["seal"])
      for (const { name, after } of groups.toReversed()) {
        if (needed.has(name) || name.startsWith("collect-")) {
          for (const edge of after) needed.add(edge.group)
        }
      }
      for (const name of chosen) expect(needed).toContain(name)
    }),
  )
})

/** Reading run manifests: what is accepted, and every mistake with its place and words. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { manifestBaseline, manifestFiles, parseManifest } from "../../../src/manifests/index.ts"
import { commandManifest, seedManifest } from "./seed.ts"

const read = (text: string, lenient = false) => parseManifest(text, { file: "m.yaml", lenient })

/** `line:column path: message`, as a terminal would show it. */
function mistakes(text: string, lenient = false): string[] {
  return read(text, lenient).issues.map(
    ({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`,
  )
}

/** The seed manifest with one line replaced. */
function withLine(wanted: string, replacement: string): string {
  expect(seedManifest).toContain(`${wanted}\n`)
  return seedManifest.replace(`${wanted}\n`, replacement === "" ? "" : `${replacement}\n`)
}

test("the seed's manifest is read whole", () => {
  const { manifest, issues, warnings } = read(seedManifest)
  expect(issues).toEqual([])
  expect(warnings).toEqual([])
  expect(manifest).toMatchObject({
    file: "m.yaml",
    runId: "lab-7",
    profile: { path: "profiles/tank.yaml", distribution: "inline" },
    network: { serverListenIp: "127.0.0.1", targetIp: "127.0.0.1", targetPort: 44818 },
    readiness: { method: "structured_stdout", timeoutSeconds: 10 },
    bundleFormat: "dir",
    analyze: true,
  })
  expect(manifest?.roles.map((role) => [role.name, role.life, role.agent])).toEqual([
    ["server", "server", "local"],
    ["client", "batch", "local"],
  ])
})

test("the smallest manifest of the guide gets the original's defaults", () => {
  const { manifest, issues } = read(`api_version: v1
run_id: auto
profile: { path: profiles/baseline.yaml }
network: { data_plane: { target_ip: 192.168.1.100, server_listen_ip: 0.0.0.0 } }
roles:
  server: { agent: local }
  client: { agent: A1, scenario: baseline, duration_seconds: 60 }
`)
  expect(issues).toEqual([])
  expect(manifest?.runId).toBeUndefined()
  expect(manifest?.profile?.distribution).toBe("inline")
  expect(manifest?.network.targetPort).toBe(44_818)
  expect(manifest?.readiness).toMatchObject({ method: "structured_stdout", timeoutSeconds: 30 })
  expect(manifest?.roles[0]?.readiness?.method).toBe("structured_stdout")
  expect(manifest?.analyze).toBe(false)
})

test("roles with commands need no network, no profile and no readiness", () => {
  const { manifest, issues, warnings } = read(commandManifest)
  expect(issues).toEqual([])
  expect(warnings).toEqual([])
  expect(manifest?.roles[1]?.command).toEqual(["iperf3"])
  const plain = read("api_version: v1\nroles:\n  server: {command: a}\n  one: {command: b}\n")
  expect(plain.manifest?.roles[0]?.readiness).toBeUndefined()
})

test("a document's readiness holds for its servers, a role's own goes first, and batch roles have none", () => {
  const { manifest } = read(`api_version: v1
readiness: { method: tcp_connect, timeout_seconds: 0 }
roles:
  server: { command: a }
  other: { command: b, life: server, readiness: { method: delay, seconds: 2 } }
  client: { command: c }
`)
  expect(manifest?.roles.map((role) => role.readiness?.method)).toEqual([
    "tcp_connect",
    "delay",
    undefined,
  ])
  expect(manifest?.roles[0]?.readiness?.timeoutSeconds).toBe(30)
})

test("scalars are read as yaml.v3 reads them", () => {
  const { manifest, issues } = read(`api_version: v1
run_id: 2026-01-13
seed: 0x10
profile: { path: p.yaml }
network: { data_plane: { target_ip: 10.0.0.1, target_port: 0 } }
roles:
  client: { agent: 7, scenario: on, duration_seconds: 5 }
post_run: { analyze: yes }
`)
  expect(issues).toEqual([])
  expect(manifest).toMatchObject({ runId: "2026-01-13", seed: 16, analyze: true })
  expect(manifest?.network.targetPort).toBe(44_818)
  expect(manifest?.roles[0]).toMatchObject({ agent: "7", scenario: "on" })
})

test("the original's messages for a manifest without anything", () => {
  const { issues } = read("api_version: v2\nrun_id: x\n")
  expect(new Set(issues.map(({ path, message }) => `${path}: ${message}`))).toEqual(
    new Set([
      "api_version: must be 'v1', got 'v2'",
      "profile.path: required",
      "network.data_plane.target_ip: required",
      "roles: at least one of server or client must be defined",
    ]),
  )
})

test.each<[string, string, string]>([
  ["api_version: v1", "", "1:1 api_version: required"],
  ["api_version: v1", "api_version: v3", "1:14 api_version: must be 'v1', got 'v3'"],
  ["  path: profiles/tank.yaml", "", "3:1 profile.path: required"],
  [
    "  distribution: inline",
    "  distribution: pushed",
    "5:17 profile.distribution: must be one of: inline, push, preinstalled; did you mean 'push'?",
  ],
  [
    "    server_listen_ip: 127.0.0.1",
    "",
    "7:3 network.data_plane.server_listen_ip: required when server role is defined",
  ],
  [
    "    server_listen_ip: 127.0.0.1",
    "    server_listen_ip: localhost",
    "8:23 network.data_plane.server_listen_ip: must be a valid IP address",
  ],
  ["    target_ip: 127.0.0.1", "", "7:3 network.data_plane.target_ip: required"],
  [
    "    target_ip: 127.0.0.1",
    "    target_ip: 300.1.1.1",
    "9:16 network.data_plane.target_ip: must be a valid IP address",
  ],
  [
    "    target_port: 44818",
    "    target_port: 70000",
    "10:18 network.data_plane.target_port: must be from 0 to 65535, got 70000",
  ],
  [
    "    target_port: 44818",
    '    target_port: "44818"',
    "10:18 network.data_plane.target_port: must be a whole number, got '44818'",
  ],
  [
    "    personality: adapter",
    "    personality: logixlike",
    "14:18 roles.server.personality: must be one of: adapter, logix_like; did you mean 'logix_like'?",
  ],
  ["    scenario: baseline", "", "15:3 roles.client.scenario: required"],
  [
    "    scenario: baseline",
    "    scenario: profile",
    "15:3 roles.client.profile_role: required when scenario is 'profile'",
  ],
  ["    duration_seconds: 3", "", "15:3 roles.client.duration_seconds: must be > 0"],
  [
    "    duration_seconds: 3",
    "    duration_seconds: 0",
    "18:23 roles.client.duration_seconds: must be > 0",
  ],
  [
    "  method: structured_stdout",
    "  method: stdout-match",
    "21:11 readiness.method: must be one of: structured_stdout, tcp_connect, stdout_match, delay; did you mean 'stdout_match'?",
  ],
  [
    "  method: structured_stdout",
    "  method: stdout_match",
    "20:1 readiness.pattern: required when method is 'stdout_match'; write a regular expression",
  ],
  [
    "run_id: lab-7",
    "run_id: ..",
    "2:9 run_id: must be 1 to 128 of A-Z a-z 0-9 . _ - (it names a directory), not . or ..",
  ],
  [
    "run_id: lab-7",
    "run_id: a/b",
    "2:9 run_id: must be 1 to 128 of A-Z a-z 0-9 . _ - (it names a directory), not . or ..",
  ],
  [
    "  analyze: true",
    "  analyze: perhaps",
    "24:12 post_run.analyze: must be true or false, not 'perhaps'",
  ],
  [
    "    agent: local\n    personality: adapter",
    "    personality: adapter",
    "12:3 roles.server.agent: required",
  ],
  [
    "    interval_ms: 250",
    "    interval_ms: [1]",
    "19:18 roles.client.interval_ms: must be a whole number, got a list",
  ],
  ["run_id: lab-7", "run_id: {}", "2:9 run_id: must be a text, not a map"],
  ["network:", "network: 5\nsee:", "7:1 see: unknown key 'see'; did you mean 'seed'?"],
])("%j → %j: %s", (wanted, replacement, expected) => {
  expect(mistakes(withLine(wanted, replacement))).toContain(expected)
})

/** Where `^` stands in a text, and the text without it. */
function marked(text: string): { text: string; at: string } {
  const before = text.slice(0, text.indexOf("^")).split("\n")
  return { text: text.replace("^", ""), at: `${before.length}:${before.at(-1)!.length + 1}` }
}

const noCommand =
  "required: only server and client have a program of their own; write command: [program, argument]"

// `^` marks where the mistake is shown.
test.each<[string, string]>([
  [
    "one: {command: ^iperf3 -s}",
    "one.command: is one program and not a shell line; write command: [iperf3, -s]",
  ],
  ["one: {command: ^[]}", "one.command: must name a program; write command: [program, argument]"],
  ["one: {command: ^{a: b}}", "one.command: must be a text, not a map"],
  ["^one: {agent: local}", `one.command: ${noCommand}`],
  [
    "one: {command: x, ^args: 5}",
    "one.args: must be a list or a map; write [--flag, value] or {flag: value}",
  ],
  [
    "one: {command: x, args: {a: ^[1]}}",
    "one.args.a: must be a text, a number or a boolean, not a list",
  ],
  ["one: {command: x, args: [^[1]]}", "one.args[0]: must be a text, not a list"],
  ['one: {command: [^"a\\0b"]}', "one.command[0]: must not hold a NUL character"],
  [
    "one: {command: x, env: {1A: ^b}}",
    "one.env.1A: a variable's name is letters, digits and _; no digit first",
  ],
  [
    "one: {command: x, env: {TROUPE_RUN_ID: ^b}}",
    "one.env.TROUPE_RUN_ID: names that begin with TROUPE_ are set by troupe; choose another",
  ],
  [
    "one: {command: x, artifacts: [^../a]}",
    "one.artifacts[0]: must be a pattern inside the role's directory; write e.g. out/*.json",
  ],
  [
    "one: {command: x, artifacts: ^/etc/passwd}",
    "one.artifacts: must be a list, not a text; write [a, b]",
  ],
  [
    "one: {command: x, needs: {memory: ^lots}}",
    "one.needs.memory: must be a size, got 'lots'; write e.g. 512MiB or 2GiB",
  ],
  [
    "one: {command: x, limits: {memory: ^1kB}}",
    "one.limits.memory: must be at least 1MiB, got '1kB'; write e.g. 512MiB or 2GiB",
  ],
  [
    "one: {command: x, limits: {cpus: ^-1}}",
    "one.limits.cpus: must be a number of cores from 0.01 to 100000, got '-1'; write e.g. 0.5 or 2",
  ],
  ["one: {command: x, limits: {pids: ^0}}", "one.limits.pids: must be from 1 to 4194304, got 0"],
  [
    "one: {command: x, limits: {^files: 1}}",
    "one.limits.files: unknown key 'files'; write one of: memory, cpus, pids, open_files",
  ],
  ["one: {command: x, needs: {cores: ^0}}", "one.needs.cores: must be from 1 to 100000, got 0"],
  [
    "one: {command: x, needs: {^gpu: 1}}",
    "one.needs.gpu: unknown key 'gpu'; write one of: node, os, arch, cores, memory, labels, tools",
  ],
  [
    "one: {command: x, life: ^sever}",
    "one.life: must be one of: server, batch; did you mean 'server'?",
  ],
  [
    "one: {command: x, readiness: {method: stdout_match, pattern: ^'('}}",
    "one.readiness.pattern: is no regular expression: Invalid regular expression: /(/u: Unterminated group",
  ],
  [
    "one: {command: x, ^readiness: {method: delay}}",
    "one.readiness.seconds: required when method is 'delay'",
  ],
  ["one: {^comand: x}", "one.comand: unknown key 'comand'; did you mean 'command'?"],
  ["one: {command: x, port: ^0}", "one.port: must be from 1 to 65535, got 0"],
])("a role %s", (role, expected) => {
  const { text, at } = marked(`api_version: v1\nrun_id: r\nroles:\n  ${role}\n`)
  // Exactly one mistake, exactly one message.
  expect(mistakes(text)).toEqual([`${at} roles.${expected}`])
})

test.each([
  ["Server", "a role's name is a-z first, then a-z, 0-9, - or _; at most 63 characters"],
  ["bundle", "the name 'bundle' is taken by a step of every run; choose another"],
  ["collect-x", "the name 'collect-x' is taken by a step of every run; choose another"],
])("a role called %s", (name, message) => {
  expect(mistakes(`api_version: v1\nroles:\n  ${name}: {command: x}\n`)).toEqual([
    `3:3 roles.${name}: ${message}`,
  ])
})

test("a misspelt role is told what it was probably meant to be", () => {
  const [first] = mistakes("api_version: v1\nroles:\n  cliant: {agent: local}\n")
  expect(first).toMatch(/or did you mean the role 'client'\?$/)
})

test("ten mistakes, ten messages, in the order of the text", () => {
  const text = `api_version: v2
run_id: a b
profil:
  path: p.yaml
network:
  data_plane:
    target_ip: nowhere
    server_listen_ip: 0.0.0.0
    target_port: high
roles:
  server:
    agnet: local
    personality: adaptor
  client:
    agent: local
    scenario: baseline
    duration_seconds: -1
readiness:
  timeout_secs: 5
artifacts:
  bundle_format: rar
`
  expect(mistakes(text)).toEqual([
    "1:14 api_version: must be 'v1', got 'v2'",
    "2:9 run_id: must be 1 to 128 of A-Z a-z 0-9 . _ - (it names a directory), not . or ..",
    "3:1 profil: unknown key 'profil'; did you mean 'profile'?",
    "7:16 network.data_plane.target_ip: must be a valid IP address",
    "9:18 network.data_plane.target_port: must be a whole number, got 'high'",
    "12:5 roles.server.agnet: unknown key 'agnet'; did you mean 'agent'?",
    "13:18 roles.server.personality: must be one of: adapter, logix_like; did you mean 'adapter'?",
    "17:23 roles.client.duration_seconds: must be > 0",
    "19:3 readiness.timeout_secs: unknown key 'timeout_secs'; did you mean 'timeout_seconds'?",
    "21:18 artifacts.bundle_format: must be one of: dir, zip, got 'rar'",
  ])
  expect(read(text).manifest).toBeUndefined()
})

test("with lenient, unknown keys are warnings and what they hide is missing, as to the original", () => {
  const text = withLine("    agent: local\n    personality: adapter", "    agnet: local")
  const strict = read(text)
  expect(strict.issues.map((issue) => issue.path)).toEqual(["roles.server.agnet"])
  const lenient = read(text, true)
  expect(lenient.issues.map((issue) => issue.path)).toEqual(["roles.server.agent"])
  expect(lenient.warnings.map((issue) => issue.path)).toEqual(["roles.server.agnet"])
  expect(read(`${seedManifest}extra: 1\n`, true).manifest).toBeDefined()
})

test("what has no effect is said", () => {
  const { issues, warnings } = read(`api_version: v1
roles:
  one: {command: x, scenario: baseline, readiness: {method: delay, seconds: 1, pattern: a}}
`)
  expect(issues).toEqual([])
  expect(warnings.map(({ path }) => path)).toEqual([
    "roles.one.scenario",
    "roles.one.readiness",
    "roles.one.readiness.pattern",
  ])
})

test("YAML's own mistakes have places, and hide nothing but themselves", () => {
  expect(mistakes("api_version: v1\n\troles: x\n")[0]).toMatch(/^2:1 : YAML: /)
  expect(mistakes("a: [1\nb: 2\n")[0]).toMatch(/^\d+:\d+ : YAML: /)
  expect(mistakes("a: 1\n---\nb: 2\n")).toEqual([
    "2:1 : YAML: one document a file; remove the second `---`",
  ])
  expect(mistakes("- a\n- b\n")[0]).toBe("1:1 : must be a map of `key: value` lines, not a list")
  expect(mistakes("? {a: b}\n: c\n")).toContain("1:3 : a key must be a plain word")
  const twice = marked(`${commandManifest}^run_id: again\n`)
  expect(mistakes(twice.text)).toEqual([
    `${twice.at} run_id: stands here a second time; keep one of the two`,
  ])
})

test("anchors, aliases and merges are followed; what stands in the map itself wins", () => {
  const { manifest, issues } = read(`api_version: v1
roles:
  one: &base
    command: [x, &flag --fast]
    env: {A: "1"}
    port: 1
  two:
    <<: *base
    port: 2
    args: [*flag]
  three:
    <<: [{port: 3}, *base]
`)
  expect(issues).toEqual([])
  const [, two, three] = manifest?.roles ?? []
  expect(two).toMatchObject({ command: ["x", "--fast"], port: 2, args: { list: ["--fast"] } })
  expect(two?.env.get("A")).toBe("1")
  expect(three).toMatchObject({ command: ["x", "--fast"], port: 3 })
})

test("documents made to harm are refused quickly and in words", () => {
  expect(mistakes(`a: ${"x".repeat(70_000)}`)[0]).toMatch(/at most 65536 are read$/)
  expect(mistakes("[".repeat(60_000))).toEqual(["1:1 : the document is nested too deeply"])
  expect(mistakes("- ".repeat(30_000))[0]).toMatch(/the document is nested too deeply$/)
  expect(mistakes(`a: ${"[".repeat(200)}${"]".repeat(200)}`)[0]).toMatch(/nested deeper than 32/)
  expect(mistakes(`a: &x 1\nb: [${"*x, ".repeat(300)}]`)[0]).toMatch(/more than 200 aliases/)
  expect(mistakes("a: *nobody\n")[0]).toMatch(/alias/i)
  expect(mistakes("a: &x [*x]\n")[0]).toBe("1:8 : the alias `*x` stands inside what it names")
  const bomb = Array.from({ length: 20 }, (_, level) =>
    level === 0
      ? "a0: &a0 {k: 1}"
      : `a${level}: &a${level} {<<: [${`*a${level - 1}, `.repeat(9)}]}`,
  )
  expect(mistakes(bomb.join("\n")).length).toBeGreaterThan(0)
})

function named(text: string) {
  const { manifest } = read(text)
  return manifest && [manifestFiles(manifest), manifestBaseline(manifest)]
}

test("files and baseline are named for whoever must hand them in", () => {
  expect(named(seedManifest)).toEqual([["profiles/tank.yaml"], undefined])
  expect(named(withLine("  analyze: true", "  diff_baseline: runs/old"))).toEqual([
    ["profiles/tank.yaml"],
    "runs/old",
  ])
  const there = withLine("  distribution: inline", "  distribution: preinstalled")
  expect(named(there)).toEqual([[], undefined])
})

test("places of values are kept for mistakes that compiling finds", () => {
  const { text, at } = marked(commandManifest.replace('"${roles', '^"${roles'))
  const place = read(text).manifest?.places.get("roles.client.args[1]")
  expect(`${place?.line}:${place?.column}`).toBe(at)
})

// ---------------------------------------------------------------- no input crashes it

const words = fc.constantFrom(
  ..."api_version roles server client command args env needs << readiness v1 local".split(" "),
  ..."&a *a !!binary ${roles.server.address} ' \" | ~ [ ] { } : - ? , # --- 0x1f 1e9 .inf".split(
    " ",
  ),
  "\t",
  "\n",
  "\n  ",
  "\n    ",
)

test("any text gives a manifest or issues, never a throw, and every issue has a place", () => {
  const texts = fc.oneof(
    fc.string({ unit: "binary", maxLength: 300 }),
    fc.array(words, { maxLength: 60 }).map((parts) => parts.join(" ")),
    fc.array(words, { maxLength: 60 }).map((parts) => parts.join("")),
  )
  fc.assert(
    fc.property(texts, fc.boolean(), (text, lenient) => {
      const { manifest, issues } = read(text, lenient)
      expect(manifest === undefined).toBe(issues.length > 0)
      for (const issue of issues) {
        expect(issue.line).toBeGreaterThanOrEqual(1)
        expect(issue.column).toBeGreaterThanOrEqual(1)
        expect(issue.message.length).toBeGreaterThan(0)
      }
    }),
    { numRuns: 1000 },
  )
})

test("the seed manifest with any piece cut out or doubled never crashes it", () => {
  const position = fc.nat({ max: seedManifest.length })
  fc.assert(
    fc.property(position, position, fc.boolean(), (a, b, double) => {
      const [from, to] = a < b ? [a, b] : [b, a]
      const piece = seedManifest.slice(from, to)
      const text = double
        ? seedManifest.slice(0, to) + piece + seedManifest.slice(to)
        : seedManifest.slice(0, from) + seedManifest.slice(to)
      const { manifest, issues } = read(text)
      expect(manifest === undefined).toBe(issues.length > 0)
    }),
    { numRuns: 500 },
  )
})

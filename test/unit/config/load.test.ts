/** One schema drives flags, variables and file; every mistake is named at its place. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, test } from "vitest"
import { displayConfig, type Flags, loadConfig } from "../../../src/config/index.ts"
import { type Issue, isTroupeError } from "../../../src/schema/index.ts"

const directory = mkdtempSync(join(tmpdir(), "troupe-config-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const machine = {
  hostname: "lab-3.example.org",
  cores: 8,
  home: "/home/ana",
  root: false,
  cwd: "/w",
}
let files = 0

function load(input: { flags?: Flags; env?: Record<string, string>; yaml?: string }) {
  let file: string | undefined
  if (input.yaml !== undefined) {
    file = join(directory, `node-${++files}.yaml`)
    writeFileSync(file, input.yaml)
  }
  return loadConfig({
    machine,
    env: input.env ?? {},
    ...(input.flags && { flags: input.flags }),
    ...(file !== undefined && { file }),
  })
}

function issuesOf(run: () => unknown): readonly Issue[] {
  try {
    run()
  } catch (error) {
    if (isTroupeError(error) && error.code === "ERR_CONFIG_INVALID") return error.details.issues
    throw error
  }
  return []
}

test("says nothing, gets safe defaults", () => {
  expect(load({}).config).toEqual({
    name: "lab-3",
    data: "/home/ana/.local/state/troupe/troupe",
    cluster: "troupe",
    listen: { host: "127.0.0.1", port: 8771 },
    api: { host: "127.0.0.1", port: 8770 },
    join: [],
    labels: {},
    voter: "auto",
    insecure: false,
    mdns: true,
    capacity: 32,
    retention: {
      runsMs: 30 * 86_400_000,
      runsMax: 1000,
      keysMs: 7 * 86_400_000,
      blobBytes: 20 * 2 ** 30,
      outputBytes: 10 * 2 ** 30,
    },
    streamBytesMax: 256 * 2 ** 20,
    preset: "lan",
    timing: { tickMs: 25, heartbeatMs: 100, electionMinMs: 500 },
    logLevel: "info",
  })
})

test("is frozen to the bottom", () => {
  const { config } = load({ flags: { labels: ["a=b"] } })
  expect(Object.isFrozen(config)).toBe(true)
  expect(Object.isFrozen(config.listen)).toBe(true)
  expect(Object.isFrozen(config.labels)).toBe(true)
  expect(Object.isFrozen(config.join)).toBe(true)
})

test.each([
  ["default", {}, "lab-3"],
  ["file over default", { yaml: "name: from-file" }, "from-file"],
  ["variable over file", { yaml: "name: from-file", env: { TROUPE_NAME: "from-env" } }, "from-env"],
  [
    "flag over variable",
    { yaml: "name: f", env: { TROUPE_NAME: "e" }, flags: { name: "from-flag" } },
    "from-flag",
  ],
  ["an empty variable says nothing", { env: { TROUPE_NAME: "" } }, "lab-3"],
])("%s", (_case, input, name) => {
  expect(load(input).config.name).toBe(name)
})

test("a preset stands between the file and the defaults", () => {
  const { config, origins } = load({ yaml: "preset: wan\nheartbeatMs: 600\n" })
  expect(config.timing).toEqual({
    tickMs: 100,
    heartbeatMs: 600,
    electionMinMs: 2500,
  })
  expect(origins["heartbeatMs"]).toMatch(/node-\d+\.yaml:2:1$/)
  expect(origins["tickMs"]).toBe("preset wan")
  expect(origins["name"]).toBe("default")
})

test.each([
  ["root", { root: true }, {}, "/var/lib/troupe/troupe"],
  ["XDG_STATE_HOME", {}, { XDG_STATE_HOME: "/state" }, "/state/troupe/troupe"],
  [
    "a relative XDG_STATE_HOME is ignored",
    {},
    { XDG_STATE_HOME: "x" },
    "/home/ana/.local/state/troupe/troupe",
  ],
  ["the cluster's name", {}, { TROUPE_CLUSTER: "lab" }, "/home/ana/.local/state/troupe/lab"],
  ["relative to the working directory", {}, { TROUPE_DATA: "d/1" }, "/w/d/1"],
])("data directory: %s", (_case, machineChange, env, data) => {
  expect(loadConfig({ machine: { ...machine, ...machineChange }, env }).config.data).toBe(data)
})

test.each([
  ["...", "node"],
  ["-x-", "x"],
  ["käse", "k-se"],
  ["a".repeat(80), "a".repeat(63)],
])("a host called %s makes a name that is one", (hostname, name) => {
  expect(loadConfig({ machine: { ...machine, hostname }, env: {} }).config.name).toBe(name)
})

describe("lists, pairs and switches", () => {
  test("from flags", () => {
    const { config } = load({
      flags: {
        join: ["10.0.0.5", "[fe80::1]:9000", "lab-2"],
        labels: ["gpu=a100", "rack=3=x"],
        listen: "127.0.0.1",
        api: "[::1]:9999",
        mdns: false,
        capacity: "7",
      },
    })
    expect(config.join).toEqual([
      "/ip4/10.0.0.5/tcp/8771",
      "/ip6/fe80::1/tcp/9000",
      "/dns/lab-2/tcp/8771",
    ])
    expect(config.labels).toEqual({ gpu: "a100", rack: "3=x" })
    expect(config.api).toEqual({ host: "::1", port: 9999 })
    expect(config.mdns).toBe(false)
    expect(config.capacity).toBe(7)
  })

  test("from variables", () => {
    const { config } = load({
      env: {
        TROUPE_JOIN: "10.0.0.5:1, /ip4/10.0.0.6/tcp/2",
        TROUPE_LABELS: "gpu=a100,zone=b",
        TROUPE_INSECURE: "yes",
        TROUPE_API_LISTEN: "0.0.0.0",
        TROUPE_MDNS: "off",
        TROUPE_CAPACITY: "12",
        TROUPE_API: "http://elsewhere:8770",
      },
    })
    expect(config.join).toEqual(["/ip4/10.0.0.5/tcp/1", "/ip4/10.0.0.6/tcp/2"])
    expect(config.labels).toEqual({ gpu: "a100", zone: "b" })
    expect(config.insecure).toBe(true)
    expect(config.api).toEqual({ host: "0.0.0.0", port: 8770 })
    expect(config.mdns).toBe(false)
    expect(config.capacity).toBe(12)
  })

  test("from a file, where a label may be a number", () => {
    const { config } = load({
      yaml: "join: [10.0.0.5]\nlabels: { gpus: 4, fast: true }\nlogFile: logs/x\n",
    })
    expect(config.join).toEqual(["/ip4/10.0.0.5/tcp/8771"])
    expect(config.labels).toEqual({ gpus: "4", fast: "true" })
    expect(config.logFile).toBe("/w/logs/x")
  })
})

describe("safe by default", () => {
  test("an address that others reach needs --insecure, and each one is named", () => {
    const issues = issuesOf(() => load({ flags: { listen: "0.0.0.0" }, yaml: "api: 10.1.2.3\n" }))
    expect(issues.map((issue) => issue.path)).toEqual(["--listen", "api"])
    expect(issues[0]?.message).toContain("--insecure")
    expect(issues[1]).toMatchObject({ line: 1, column: 1 })
    const { config } = load({ flags: { listen: "0.0.0.0", insecure: true } })
    expect(config.listen.host).toBe("0.0.0.0")
  })

  test.each(["127.0.0.1", "127.8.8.8:1", "::1", "localhost"])("%s needs nothing", (listen) => {
    expect(issuesOf(() => load({ flags: { listen } }))).toEqual([])
  })

  test("--require-auth refuses to start and says that it comes later", () => {
    const issues = issuesOf(() => load({ flags: { requireAuth: true, insecure: true } }))
    expect(issues).toHaveLength(1)
    expect(issues[0]?.path).toBe("--require-auth")
    expect(issues[0]?.message).toContain("later version")
  })

  test("a listen address that cannot be read does not hide --insecure", () => {
    const issues = issuesOf(() => load({ flags: { name: "!", listen: "0.0.0.0", insecure: true } }))
    expect(issues.map((issue) => issue.path)).toEqual(["--name"])
  })
})

test("all mistakes of all sources at once, each at its place, with the nearest right spelling", () => {
  const yaml = `name: ok
clutser: lab
voter: nevr
labels:
  gpu: [1]
join:
  - 10.0.0.5
  - 10.0.0.999
capacity: many
`
  const issues = issuesOf(() =>
    load({
      flags: { listen: "nowhere:99999" },
      env: { TROUPE_VOTRE: "x", TROUPE_TICK_MS: "0" },
      yaml,
    }),
  )
  const seen = issues.map(({ path, line, column }) => [path, line, column])
  expect(seen).toEqual([
    ["--listen", undefined, undefined],
    ["TROUPE_VOTRE", undefined, undefined],
    ["TROUPE_TICK_MS", undefined, undefined],
    ["clutser", 2, 1],
    ["voter", 3, 8],
    ["labels.gpu", 5, 8],
    ["join.1", 8, 5],
    ["capacity", 9, 11],
  ])
  expect(issues[1]?.message).toBe("no such variable; did you mean TROUPE_VOTER?")
  expect(issues[3]?.message).toBe("unknown key; did you mean cluster?")
  expect(issues[4]?.message).toBe('must be auto or never, got "nevr"; did you mean never?')
})

test.each([
  ["broken YAML", "name: [a\n", ""],
  ["not a map", "- a\n", ""],
  ["a key twice", "name: a\nname: b\n", ""],
])("%s is an issue with a line", (_case, yaml, path) => {
  const issues = issuesOf(() => load({ yaml }))
  expect(issues[0]?.path).toBe(path)
  expect(issues[0]?.line).toBeGreaterThan(0)
})

test("an empty file says nothing", () => {
  expect(load({ yaml: "# nothing yet\n" }).config.name).toBe("lab-3")
})

test("a missing file is an issue of --config", () => {
  const file = join(directory, "absent.yaml")
  const issues = issuesOf(() => loadConfig({ machine, env: {}, file }))
  expect(issues[0]?.path).toBe("--config")
  expect(issues[0]?.message).toContain(file)
})

test("a variable that is near nothing is a warning: something else may own it", () => {
  const { warnings } = load({ env: { TROUPE_PORT_8770_TCP_PROTO: "tcp", TROUPE_RUN_ID: "r-1" } })
  expect(warnings).toEqual(["TROUPE_PORT_8770_TCP_PROTO is set but means nothing to troupe"])
})

test.each([
  ["two on one port", { listen: "127.0.0.1:9", api: "127.0.0.1:9" }, {}, "--api"],
  ["a heartbeat within a tick", {}, { TROUPE_HEARTBEAT_MS: "30" }, "TROUPE_HEARTBEAT_MS"],
  [
    "an election within three heartbeats",
    {},
    { TROUPE_ELECTION_MIN_MS: "200" },
    "TROUPE_ELECTION_MIN_MS",
  ],
  ["no room between elections", {}, { TROUPE_ELECTION_MAX_MS: "500" }, "TROUPE_ELECTION_MAX_MS"],
])("right alone, wrong together: %s", (_case, flags, env, path) => {
  expect(issuesOf(() => load({ flags, env })).map((issue) => issue.path)).toEqual([path])
})

test("port 0 twice is no clash", () => {
  expect(issuesOf(() => load({ flags: { listen: "127.0.0.1:0", api: "127.0.0.1:0" } }))).toEqual([])
})

test("is displayed flat", () => {
  const shown = displayConfig(load({ flags: { api: "[::1]:1" } }).config)
  expect(shown).toMatchObject({ api: "[::1]:1", listen: "127.0.0.1:8771", tickMs: 25 })
})

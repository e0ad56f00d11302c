/** What `node doctor` makes of what it sees. */
import { describe, expect, test } from "vitest"
import { checkCluster } from "../../../src/cli/doctor/cluster.ts"
import { type Abilities, checkAbilities, checkNode } from "../../../src/cli/doctor/machine.ts"
import { meets, parseListeners } from "../../../src/cli/doctor/ports.ts"
import { versionIn } from "../../../src/cli/doctor/tools.ts"
import type { HealthView, NodeHealth } from "../../../src/schema/index.ts"

test.each([
  ["Docker version 28.2.2, build e6534b4", "28.2.2"],
  ["iperf 3.12 (cJSON 1.7.15)", "3.12"],
  ["OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026", "9.2p1"],
  ["1.62.0\n  tailscale commit: 0123", "1.62.0"],
  ["nothing of the kind", undefined],
])("the version in %j", (text, version) => {
  expect(versionIn(text)).toBe(version)
})

test("who listens, as the kernel prints it", () => {
  const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2242 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:2242 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
`
  expect(parseListeners(text)).toEqual([{ host: "0100007F", port: 8770, inode: "4711" }])
  expect(parseListeners("")).toEqual([])
})

test.each([
  ["0100007F", "127.0.0.1", true],
  ["0100007F", "10.0.0.5", false],
  ["0500000A", "10.0.0.5", true],
  ["00000000", "10.0.0.5", true],
  ["0500000A", "0.0.0.0", true],
  ["00000000000000000000000000000000", "127.0.0.1", true],
  ["00000000000000000000000001000000", "::1", true],
  ["0100007F", "::1", false],
])("a listener at %s is in the way of %s: %s", (listener, host, isInTheWay) => {
  expect(meets(listener, host)).toBe(isInTheWay)
})

test("an old Node fails", () => {
  expect(checkNode("v24.21.0").status).toBe("ok")
  expect(checkNode("v20.19.0")).toMatchObject({
    status: "fail",
    remedy: "install Node 22 or newer",
  })
})

describe("abilities", () => {
  const all: Abilities = {
    trees: "cgroup2",
    limits: {
      enforced: ["memory", "cpus", "pids", "open_files"],
      missing: [],
      openFilesMax: 65_536,
      places: [{ version: 2, directory: "/x" }],
    },
  }

  test("all there", () => {
    expect(checkAbilities(all)).toEqual([
      { check: "process trees", status: "ok", says: "each job has a cgroup of its own (v2)" },
      { check: "limits", status: "ok", says: "memory, cpus, pids, open_files (cgroup v2)" },
      { check: "open files", status: "ok", says: "65536 at most for a process" },
    ])
  })

  test("what is missing has one line for each reason, and the reason's remedy", () => {
    const reason = "no cgroup hands them down; use Delegate=yes"
    const missing = ["memory", "cpus", "pids"].map((limit) => ({ limit, reason }))
    const limits = { enforced: ["open_files"], missing, openFilesMax: 1024, places: [] }
    expect(checkAbilities({ trees: "session", limits })).toMatchObject([
      { check: "process trees", status: "warn" },
      { check: "limits", status: "ok", says: "open_files" },
      {
        status: "warn",
        says: "memory, cpus, pids cannot be enforced: no cgroup hands them down",
        remedy: "use Delegate=yes",
      },
      { check: "open files", status: "warn" },
    ])
  })
})

describe("a cluster", () => {
  const node = (name: string, more: Partial<NodeHealth> = {}): NodeHealth => ({
    name,
    id: 1,
    role: "voter",
    leader: false,
    state: "connected",
    silentMs: 0,
    version: "1.0.0",
    clockOffsetMs: 3,
    ...more,
  })
  const health = (nodes: NodeHealth[], more: Partial<HealthView> = {}): HealthView => ({
    status: "ok",
    survives: 1,
    copies: 3,
    term: 2,
    node: "a",
    cluster: "troupe",
    voters: { total: 3, answering: 3, needed: 2 },
    problems: [],
    notes: [],
    nodes,
    loopDelayP99Ms: 1,
    fsyncP99Ms: 1,
    electionTimeoutMs: 500,
    electionReason: "",
    ...more,
  })
  const status = (view: HealthView, check: string) =>
    checkCluster(view, "1.0.0").find((one) => one.check === check)

  test("is well", () => {
    const found = checkCluster(health([node("a"), node("b")]), "1.0.0")
    expect(found.map((one) => one.status)).toEqual(["ok", "ok", "ok"])
  })

  test("versions that drifted are named with their nodes", () => {
    const drifted = health([node("a"), node("b", { version: "1.1.0" })])
    expect(status(drifted, "versions")).toMatchObject({
      status: "warn",
      says: "nodes differ from each other or from this program (1.0.0): 1.0.0: a; 1.1.0: b",
    })
    // All alike, but not like this program: it was updated, they were not.
    expect(status(health([node("a", { version: "0.9.0" })]), "versions")?.status).toBe("warn")
  })

  test.each([
    [999, "ok"],
    [-1000, "warn"],
    [60_000, "fail"],
  ])("a clock that is %i ms off: %s", (clockOffsetMs, expected) => {
    expect(status(health([node("a", { clockOffsetMs })]), "clock offset")?.status).toBe(expected)
  })

  test("a problem is shown, with where to read on", () => {
    const ill = health([node("a")], { status: "degraded", problems: ["b is silent", "c too"] })
    expect(status(ill, "cluster")).toMatchObject({
      status: "warn",
      says: "b is silent (and 1 more)",
      remedy: "see: troupe cluster health",
    })
  })
})

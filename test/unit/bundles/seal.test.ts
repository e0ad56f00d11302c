/** Describing, sealing, analysing and comparing: the bundle of a run from end to end. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { expect, test } from "vitest"
import {
  type BundleInput,
  createBundles,
  unpackBundle,
  verifyBundle,
} from "../../../src/bundles/index.ts"
import { aDirectory, anEnding, anInput, MemoryBlobs } from "./samples.ts"

async function described(input: BundleInput): Promise<Record<string, string>> {
  const files = await createBundles({ blobs: new MemoryBlobs() }).describe(input)
  return Object.fromEntries(
    files.map(({ path, content }) => [path, Buffer.from(content).toString()]),
  )
}

// ---------------------------------------------------------------- describe

test("the metadata files have the original's fields, order and form", async () => {
  const files = await described(anInput())
  expect(Object.keys(files)).toEqual([
    "manifest_resolved.yaml",
    "run_meta.json",
    "versions.json",
    "roles/server/role_meta.json",
    "roles/client/role_meta.json",
  ])
  expect(files["run_meta.json"]).toBe(`{
  "run_id": "lab-7",
  "started_at": "2026-11-20T14:50:11.65Z",
  "finished_at": "2026-11-20T14:50:14.85Z",
  "duration_seconds": 3.2,
  "status": "success",
  "controller_host": "alpha",
  "phases_completed": [
    "init",
    "stage",
    "server_start",
    "server_ready",
    "client_start",
    "client_done",
    "server_stop",
    "collect"
  ]
}`)
  expect(files["versions.json"]).toBe(`{
  "cipdip_version": "troupe 0.1.0",
  "controller_os": "linux",
  "controller_arch": "amd64",
  "roles": {
    "client": {
      "host": "beta",
      "os": "darwin",
      "arch": "arm64",
      "transport": "troupe"
    },
    "server": {
      "host": "alpha",
      "os": "linux",
      "arch": "amd64",
      "transport": "local"
    }
  }
}`)
  expect(files["roles/client/role_meta.json"]).toBe(`{
  "role": "client",
  "agent_id": "A1",
  "argv": [
    "iperf3",
    "-c",
    "\\u003c10.0.0.7\\u003e\\u0026"
  ],
  "started_at": "2026-11-20T14:50:11.67Z",
  "finished_at": "2026-11-20T14:50:14.67Z",
  "exit_code": 0,
  "pcap_files": [
    "a.pcap",
    "b.pcapng"
  ]
}`)
})

test("what did not exit by itself has exit code -1, as in Go, and says why", async () => {
  const files = await described(anInput())
  expect(JSON.parse(files["roles/server/role_meta.json"]!)).toMatchObject({
    exit_code: -1,
    outcome: "signalled",
    signal: "SIGTERM",
    reason: "stopped: nobody needs it",
  })
  const { roles } = anInput()
  // A server that exits by itself when it is told to stop still says why it did.
  const told = { ...roles[0]!, ending: anEnding({ exitCode: 1, stopped: true, reason: "stopped" }) }
  const stopped = await described(anInput({}, { roles: [told] }))
  expect(JSON.parse(stopped["roles/server/role_meta.json"]!)).toMatchObject({
    exit_code: 1,
    reason: "stopped",
  })
  const never = { ...roles[0]!, attempt: 0, ending: undefined }
  const unstarted = await described(anInput({}, { roles: [never] }))
  expect(JSON.parse(unstarted["roles/server/role_meta.json"]!)).toMatchObject({
    started_at: "0001-01-01T00:00:00Z",
    exit_code: -1,
    outcome: "not_started",
    reason: "it was never started",
  })
})

test.each([
  ["failed", "failed", undefined],
  ["timed_out", "timeout", undefined],
  ["cancelled", "failed", "cancelled"],
  ["lost", "failed", "lost"],
] as const)("the verdict %s is the status %s", async (verdict, status, beside) => {
  const files = await described(anInput({ verdict, reason: "because" }))
  const meta = JSON.parse(files["run_meta.json"]!) as Record<string, unknown>
  expect(meta).toMatchObject({ status, error: "because" })
  expect(meta["verdict"]).toBe(beside)
})

test("a partial bundle says what is missing and why", async () => {
  const missing = [{ path: "roles/client/stdout.log", reason: "node beta is lost" }]
  const files = await described(anInput({}, { missing }))
  expect(JSON.parse(files["run_meta.json"]!)).toMatchObject({
    status: "success",
    error: "missing from this bundle: roles/client/stdout.log (node beta is lost)",
    missing,
  })
})

// ---------------------------------------------------------------- seal

async function sealed(extra: Record<string, string> = {}) {
  const blobs = new MemoryBlobs()
  const bundles = createBundles({ blobs })
  const files = {
    "manifest.yaml": "api_version: v1\n",
    "roles/server/stdout.log": "Server listening\n",
    "roles/client/stdout.log": "",
    ...(await described(anInput())),
    ...extra,
  }
  const captures = { "roles/client/a.pcap": "x", "roles/client/b.pcapng": "y" }
  const tree = await blobs.tree({ ...files, ...captures })
  return { blobs, bundles, tree, seal: await bundles.seal(tree, "lab-7") }
}

test("a sealed bundle verifies by our rules and by sha256sum -c", async () => {
  const { blobs, seal, tree } = await sealed({
    "roles/client/we ird/ä\\b\n.txt": "odd name",
    "roles/client/trailing ": "space",
    "roles/client/hashes.txt": "of its own",
  })
  expect(seal.files).toBe(tree.files.length + 2)
  const target = join(await aDirectory(), "lab-7")
  const unpacked = await unpackBundle(blobs.read(seal.digest), target)
  expect(unpacked).toMatchObject({ label: "lab-7", files: seal.files })
  const report = await verifyBundle(target)
  expect(report).toMatchObject({ Valid: true, Errors: [], Warnings: [] })
  // All but hashes.txt itself and the role's file of that name, which the original skips too.
  expect(report).toMatchObject({ FilesChecked: seal.files, HashesVerified: seal.files - 2 })
  const checked = execFileSync("sha256sum", ["--strict", "-c", "SHA256SUMS"], { cwd: target })
  const lines = checked.toString().trim().split("\n")
  expect(lines).toHaveLength(seal.files - 2)
  for (const line of lines) expect(line).toMatch(/: OK$/)
  expect(lines).toContain("roles/client/trailing%20: OK")
})

test("the same tree in any order gives the same bytes; hashes come last", async () => {
  const { blobs, bundles, tree, seal } = await sealed()
  const again = await bundles.seal({ files: tree.files.toReversed() }, "lab-7")
  expect(again).toEqual(seal)
  const names = execFileSync("tar", ["-t"], { input: blobs.held.get(seal.digest)! })
  const listed = names.toString().trim().split("\n")
  expect(listed.slice(-2)).toEqual(["lab-7/SHA256SUMS", "lab-7/hashes.txt"])
  expect(listed.slice(0, -2)).toEqual(listed.slice(0, -2).toSorted())
})

test("an output that claims the name of a list of hashes does not get it; a path twice is an error", async () => {
  const blobs = new MemoryBlobs()
  const bundles = createBundles({ blobs })
  const tree = await blobs.tree({ "hashes.txt": "forged", SHA256SUMS: "forged", "a.txt": "a" })
  expect((await bundles.seal(tree, "x")).files).toBe(3)
  const twice = { files: [...tree.files, ...tree.files] }
  await expect(bundles.seal(twice, "x")).rejects.toMatchObject({ code: "ERR_BUNDLE_INVALID" })
})

// ---------------------------------------------------------------- analysis

const iperf = (bits: number, retransmits: number): string =>
  JSON.stringify(
    {
      start: { version: "iperf 3.12" },
      intervals: [],
      end: {
        sum_sent: { bits_per_second: bits * 1.01, retransmits },
        sum_received: { bits_per_second: bits, bytes: bits / 8, seconds: 1 },
      },
    },
    undefined,
    "\t",
  )

async function analysed(stdout: string, stderr = ""): Promise<Record<string, unknown>> {
  const blobs = new MemoryBlobs()
  const tree = await blobs.tree({
    ...(await described(anInput())),
    "roles/client/stdout.log": stdout,
    "roles/client/stderr.log": stderr,
  })
  const content = await createBundles({ blobs }).analyze(tree, anInput())
  const summary = JSON.parse(Buffer.from(content).toString()) as {
    run_id: string
    roles: { client: Record<string, unknown> }
  }
  expect(summary).toMatchObject({ run_id: "lab-7", status: "success", duration_seconds: 3.2 })
  return summary.roles.client
}

test("a role's summary: exit, duration, sizes, lines that speak of errors", async () => {
  const stderr = "warning: none\nERROR: one\nterror is no error word, but Error is\nFatal\n"
  expect(await analysed("a\nb\nc", stderr)).toEqual({
    exit_code: 0,
    duration_seconds: 3,
    stdout_bytes: 5,
    stderr_bytes: Buffer.byteLength(stderr),
    stdout_lines: 3,
    error_lines: 3,
    measurements: [],
  })
})

test("iperf3's JSON is recognised: TCP, UDP and its own errors", async () => {
  expect((await analysed(iperf(8e9, 3)))["measurements"]).toEqual([
    {
      tool: "iperf3",
      figures: {
        sent_bits_per_second: 8.08e9,
        retransmits: 3,
        bits_per_second: 8e9,
        bytes: 1e9,
        seconds: 1,
      },
    },
  ])
  const udp = {
    start: {},
    end: { sum: { bits_per_second: 5e7, jitter_ms: 0.02, lost_packets: 1, packets: 900 } },
  }
  expect((await analysed(JSON.stringify(udp)))["measurements"]).toEqual([
    {
      tool: "iperf3",
      figures: { bits_per_second: 5e7, jitter_ms: 0.02, lost_packets: 1, packets: 900 },
    },
  ])
  const refused = { start: {}, error: "unable to connect to server: Connection refused" }
  expect((await analysed(JSON.stringify(refused)))["measurements"]).toMatchObject([
    { tool: "iperf3", figures: {}, error: refused.error },
  ])
})

test("programs that report in lines: the last word of each counts", async () => {
  const stdout = `starting
{"stats":{"total_requests":6},"type":"stats"}
{"stats":{"total_requests":36},"type":"stats"}
{"tool":"throughput","bits_per_second":1000,"seconds":2}
`
  expect((await analysed(stdout))["measurements"]).toEqual([
    { tool: "stats", figures: { total_requests: 36 } },
    { tool: "throughput", figures: { bits_per_second: 1000, seconds: 2 } },
  ])
})

test("lines are found across pieces, and the last one without its end", async () => {
  const filler = "0123456789abcdef\n".repeat(5000)
  const stdout = `${filler}Error: ä\n${filler}{"bits_per_second": 7, "ä": 1}\n${filler}fatal`
  expect(await analysed(stdout)).toMatchObject({
    stdout_lines: 15_003,
    error_lines: 2,
    measurements: [{ tool: "json", figures: { bits_per_second: 7, ä: 1 } }],
  })
})

test("output of any size and kind is read without being held", async () => {
  const figures = '{"bits_per_second": 5}\n'
  const long = `${"x".repeat(3_000_000)}\n${figures}${"y\n".repeat(200_000)}`
  expect(await analysed(long)).toMatchObject({ stdout_lines: 200_002 })
  expect((await analysed(long))["measurements"]).toEqual([
    { tool: "json", figures: { bits_per_second: 5 } },
  ])
})

// ---------------------------------------------------------------- diff

async function compared(before: string, after: string): Promise<Record<string, unknown>> {
  const blobs = new MemoryBlobs()
  const bundles = createBundles({ blobs })
  const treeOf = async (stdout: string) =>
    blobs.tree({ ...(await described(anInput())), "roles/client/stdout.log": stdout })
  const { digest } = await bundles.seal(await treeOf(before), "old")
  const content = await bundles.diff(await treeOf(after), digest)
  return JSON.parse(Buffer.from(content).toString()) as Record<string, unknown>
}

test("two like bundles differ in nothing that matters", async () => {
  expect(await compared(iperf(8e9, 0), iperf(8.2e9, 0))).toMatchObject({
    baseline_run_id: "lab-7",
    differences: [],
    has_significant_diff: false,
    roles: { client: { bits_per_second: { baseline: 8e9, compare: 8.2e9, change_percent: 2.5 } } },
  })
})

test("a rate that fell, and one that is gone, are differences", async () => {
  expect(await compared(iperf(8e9, 0), iperf(4e9, 9))).toMatchObject({
    has_significant_diff: true,
    differences: ["client: sent_bits_per_second -50 %", "client: bits_per_second -50 %"],
  })
  expect(await compared(iperf(8e9, 0), "nothing")).toMatchObject({
    differences: [
      "client: sent_bits_per_second is no longer reported",
      "client: bits_per_second is no longer reported",
    ],
  })
})

test("exit codes, statuses and roles are compared too", async () => {
  const blobs = new MemoryBlobs()
  const bundles = createBundles({ blobs })
  const [server, client] = anInput().roles
  const before = await blobs.tree(await described(anInput({}, { roles: [server!, client!] })))
  const { digest } = await bundles.seal(before, "old")
  const failing = { ...client!, ending: anEnding({ exitCode: 3 }) }
  const other = { ...server!, role: "observer" }
  const now = anInput({ verdict: "failed", reason: "exit 3" }, { roles: [failing, other] })
  const content = await bundles.diff(await blobs.tree(await described(now)), digest)
  expect(JSON.parse(Buffer.from(content).toString())).toMatchObject({
    roles_added: ["observer"],
    roles_removed: ["server"],
    differences: [
      "status: success before, failed now",
      "role observer is new",
      "role server is gone",
      "client: exit code 0 before, 3 now",
    ],
  })
})

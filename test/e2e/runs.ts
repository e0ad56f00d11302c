/** Runs for end-to-end tests whose every step waits for a file, and their bundles taken apart by coreutils. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect } from "vitest"
import { verifyBundle } from "../../src/bundles/index.ts"
import type { RunEvent, RunView, SubmitRunInput } from "../../src/schema/index.ts"
import { eventually, get, type Node } from "./cluster.ts"

/** Files that let the roles go on: `ready`, `client`, `stop`. */
export interface Gates {
  readonly directory: string
  open(gate: "ready" | "client" | "stop"): void
  remove(): void
}

export function makeGates(): Gates {
  const directory = mkdtempSync(join(tmpdir(), "troupe-gates-"))
  return {
    directory,
    open: (gate) => writeFileSync(join(directory, gate), ""),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}

/** A server that is ready when told, a client that ends when told, a server that leaves when told. */
function gatedManifest(label: string, gates: Gates, baseline: boolean): string {
  const wait = (gate: string): string =>
    `while [ ! -e ${gates.directory}/${gate} ]; do sleep 0.05; done`
  return `api_version: v1
run_id: ${label}
profile:
  path: profile.yaml
  distribution: push
network:
  data_plane:
    target_ip: \${roles.server.address}
    server_listen_ip: \${roles.server.address}
roles:
  server:
    command: [sh, -c, "trap '${wait("stop")}; echo leaving; exit 0' TERM; ${wait("ready")}; echo server ready; while :; do sleep 0.05; done"]
  client:
    command: [sh, -c, "echo talking to $0; ${wait("client")}; cat profile.yaml; echo result > result.txt", "\${roles.server.address}"]
    artifacts: ["*.txt"]
readiness:
  method: stdout_match
  pattern: server ready
  timeout_seconds: 120
post_run:
  analyze: true
${baseline ? "  diff_baseline: baseline\n" : ""}`
}

const profile = Buffer.from("profile: of the test\n")

async function upload(
  node: Node,
  bytes: Buffer,
): Promise<{ digest: string; bytes: number; absolute: string }> {
  const digest = createHash("sha256").update(bytes).digest("hex")
  const response = await fetch(`${node.api}/v1/blobs/${digest}`, {
    method: "PUT",
    body: new Uint8Array(bytes),
    headers: { "content-type": "application/octet-stream" },
  })
  expect([200, 201]).toContain(response.status)
  return { digest, bytes: bytes.length, absolute: "/nowhere" }
}

export async function gatedRun(
  node: Node,
  options: { label: string; gates: Gates; baseline?: Buffer; on?: readonly Node[] },
): Promise<SubmitRunInput> {
  return {
    document: gatedManifest(options.label, options.gates, options.baseline !== undefined),
    // A run whose role dies with its node is rightly lost: only the leader's own death is tried here.
    agents: options.on ? { server: options.on[0]!.name, client: options.on[1]!.name } : {},
    files: {
      "profile.yaml": await upload(node, profile),
      ...(options.baseline && { baseline: await upload(node, options.baseline) }),
    },
  }
}

export async function downloadBundle(node: Node, run: string): Promise<Buffer> {
  return await eventually(
    "the bundle",
    async () => {
      const response = await fetch(`${node.api}/v1/runs/${run}/bundle`)
      if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
      return Buffer.from(await response.arrayBuffer())
    },
    20_000,
  )
}

/** Unpacks by tar, checks by sha256sum and by our own verifier; answers the files' names. */
export async function checkBundle(tar: Buffer): Promise<readonly string[]> {
  const directory = mkdtempSync(join(tmpdir(), "troupe-bundle-"))
  try {
    execFileSync("tar", ["-xf", "-", "-C", directory], { input: tar })
    const [label] = readdirSync(directory)
    const root = join(directory, label!)
    execFileSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: root })
    const report = await verifyBundle(root, {})
    expect(report.Errors ?? []).toEqual([])
    return readdirSync(root, { recursive: true }).map(String).toSorted()
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

export async function eventsOf(node: Node, run: string): Promise<readonly RunEvent[]> {
  const response = await fetch(`${node.api}/v1/runs/${run}/events`, {
    headers: { accept: "application/x-ndjson" },
  })
  const text = await response.text()
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as RunEvent)
}

/** Waits until the run is in this phase, as its view says. */
export async function reached(node: Node, run: string, phase: string): Promise<RunView> {
  return await eventually(`run ${run} to reach ${phase}`, async () => {
    const view = await get<RunView>(node, `/v1/runs/${run}`)
    return view.phase === phase ? view : undefined
  })
}

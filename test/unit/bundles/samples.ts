/** Bundles to test on: a recorded one in miniature, blobs in memory, and the input of a run's description. */
import { createHash } from "node:crypto"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { onTestFinished } from "vitest"
import type { BundleBlobs, BundleInput, BundleTree } from "../../../src/bundles/index.ts"
import type { Attempt, Ending, Phase, Task } from "../../../src/schema/index.ts"

export const sha256 = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("hex")

/** A directory that goes with the test. */
export async function aDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "troupe-bundles-"))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

export async function writeTree(
  root: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const place = join(root, path)
    await mkdir(dirname(place), { recursive: true })
    await writeFile(place, content)
  }
}

/** The files of a small bundle as the original writes one, hashes.txt included. */
export function smallBundle(): Record<string, string> {
  const files: Record<string, string> = {
    "manifest.yaml": "api_version: v1\n",
    "manifest_resolved.yaml": "manifest:\n    api_version: v1\n",
    "run_meta.json": '{"run_id": "small", "status": "success", "duration_seconds": 1.25}',
    "versions.json":
      '{"cipdip_version": "dev", "controller_os": "linux", "controller_arch": "amd64"}',
    "roles/client/role_meta.json": '{"role": "client", "exit_code": 0, "pcap_files": ["c.pcap"]}',
    "roles/client/c.pcap": "not empty",
    "roles/client/stdout.log": "hello\n",
  }
  const lines = Object.keys(files)
    .toSorted()
    .map((path) => `sha256:${sha256(files[path]!)}  ${path}\n`)
  return { ...files, "hashes.txt": lines.join("") }
}

/** Blobs in memory. */
export class MemoryBlobs implements BundleBlobs {
  readonly held = new Map<string, Uint8Array>()

  async put(source: AsyncIterable<Uint8Array>): Promise<{ digest: string; bytes: number }> {
    const chunks: Uint8Array[] = []
    for await (const chunk of source) chunks.push(Uint8Array.from(chunk))
    const content = Buffer.concat(chunks)
    const digest = sha256(content)
    this.held.set(digest, content)
    return { digest, bytes: content.length }
  }

  async *read(digest: string): AsyncGenerator<Uint8Array> {
    const content = this.held.get(digest)
    if (!content) throw new Error(`no blob ${digest}`)
    // In uneven pieces, as a disk and a network bring them.
    for (let at = 0, size = 1; at < content.length; at += size, size = (size * 7 + 3) % 5000) {
      yield content.subarray(at, at + size)
    }
  }

  async tree(files: Readonly<Record<string, string | Uint8Array>>): Promise<BundleTree> {
    const listed = Object.entries(files).map(async ([path, content]) => {
      const { digest, bytes } = await this.put(one(Buffer.from(content)))
      return { path, digest, bytes }
    })
    return { files: await Promise.all(listed) }
  }
}

export async function* one(content: Uint8Array): AsyncGenerator<Uint8Array> {
  if (content.length > 0) yield content
}

export async function gather(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

// ---------------------------------------------------------------- what a run looks like when it is described

const start = Date.UTC(2026, 10, 20, 14, 50, 11, 650)

export function anEnding(changes: Partial<Ending> = {}): Ending {
  return {
    outcome: "exited",
    exitCode: 0,
    stopped: false,
    startedAt: start + 20,
    endedAt: start + 3020,
    ...changes,
  }
}

function aTask(group: string, outputs: Task["outputs"] = []): Task {
  const attempt: Attempt = {
    n: 1,
    fence: 7,
    node: 1,
    lease: 2,
    address: "10.0.0.7",
    state: "ended",
    assignedAt: start + 10,
    endedAt: start + 3200,
  }
  return {
    run: "r-7",
    group,
    index: 0,
    name: group,
    state: "finished",
    result: "succeeded",
    attempts: [attempt],
    outputs,
  }
}

function phase(name: string, state: Phase["state"]): Phase {
  return { name, state }
}

/** A finished measurement between two hosts; `changes` go into the run. */
export function anInput(
  changes: Partial<BundleInput["run"]> = {},
  rest: Partial<BundleInput> = {},
): BundleInput {
  const completed = ["init", "stage", "server_start", "server_ready", "client_start", "client_done"]
  return {
    run: {
      id: "r-7",
      label: "lab-7",
      kind: "manifest",
      state: "ending",
      verdict: "succeeded",
      principal: "anonymous",
      entryNode: "alpha",
      createdAt: start,
      deadlineAt: start + 1_800_000,
      events: 9,
      phase: "bundle",
      phases: [
        ...completed.map((name) => phase(name, "completed")),
        phase("server_stop", "completed"),
        phase("collect", "completed"),
        phase("bundle", "active"),
        phase("analyze", "skipped"),
      ],
      tasks: [
        aTask("server"),
        aTask("client"),
        aTask("collect-client", [
          { path: "roles/client/stdout.log", digest: "d".repeat(64), bytes: 5 },
          { path: "roles/client/b.pcapng", digest: "d".repeat(64), bytes: 5 },
          { path: "roles/client/a.pcap", digest: "d".repeat(64), bytes: 5 },
        ]),
      ],
      ...changes,
    },
    plan: {
      version: 1,
      kind: "manifest",
      label: "lab-7",
      groups: [],
      phases: [],
      timeoutMs: 1_800_000,
      documents: [],
      variables: {},
      addresses: [],
      resolved: {},
      bundleFormat: "dir",
    },
    roles: [
      {
        role: "server",
        agentId: "local",
        host: "alpha",
        os: "linux",
        arch: "x64",
        argv: ["iperf3", "-s"],
        attempt: 1,
        ending: anEnding({
          outcome: "signalled",
          signal: "SIGTERM",
          stopped: true,
          reason: "stopped: nobody needs it",
        }),
      },
      {
        role: "client",
        agentId: "A1",
        host: "beta",
        os: "darwin",
        arch: "arm64",
        argv: ["iperf3", "-c", "<10.0.0.7>&"],
        attempt: 1,
        ending: anEnding(),
      },
    ],
    missing: [],
    controller: { host: "alpha", os: "linux", arch: "x64", version: "0.1.0" },
    resolved: "manifest:\n    api_version: v1\n",
    ...rest,
  }
}

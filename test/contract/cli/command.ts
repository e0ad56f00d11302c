/** The command line as a child process, and the real API over a scripted node for it to talk to. */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, onTestFinished } from "vitest"
import { createApi } from "../../../src/api/index.ts"
import { packDirectory } from "../../../src/bundles/index.ts"
import { createClock, silentLogger } from "../../../src/platform/index.ts"
import type { BundleRef } from "../../../src/schema/index.ts"
import { FakeFace } from "../../support/fake-face.ts"

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<Finished>
  /** Resolves when standard error holds the text; rejects when the process ends before. */
  says(text: string): Promise<void>
}

const main = join(import.meta.dirname, "../../../src/cli/main.ts")

// Stripping the types of a few hundred files is most of what a start costs; the children of one test file share it.
const compiled = mkdtempSync(join(tmpdir(), "troupe-compiled-"))
afterAll(() => rmSync(compiled, { recursive: true, force: true }))

/** A directory of its own for the test. */
export function aDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "troupe-cli-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Starts `troupe …` without a terminal and with an environment that holds nothing of the caller's. */
export function start(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; program?: readonly string[] } = {},
): Running {
  const [program, ...first] = options.program ?? [process.execPath, main]
  const child = spawn(program!, [...first, ...args], {
    cwd: options.cwd ?? tmpdir(),
    env: {
      PATH: process.env["PATH"] ?? "",
      HOME: tmpdir(),
      NODE_COMPILE_CACHE: compiled,
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let stdout = ""
  let stderr = ""
  let isOver = false
  const watchers = new Set<() => void>()
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
    for (const watcher of watchers) watcher()
  })
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => {
      isOver = true
      for (const watcher of watchers) watcher()
      resolve({ code, stdout, stderr })
    })
  })
  onTestFinished(() => {
    if (!isOver) child.kill("SIGKILL")
  })
  return {
    child,
    finished,
    says: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (stderr.includes(text)) resolve()
          else if (isOver) reject(new Error(`ended without saying ${text}:\n${stderr}`))
          else return
          watchers.delete(look)
        }
        watchers.add(look)
        look()
      }),
  }
}

export async function troupe(
  args: readonly string[],
  options: Parameters<typeof start>[1] = {},
): Promise<Finished> {
  return await start(args, options).finished
}

/** A scripted node behind the real API. */
export async function serve(): Promise<{ face: FakeFace; url: string }> {
  const clock = createClock()
  const face = new FakeFace({ clock })
  const api = createApi(
    { host: "127.0.0.1", port: 0, version: "0.0.0" },
    { face, clock, logger: silentLogger },
  )
  const { url } = await api.start()
  onTestFinished(() => api.stop())
  return { face, url }
}

/** Resolves when the scripted node was asked for `method`. */
export async function asked(face: FakeFace, method: FakeFace["calls"][number]["method"]) {
  const clock = createClock()
  while (!face.calls.some((call) => call.method === method)) await clock.sleep(5)
}

const hex = (content: string) => createHash("sha256").update(content).digest("hex")

/** The files of a small right bundle. */
export function bundleFiles(label: string): Record<string, string> {
  const files: Record<string, string> = {
    "manifest.yaml": "api_version: v1\n",
    "manifest_resolved.yaml": "manifest: {}\n",
    "run_meta.json": JSON.stringify({ run_id: label, status: "success" }),
    "versions.json": JSON.stringify({ cipdip_version: "troupe 0.0.0" }),
    "roles/server/stdout.log": "hello\n",
  }
  const lines = Object.keys(files)
    .toSorted()
    .map((path) => `sha256:${hex(files[path]!)}  ${path}\n`)
  return { ...files, "hashes.txt": lines.join("") }
}

export function writeFiles(directory: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), content)
  }
}

/** Those files as the node would hold them. */
export async function packedBundle(
  label: string,
  files: Readonly<Record<string, string>>,
): Promise<{ bundle: BundleRef; read: () => AsyncIterable<Uint8Array> }> {
  const directory = join(aDirectory(), label)
  writeFiles(directory, files)
  const pieces: Uint8Array[] = []
  for await (const piece of packDirectory(directory)) pieces.push(Uint8Array.from(piece))
  const bytes = Buffer.concat(pieces)
  const digest = createHash("sha256").update(bytes).digest("hex")
  async function* read() {
    yield new Uint8Array(bytes)
  }
  return {
    bundle: { digest, bytes: bytes.length, files: Object.keys(files).length, holders: [1, 2] },
    read,
  }
}

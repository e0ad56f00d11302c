/** Two real builds in one cluster (C-48): one that understands version 1 only, and this one; upgraded node by node
 *  while a run goes on, raised at the end, and never down again. */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { HealthView, NodeView, RunView } from "../../src/schema/index.ts"
import { eventually } from "./cluster.ts"
import { hasHosts, type Host, makeHosts } from "./hosts.ts"

const root = join(import.meta.dirname, "../..")
const manifest = (seconds: number): string =>
  `api_version: v1\nroles:\n  only:\n    command: [sleep, "${seconds}"]\n`

/** A program that was built, on a host. */
class BuiltNode {
  readonly name: string
  readonly #host: Host
  readonly #data: string
  #leaving: (() => Promise<number | null>) | undefined

  constructor(name: string, host: Host, directory: string) {
    this.name = name
    this.#host = host
    this.#data = join(directory, name)
  }

  get api(): string {
    return `http://${this.#host.address}:8770`
  }

  start(build: string): Promise<number | null> {
    const { address } = this.#host
    const flags = ["--name", this.name, "--data", this.#data, "--listen", address, "--insecure"]
    const log = ["--api", `${address}:8770`, "--log-file", `${this.#data}.log`]
    const program = [process.execPath, join(build, "troupe.js"), "node", "start"]
    const [command, ...args] = [...this.#host.enter, ...program, ...flags, ...log]
    const child = spawn(command!, args, { stdio: "ignore" })
    const ended = once(child, "exit").then(([code]) => code as number | null)
    this.#leaving = async () => {
      child.kill("SIGTERM")
      return await ended
    }
    return ended
  }

  async stop(): Promise<void> {
    await this.#leaving?.()
    this.#leaving = undefined
  }

  async get<T>(path: string): Promise<T> {
    const response = await fetch(`${this.api}${path}`, { signal: AbortSignal.timeout(5000) })
    if (!response.ok && response.status !== 503) throw new Error(`${path}: ${response.status}`)
    return (await response.json()) as T
  }

  async submit(document: string): Promise<string> {
    const response = await fetch(`${this.api}/v1/runs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ document, files: {} }),
      signal: AbortSignal.timeout(30_000),
    })
    if (!response.ok) throw new Error(`submit: ${response.status} ${await response.text()}`)
    return ((await response.json()) as RunView).id
  }
}

describe.skipIf(!hasHosts)("two real builds", () => {
  const directory = mkdtempSync(join(tmpdir(), "troupe-versions-"))
  const older = join(directory, "older")
  const newer = join(directory, "newer")
  let nodes: readonly BuiltNode[] = []
  let removeHosts: (() => void) | undefined

  beforeAll(() => {
    const build = (...flags: string[]): void => {
      execFileSync(process.execPath, [join(root, "scripts/build.ts"), ...flags], {
        stdio: "ignore",
      })
    }
    // LevelDB is not bundled.
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
    build("--out", older, "--versions", "1-1")
    build("--out", newer)
    const { hosts, remove } = makeHosts(3)
    removeHosts = remove
    nodes = hosts.map((host, place) => new BuiltNode(`n${place + 1}`, host, directory))
  })

  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.stop()))
    removeHosts?.()
    rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  })

  const survivesOne = async (): Promise<void> => {
    await eventually("the cluster to survive a loss", async () => {
      const health = await nodes[0]!.get<HealthView>("/health")
      return health.survives >= 1 || undefined
    })
  }

  /** By the form of the members' rows, as every node shows it. */
  const version = async (): Promise<number> => {
    const list = await nodes[0]!.get<{ items?: NodeView[] } | NodeView[]>("/v1/nodes")
    const views = Array.isArray(list) ? list : (list.items ?? [])
    expect(views).toHaveLength(3)
    return views.every(({ member }) => member.versions !== undefined) ? 2 : 1
  }

  test("a rolling upgrade with a run going on; the raise; an older build after it", async () => {
    for (const node of nodes) void node.start(older)
    await survivesOne()
    expect(await version()).toBe(1)
    const run = await nodes[0]!.submit(manifest(25))
    for (const node of nodes) {
      expect(await version()).toBe(1)
      await node.stop()
      void node.start(newer)
      await survivesOne()
    }
    await eventually("version 2", async () => ((await version()) === 2 ? true : undefined))
    const view = await eventually("the run to end", async () => {
      const found = await nodes[1]!.get<RunView>(`/v1/runs/${run}`)
      return found.state === "finished" ? found : undefined
    })
    expect(view.verdict).toBe("succeeded")

    // Never back: an older build stops before it touches what it does not understand.
    await nodes[2]!.stop()
    expect(await nodes[2]!.start(older)).toBe(76)
    const other = await nodes[0]!.submit(manifest(0))
    await eventually("work without it", async () => {
      const found = await nodes[0]!.get<RunView>(`/v1/runs/${other}`)
      return found.verdict === "succeeded" || undefined
    })
    void nodes[2]!.start(newer)
    await survivesOne()
  })
})

/** Jobs that behave badly, by the command line and REST alone: each is handled, and its verdict's reason says how. */
import { execFileSync, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, rmSync, statfsSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { HealthView, NodeView, RunView } from "../../src/schema/index.ts"
import { processesWith } from "../chaos/job-stories.ts"
import { type Cluster, eventually, finished, get, type Node, startCluster } from "./cluster.ts"
import { hasHosts } from "./hosts.ts"

const program = join(import.meta.dirname, "../../src/cli/main.ts")
const mib = 2 ** 20
/** A log segment more must fit into what a nearly full disk has left. */
const diskBytes = 2048 * mib
const nearlyFullShare = 0.94

interface Said {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

/** What the command line answers, asked at this node. */
async function troupe(at: Node, ...words: readonly string[]): Promise<Said> {
  const child = spawn(process.execPath, [program, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TROUPE_API: at.api },
  })
  const stdout: Buffer[] = []
  let stderr = ""
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (exit) => resolve(exit ?? -1))
  })
  return { code, stdout: Buffer.concat(stdout), stderr }
}

async function nothingLeft(mark: string): Promise<void> {
  await eventually(
    "every process of it to be gone",
    async () => await Promise.resolve(processesWith(mark).length === 0 || undefined),
  )
}

describe.skipIf(!hasHosts)("jobs that behave badly", () => {
  let cluster: Cluster
  let entry: Node
  let other: Node
  /** Its data directory is a small disk of its own. */
  let small: Node
  let names = 0

  beforeAll(async () => {
    cluster = await startCluster(3, { started: 2 })
    ;[entry, other, small] = cluster.nodes as [Node, Node, Node]
    mkdirSync(small.data, { recursive: true })
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", small.data])
    small.start()
    await cluster.survives(1)
  })

  afterAll(async () => {
    rmSync(filler(), { force: true })
    await small.stop()
    execFileSync("umount", ["-l", small.data])
    await cluster.end()
  })

  const filler = (): string => join(small.data, "filler")

  /** A shell's words as a job on a node; its processes carry a mark that is its own. */
  async function submit(
    on: Node,
    text: string,
    ...flags: readonly string[]
  ): Promise<{ readonly run: string; readonly mark: string }> {
    const name = `wild-${process.pid}-${names++}`
    const mark = `WILD_MARK=${name}`
    const words = ["--name", name, "--node", on.name, "--env", mark, "--detach", ...flags]
    const { code, stderr } = await troupe(entry, "job", "run", ...words, "--", "sh", "-c", text)
    expect(code, stderr).toBe(0)
    return { run: name, mark }
  }

  async function begun({ run }: { run: string }): Promise<void> {
    await eventually("its line", async () => {
      const response = await fetch(`${entry.api}/v1/runs/${run}/output`)
      const text = response.ok ? await response.text() : ""
      return text.includes("begun") || undefined
    })
  }

  async function enforces(node: Node, limit: string): Promise<boolean> {
    const { items } = await get<{ items: NodeView[] }>(entry, "/v1/nodes")
    const { labels } = items.find(({ member }) => member.name === node.name)!.member
    return labels[`troupe.limits.${limit}`] === "enforced"
  }

  test("one that forks, forks again from a session of its own and hears no TERM dies whole when it is cancelled", async () => {
    const deaf = "trap '' TERM HUP INT"
    const grandchild = `setsid sh -c "${deaf}; sh -c '${deaf}; while :; do sleep 1; done' & while :; do sleep 1; done" &`
    const job = await submit(
      other,
      `${deaf}; (${grandchild}) ; while :; do sleep 1; done & echo begun; while :; do sleep 1; done`,
    )
    await begun(job)
    await eventually(
      "all of it",
      async () => await Promise.resolve(processesWith(job.mark).length >= 5 || undefined),
    )
    const { code } = await troupe(entry, "runs", "cancel", job.run)
    expect(code).toBe(0)
    const view = await finished(entry, job.run)
    expect(view.verdict).toBe("cancelled")
    await nothingLeft(job.mark)
  })

  test("a fork bomb stays within its limit, and the reason says so", async ({ skip }) => {
    skip(!(await enforces(other, "pids")), "no limit of processes here")
    const bomb = "bomb() { bomb & bomb; }; bomb 2>/dev/null & echo begun; sleep 1000"
    const job = await submit(other, bomb, "--pids", "40", "--deadline", "3s")
    await begun(job)
    const most = { seen: 0 }
    const view = await eventually("its end", async () => {
      most.seen = Math.max(most.seen, processesWith(job.mark).length)
      const now = await get<RunView>(entry, `/v1/runs/${job.run}`)
      return now.state === "finished" ? now : undefined
    })
    expect(most.seen).toBeLessThanOrEqual(40)
    expect(view.verdict).toBe("failed")
    expect(view.reason).toMatch(/deadline of 3 s reached; refused \d+ times another process/)
    await nothingLeft(job.mark)
  })

  test("a memory hog is killed by its limit, and the reason says so", async ({ skip }) => {
    skip(!(await enforces(other, "memory")), "no limit of memory here")
    const job = await submit(other, "exec tail /dev/zero", "--memory", "64MiB")
    const view = await finished(entry, job.run)
    expect(view.verdict).toBe("failed")
    expect(view.reason).toContain("killed: out of memory (limit 64 MiB)")
    await nothingLeft(job.mark)
  })

  test("a job that fills its node's disk fails; the node is whole again when there is room", async () => {
    const job = await submit(small, `echo begun; head -c 4G /dev/zero > ${filler()}`)
    await eventually("a full disk or the end of its node", async () => {
      const now = await get<RunView>(entry, `/v1/runs/${job.run}`)
      return now.state === "finished" || !small.running || undefined
    })
    rmSync(filler())
    // A node whose log could not be written ends, now or in a moment, and is started again by whoever watches it.
    const watching = setInterval(() => {
      if (!small.running) small.start()
    }, 200)
    try {
      const view = await finished(entry, job.run)
      expect(view.verdict).toBe("failed")
      expect(view.reason).toContain("exited with code 1")
      const next = await submit(small, "true")
      expect((await finished(entry, next.run)).verdict).toBe("succeeded")
      await cluster.survives(1)
    } finally {
      clearInterval(watching)
    }
  })

  test("a node whose disk is nearly full takes nothing new, and explain says so, until there is room", async () => {
    const { bavail, bsize } = statfsSync(small.data)
    const bytes = Math.floor(bavail * bsize - (1 - nearlyFullShare) * diskBytes)
    execFileSync("fallocate", ["-l", String(bytes), filler()])
    // A start that comes before the node has said so is still taken.
    await eventually("the leader to know", async () => {
      const { nodes } = await get<HealthView>(entry, "/health")
      return nodes.find(({ name }) => name === small.name)?.full
    })
    const job = await submit(small, "true")
    const why = await eventually("a reason", async () => {
      const { stdout } = await troupe(entry, "explain", job.run)
      return stdout.toString().includes("of its disk in use") ? stdout.toString() : undefined
    })
    expect(why).toMatch(new RegExp(`${small.name}\\b.*9\\d % of its disk in use`))
    rmSync(filler())
    expect((await finished(entry, job.run)).verdict).toBe("succeeded")
  })

  test("a line of 10 MB and bytes that are no text come home as they were; input is at its end", async () => {
    const line = "head -c 10000000 /dev/zero | tr '\\0' x; echo; cat; head -c 1000000 /dev/zero"
    const said = await troupe(entry, "job", "run", "--node", other.name, "--", "sh", "-c", line)
    expect(said.code, said.stderr).toBe(0)
    const whole = Buffer.concat([
      Buffer.alloc(10_000_000, "x"),
      Buffer.from("\n"),
      Buffer.alloc(1_000_000),
    ])
    expect(said.stdout.length).toBe(whole.length)
    expect(sha256(said.stdout)).toBe(sha256(whole))
  })

  test("more output than is kept is cut, and said; the job's end is its own", async () => {
    const job = await submit(other, "yes | head -c 300M; exit 5")
    const view = await finished(entry, job.run)
    expect(view.reason).toContain("exited with code 5")
    const { stdout } = await troupe(entry, "logs", job.run, "--tail", "3")
    expect(stdout.toString()).toMatch(/output was cut/)
  })

  test("what cannot be run says why", async () => {
    const run = ["job", "run", "--node", other.name]
    const missing = await troupe(entry, ...run, "--", "no-such-program-anywhere")
    expect(missing.code).toBe(3)
    expect(missing.stderr).toContain("no-such-program-anywhere")
    const plain = await troupe(entry, ...run, "--", "/etc/passwd")
    expect(plain.code).toBe(3)
    expect(plain.stderr).toContain("/etc/passwd")
    const nowhere = await troupe(entry, ...run, "--cwd", "/no/such/place", "--", "true")
    expect(nowhere.code).toBe(3)
    expect(nowhere.stderr).toContain("/no/such/place")
  })
})

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex")
}

/** `troupe logs -f` of a real cluster: three nodes write, and the leader that is asked is killed meanwhile. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { HealthView, RunView } from "../../src/schema/index.ts"
import { type Cluster, eventually, finished, get, type Node, startCluster } from "./cluster.ts"
import { hasHosts } from "./hosts.ts"

const program = join(import.meta.dirname, "../../src/cli/main.ts")
const lines = 60

function troupe(at: readonly Node[], ...words: readonly string[]) {
  const child = spawn(process.execPath, [program, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TROUPE_API: at.map(({ api }) => api).join(",") },
  })
  const said = { stdout: "", stderr: "" }
  child.stdout.on("data", (chunk: Buffer) => (said.stdout += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()))
  const code = new Promise<number>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (exit) => resolve(exit ?? -1))
  })
  return { said, code }
}

describe.skipIf(!hasHosts)("merged output", () => {
  let cluster: Cluster
  beforeAll(async () => {
    cluster = await startCluster(3)
    await cluster.survives(1)
  })
  afterAll(async () => await cluster.end())

  test("every line of every task once and in order, over the death of the leader that was asked", async () => {
    const health = await get<HealthView>(cluster.nodes[0]!, "/v1/cluster/health")
    const leader = cluster.nodes.find(({ name }) => name === health.leader)!
    const others = cluster.nodes.filter((node) => node !== leader)
    const script = `n=1; while [ $n -le ${lines} ]; do echo "$TROUPE_INDEX line $n"; n=$((n+1)); sleep 0.1; done`
    const submitted = troupe(
      others,
      "job",
      "run",
      "--detach",
      "--count",
      "3",
      "--",
      "sh",
      "-c",
      script,
    )
    expect(await submitted.code, submitted.said.stderr).toBe(0)
    const run = submitted.said.stdout.trim()
    // The leader is asked first: its death ends the connection too.
    const following = troupe([leader, ...others], "logs", "-f", run)
    await eventually(
      "the first lines",
      async () => await Promise.resolve(following.said.stdout.split("\n").length > 20 || undefined),
    )
    await leader.kill()
    leader.start()
    const view: RunView = await finished(others[0]!, run)
    expect(view.verdict).toBe("succeeded")
    expect(await following.code, following.said.stderr).toBe(0)
    for (const index of [0, 1, 2]) {
      const own = following.said.stdout
        .split("\n")
        .filter((line) => line.startsWith(`job[${index}] |`))
        .map((line) => line.slice(`job[${index}] | `.length))
      expect(own).toEqual(Array.from({ length: lines }, (_, n) => `${index} line ${n + 1}`))
    }
    const afterwards = troupe(others, "logs", run, "--tail", "1")
    expect(await afterwards.code).toBe(0)
    expect(afterwards.said.stdout.trim().split("\n").toSorted()).toEqual(
      [0, 1, 2].map((index) => `job[${index}] | ${index} line ${lines}`),
    )
  }, 120_000)
})

/** Real nodes that are lost: what may be moved ends on its own host before it begins elsewhere; a drain empties a node. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, describe, expect, test } from "vitest"
import type { NodeView, RunView } from "../../src/schema/index.ts"
import {
  type Cluster,
  eventually,
  finished,
  get,
  type Node,
  runOf,
  startCluster,
} from "./cluster.ts"
import { typed } from "./hand.ts"
import { hasHosts } from "./hosts.ts"

interface Beat {
  readonly attempt: number
  readonly at: number
}

/** All hosts share one file system and one clock: every attempt says there that it lives. */
const beats = (file: string): readonly Beat[] =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number))
    .map(([attempt, at]) => ({ attempt: attempt!, at: at! }))

const script = (file: string): string =>
  `while :; do echo $TROUPE_ATTEMPT $(date +%s%3N) >> ${file}; sleep 0.05; done`

async function submitJob(to: Node, job: Record<string, unknown>): Promise<RunView> {
  const response = await fetch(`${to.api}/v1/jobs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ timeoutMs: 600_000, ...job }),
  })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  return (await response.json()) as RunView
}

const placeOf = async (from: Node, run: string, attempt: number): Promise<string | undefined> => {
  const [task] = (await runOf(from, run)).tasks
  return task?.attempts.at(-1)?.n === attempt ? task.node : undefined
}

describe.skipIf(!hasHosts)("a node that is lost", () => {
  let cluster: Cluster | undefined
  const directory = mkdtempSync(join(tmpdir(), "troupe-loss-"))

  afterEach(async () => {
    await cluster?.end()
    cluster = undefined
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  async function ready(): Promise<{ leader: Node; others: readonly Node[] }> {
    cluster = await startCluster(3)
    await cluster.survives(1)
    const leader = await cluster.leader()
    return { leader, others: cluster.nodes.filter((node) => node !== leader) }
  }

  const losses: readonly (readonly [string, (node: Node) => Promise<void> | void])[] = [
    ["killed (-9)", async (node) => await node.kill()],
    ["stopped (SIGSTOP)", (node) => node.pause()],
    ["cut off", (node) => node.host.cut()],
  ]

  test.each(losses)(
    "%s: its keeper ends what may be moved before that begins elsewhere",
    async (_, lose) => {
      const { leader, others } = await ready()
      const file = join(directory, `beats-${Date.now()}`)
      const run = await submitJob(leader, {
        command: ["sh", "-c", script(file)],
        onLoss: "requeue",
      })
      const first = await eventually("a place", async () => await placeOf(leader, run.id, 1))
      await eventually("a beat", async () => (beats(file).length > 0 ? true : undefined))
      const victim = others.find(({ name }) => name === first)!
      await lose(victim)
      await eventually("a second attempt", async () =>
        beats(file).some(({ attempt }) => attempt === 2) ? true : undefined,
      )
      const all = beats(file)
      const last = Math.max(...all.filter(({ attempt }) => attempt === 1).map(({ at }) => at))
      const begun = Math.min(...all.filter(({ attempt }) => attempt === 2).map(({ at }) => at))
      expect(last).toBeLessThan(begun)
      victim.host.heal()
      if (victim.running) victim.resume()
      else victim.start()
      await eventually("it to be back", async () => {
        const { items } = await get<{ items: NodeView[] }>(leader, "/v1/nodes")
        return items.every(({ state }) => state === "connected") || undefined
      })
      expect((await typed(leader, "runs", "cancel", run.id)).code).toBe(0)
      const over = await finished(leader, run.id)
      expect(over.verdict).toBe("cancelled")
      expect(over.tasks[0]!.attempts).toHaveLength(2)
    },
  )

  test("drained by hand: it says what is left, stops it at the deadline, and it runs elsewhere", async () => {
    const { leader, others } = await ready()
    const [victim] = others
    const file = join(directory, `drained-${Date.now()}`)
    const there = await submitJob(leader, {
      command: ["sh", "-c", script(file)],
      onLoss: "wait",
      count: 6,
    })
    await eventually("all to run", async () => {
      const { tasks } = await runOf(leader, there.id)
      return tasks.every(({ attempts }) => attempts.at(-1)?.startedAt !== undefined) || undefined
    })
    const drained = await typed(leader, "cluster", "drain", victim!.name, "--deadline", "2s")
    expect([drained.code, drained.stdout]).toEqual([
      0,
      `${victim!.name} is drained: nothing runs there\n`,
    ])
    expect(drained.stderr).toMatch(/attempts? still runs? there, stopped in 2\.0 s: /)
    const view = await eventually("all elsewhere", async () => {
      const run = await runOf(leader, there.id)
      return run.tasks.every(({ node }) => node !== victim!.name) ? run : undefined
    })
    expect(view.tasks.some(({ attempts }) => attempts.length === 2)).toBe(true)
    const listed = await typed(leader, "cluster", "list")
    expect(listed.stdout).toMatch(new RegExp(`${victim!.name} .*connected, drained`))
    const again = await typed(leader, "cluster", "uncordon", victim!.name)
    expect([again.code, again.stdout]).toEqual([0, `${victim!.name} takes work\n`])
    await typed(leader, "runs", "cancel", there.id)
    await finished(leader, there.id)
  })

  test("declared dead: not while it answers; then what waits for it runs elsewhere at once", async () => {
    const { leader, others } = await ready()
    const [victim] = others
    const file = join(directory, `dead-${Date.now()}`)
    const run = await submitJob(leader, { command: ["sh", "-c", script(file)], onLoss: "wait" })
    const place = await eventually("a place", async () => await placeOf(leader, run.id, 1))
    const lost = cluster!.nodes.find(({ name }) => name === place) ?? victim!
    const refused = await typed(leader, "cluster", "declare-dead", lost.name)
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringContaining("answers, so it is not dead"),
    ])
    lost.host.cut()
    await eventually("it to be silent", async () => {
      const { items } = await get<{ items: NodeView[] }>(leader, "/v1/nodes")
      const seen = items.find(({ member }) => member.name === lost.name)
      return (seen?.state === "silent" && (seen.silentMs ?? 0) > 3000) || undefined
    })
    const dead = await typed(leader, "cluster", "declare-dead", lost.name, "--reason", "gone")
    expect(dead.code, dead.stderr).toBe(0)
    await eventually("it elsewhere", async () => await placeOf(leader, run.id, 2))
    lost.host.heal()
    await eventually("only one to live", async () => {
      const before = beats(file).filter(({ attempt }) => attempt === 1).length
      await new Promise((resolve) => setTimeout(resolve, 500))
      return beats(file).filter(({ attempt }) => attempt === 1).length === before || undefined
    })
    await typed(leader, "runs", "cancel", run.id)
    await finished(leader, run.id)
  })
})

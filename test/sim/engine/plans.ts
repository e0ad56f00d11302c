/** Plans by dice: any groups, edges, lives, policies and needs, and what the commands of their members do. */
import type { Edge, Plan, Readiness, TaskGroup, Work } from "../../../src/schema/index.ts"
import type { LaunchSpec } from "../../../src/wire/index.ts"
import type { FakeJob } from "../../support/fake-keeper.ts"
import { aGroup, aPlan, aProcess, bookkeeping } from "../../support/plans.ts"
import type { SeededRandom } from "../../support/random.ts"

/** What every process of a group does, as far as dice leave it open; travels in its arguments. */
export interface Behaviour {
  /** How long it works, from and to; absent: until it is stopped. */
  readonly ms?: readonly [number, number]
  /** Chances: to exit with 3, to be killed by SEGV, not to start at all. */
  readonly fails: number
  readonly crashes: number
  readonly refuses: number
  readonly term: "die" | "ignore" | "code"
  /** When it says that it is ready, from and to; absent: never. */
  readonly readyMs?: readonly [number, number]
}

/** What tells apart worlds in which anything goes from those that only know what every version does. */
export interface PlanOptions {
  readonly machines: number
  /** Fields and kinds of state version 3. */
  readonly isNewest: boolean
  /** Long work that is moved when its node is lost, and little else. */
  readonly moves: boolean
}

const marks = ["started", "ready", "succeeded", "finished"] as const

export function randomPlan(label: string, random: SeededRandom, options: PlanOptions): Plan {
  const groups: TaskGroup[] = []
  const size = random.chance(0.3) ? 1 : random.between(2, 6)
  for (let place = 0; place < size; place++) {
    groups.push(randomGroup({ label, place, groups }, random, options))
  }
  const named = groups.map((group) => withClients(group, groups))
  const isManifest = !options.isNewest || random.chance(0.4)
  const isBundled = isManifest && random.chance(0.4)
  const priority = options.isNewest && random.chance(0.4) ? random.between(-2, 2) : undefined
  return aPlan([...named, ...(isBundled ? bookkeeping(named) : [])], {
    label,
    timeoutMs: options.moves ? 240_000 : random.pick([12_000, 40_000, 120_000, 240_000]),
    kind: isManifest ? "manifest" : "job",
    // What the bundle's own description is made of.
    resolved: { manifest: { run_id: label }, args: {} },
    ...(priority !== undefined && { priority }),
  })
}

/** A server that nobody uses would run for ever. */
function withClients(group: TaskGroup, groups: readonly TaskGroup[]): TaskGroup {
  const isUsed = groups.some((other) =>
    other.after.some(
      (edge) => edge.group === group.name && (edge.on === "started" || edge.on === "ready"),
    ),
  )
  return group.life === "server" && !isUsed ? { ...group, life: "batch" } : group
}

function randomGroup(
  where: { readonly label: string; readonly place: number; readonly groups: readonly TaskGroup[] },
  random: SeededRandom,
  options: PlanOptions,
): TaskGroup {
  const { label, place, groups } = where
  const name = `g${place}`
  const dice = random.next()
  const life = dice < 0.76 ? "batch" : dice < 0.92 ? "server" : "service"
  const after = randomEdges(groups, random)
  const anchor = after.length > 0 && random.chance(0.2) ? random.pick(after).group : undefined
  const isLarge = life === "batch" && random.chance(0.25)
  return aGroup(name, {
    count: isLarge ? random.between(5, 20) : random.between(1, 3),
    work: randomWork(label, { name, life, isLong: options.moves }, random),
    needs: randomNeeds(random, options),
    ...(anchor !== undefined && { with: anchor }),
    after,
    life,
    retries: random.chance(0.5) ? 0 : random.between(1, 4),
    backoffMs: random.pick([0, 100, 1000, 4000]),
    ...(!options.moves && random.chance(0.25) && { deadlineMs: random.between(300, 6000) }),
    graceMs: random.pick([200, 1000, 5000]),
    onLoss: random.pick(
      options.moves ? (["requeue"] as const) : (["wait", "wait", "requeue", "fail"] as const),
    ),
    vital: random.chance(0.85),
    ...(options.isNewest && newestFields(random)),
  })
}

function newestFields(random: SeededRandom): Partial<TaskGroup> {
  return {
    ...(random.chance(0.25) && { parallel: random.between(1, 4) }),
    ...(random.chance(0.15) && { failFast: true as const }),
    ...(random.chance(0.15) && { exclusive: random.pick(["node", "network"] as const) }),
    ...(random.chance(0.3) && { placing: random.pick(["spread", "pack"] as const) }),
    ...(random.chance(0.3) && { backoffMaxMs: random.between(100, 3000) }),
  }
}

function randomEdges(groups: readonly TaskGroup[], random: SeededRandom): Edge[] {
  if (groups.length === 0) return []
  const edges: Edge[] = []
  for (let count = random.between(0, 2); count > 0; count--) {
    const upstream = random.pick(groups)
    if (edges.some(({ group }) => group === upstream.name)) continue
    const isLong = upstream.life !== "batch" && random.chance(0.9)
    const on = isLong ? random.pick(["started", "ready"] as const) : random.pick(marks)
    edges.push({ group: upstream.name, on })
  }
  return edges
}

function randomNeeds(
  random: SeededRandom,
  { machines, isNewest }: PlanOptions,
): TaskGroup["needs"] {
  return {
    ...(random.chance(0.12) && { node: `n${random.between(1, machines)}` }),
    ...(random.chance(isNewest ? 0.3 : 0.15) && { cores: random.between(1, 4) }),
    ...(isNewest && random.chance(0.15) && { memoryBytes: random.between(1, 6) * 2 ** 30 }),
    ...(isNewest && random.chance(0.08) && { gpus: random.between(1, 2) }),
    ...(random.chance(0.12) && { labels: { zone: random.pick(["a", "b"]) } }),
  }
}

function randomWork(
  label: string,
  group: { readonly name: string; readonly life: TaskGroup["life"]; readonly isLong: boolean },
  random: SeededRandom,
): Work {
  const { name, life } = group
  const isLong = life !== "batch" && random.chance(0.85)
  const dice = group.isLong ? 1 : random.next()
  const ms = dice < 0.4 ? [1, 200] : dice < 0.75 ? [200, 4000] : [2000, 40_000]
  const saysReady = random.chance(life === "batch" ? 0.15 : 0.6)
  const isReady = saysReady && random.chance(0.95)
  const behaviour: Behaviour = {
    ...(!isLong && { ms: [ms[0]!, ms[1]!] as const }),
    fails: random.chance(0.2) ? random.pick([0.1, 0.5, 1]) : 0,
    crashes: random.chance(0.07) ? 0.3 : 0,
    refuses: random.chance(0.05) ? 0.3 : 0,
    term: random.pick(["die", "die", "ignore", "code"] as const),
    ...(isReady && { readyMs: [1, random.pick([10, 500, 2500])] as const }),
  }
  const readiness: Readiness = random.chance(0.3)
    ? { method: "delay", delayMs: random.between(1, 800), timeoutMs: 3000 }
    : { method: "stdout_match", pattern: "ready", timeoutMs: random.pick([2000, 8000]) }
  return aProcess({
    argv: ["job", label, name, JSON.stringify(behaviour)],
    directory: random.chance(0.3),
    ...(saysReady && { readiness }),
  })
}

/** Whose process this is: label of the run, name of the group. */
export function ownerOf(spec: LaunchSpec): { readonly label: string; readonly group: string } {
  return { label: spec.argv[1]!, group: spec.argv[2]! }
}

/** One process of a group. */
export function script(spec: LaunchSpec, random: SeededRandom): FakeJob {
  const behaviour = JSON.parse(spec.argv[3]!) as Behaviour
  const { ms, readyMs, fails, crashes, refuses, term } = behaviour
  if (random.chance(refuses)) return { problem: "no such program" }
  const isKilled = random.chance(crashes)
  const output = readyMs && [{ atMs: random.between(...readyMs), text: "ready\n" }]
  return {
    ...(ms && { durationMs: random.between(...ms) }),
    ...(isKilled ? { signal: "SIGSEGV" } : { exitCode: random.chance(fails) ? 3 : 0 }),
    onTerm: term === "code" ? { exitCode: 0 } : term,
    ...(output && { output }),
  }
}

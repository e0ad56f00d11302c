/** When the faults are over: the cluster heals within a bound, and what it then tells is compared with everything told before. */
import type {
  ClusterStatus,
  HealthView,
  Run,
  RunEvent,
  RunList,
  RunView,
} from "../../src/schema/index.ts"
import type * as storage from "../../src/storage/index.ts"
import { attemptsOf, sightOf } from "../histories/index.ts"
import type { Machine } from "./machine.ts"
import { ask } from "./nemesis.ts"
import { appendRecord, microseconds } from "./record.ts"
import { type JobLine, readJobs } from "./requests.ts"

/** After the last fault: a leader, everybody with it, every run finished. */
const wholeMs = 90_000
const finishedMs = 180_000
const pollMs = 250
const askMs = 10_000
const pageSize = 500
const askedAtOnce = 8

export class EndError extends Error {}

export async function until<T>(
  what: string,
  limitMs: number,
  look: () => Promise<T | undefined | string>,
): Promise<T> {
  const limit = Date.now() + limitMs
  for (;;) {
    const found = await look()
    if (found !== undefined && typeof found !== "string") return found
    if (Date.now() > limit) {
      throw new EndError(
        `not within ${limitMs / 1000} s of calm: ${what} (${typeof found === "string" ? found : "no answer"})`,
      )
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

/** Everything is healed by now. */
export async function calm(machines: readonly Machine[]): Promise<{ wholeAfterMs: number }> {
  const begun = Date.now()
  await until("all nodes follow one leader", wholeMs, async () => {
    const seen = await Promise.all(machines.map((one) => ask<HealthView>(one, "/health", askMs)))
    const voters = machines.length >= 7 ? 5 : 3
    const isWhole = seen.every(
      (one) =>
        one?.leader !== undefined &&
        one.leader === seen[0]?.leader &&
        one.survives >= (voters - 1) / 2,
    )
    return (
      isWhole ||
      JSON.stringify(seen.map((one) => one && [one.node, one.leader, one.survives, one.notes]))
    )
  })
  return { wholeAfterMs: Date.now() - begun }
}

/** The whole list as this node tells it, oldest last. */
async function listOf(machine: Machine): Promise<Run[] | undefined> {
  const items: Run[] = []
  let cursor = ""
  for (;;) {
    const list = await ask<RunList>(machine, `/v1/runs?limit=${pageSize}${cursor}`, askMs)
    if (!list) return undefined
    items.push(...list.items)
    if (list.nextCursor === undefined) return items
    cursor = `&cursor=${list.nextCursor}`
  }
}

export async function allFinished(machines: readonly Machine[]): Promise<readonly Run[]> {
  return await until("every run is finished", finishedMs, async () => {
    const runs = await listOf(machines[0]!)
    const open = runs?.filter(({ state }) => state !== "finished")
    if (open && open.length > 0) {
      const shown = open
        .slice(0, 5)
        .map(({ id, state, reason }) => `${id} ${state} ${reason ?? ""}`)
      return `${open.length} of ${runs?.length}: ${shown.join(", ")}`
    }
    return runs
  })
}

/** Every node's list, one after another: into the record, and equal. */
export async function sameLists(machines: readonly Machine[], file: string): Promise<string[]> {
  const texts = new Map<string, string>()
  const faults: string[] = []
  for (const machine of machines) {
    const invokedAt = microseconds()
    const runs = await listOf(machine)
    if (!runs) {
      faults.push(`${machine.name} does not tell its list`)
      continue
    }
    const items = runs.map((run) => ({ ...sightOf(run), key: run.key ?? "" }))
    const times = { invokedAt, completedAt: microseconds() }
    const page = {
      client: `end-${machine.name}`,
      node: machine.name,
      ...times,
      items,
      isWhole: true,
    }
    appendRecord(file, { type: "page", ...page })
    texts.set(machine.name, JSON.stringify(runs))
  }
  if (new Set(texts.values()).size > 1) {
    faults.push(`the lists of ${[...texts.keys()].join(", ")} differ`)
  }
  return faults
}

/** Each run's own story: accepted once, finished once, each attempt ended once, by the word of the events. */
export async function stories(input: {
  readonly runs: readonly Run[]
  readonly machines: readonly Machine[]
  readonly jobsFile: string
  readonly file: string
}): Promise<string[]> {
  const { runs, machines, jobsFile, file } = input
  const jobs = Map.groupBy(readJobs(jobsFile), (line) => line.run)
  const faults = startedOnce([...jobs.values()].flat())
  for (const run of jobs.keys()) {
    if (!runs.some(({ id }) => id === run))
      faults.push(`a job of ${run} ran, which is not in the list`)
  }
  for (let place = 0; place < runs.length; place += askedAtOnce) {
    const some = runs.slice(place, place + askedAtOnce)
    const told = some.map(async (run, at) => {
      const machine = machines[(place + at) % machines.length]!
      const view = await ask<RunView>(machine, `/v1/runs/${run.id}`, askMs)
      const events = await eventsOf(machine, run.id)
      if (!view || !events) return [`${machine.name} does not tell of ${run.id}`]
      for (const attempt of attemptsOf(view)) appendRecord(file, { type: "attempt", ...attempt })
      return storyOf(view, events, jobs.get(run.id) ?? [])
    })
    faults.push(...(await Promise.all(told)).flat())
  }
  return faults
}

function startedOnce(lines: readonly JobLine[]): string[] {
  const faults: string[] = []
  const seen = new Set<string>()
  for (const { word, run, task, n, fence } of lines) {
    const name = `${word} of ${run}/${task}.${n} under fence ${fence}`
    if (seen.has(name)) faults.push(`${name} twice`)
    seen.add(name)
  }
  return faults
}

function storyOf(view: RunView, events: readonly RunEvent[], jobs: readonly JobLine[]): string[] {
  const faults: string[] = []
  const { id, verdict } = view
  const times = (type: RunEvent["type"]): number =>
    events.filter((event) => event.type === type).length
  if (times("run-accepted") !== 1) faults.push(`${id} was accepted ${times("run-accepted")} times`)
  if (times("run-finished") !== 1) faults.push(`${id} finished ${times("run-finished")} times`)
  if (events.length !== view.events) {
    faults.push(`${id} has ${view.events} events, told are ${events.length}`)
  }
  const ends = events.filter(({ type, attempt }) => type === "task-ended" && attempt !== undefined)
  const ended = new Set(ends.map(({ task, attempt }) => `${task}.${attempt}`))
  if (ended.size !== ends.length) faults.push(`an attempt of ${id} ended twice`)
  if (verdict === undefined) faults.push(`${id} has no verdict`)
  for (const { task, n, fence } of jobs) {
    const attempt = view.tasks
      .find(({ name }) => name === task)
      ?.attempts.find((one) => one.n === n)
    if (attempt?.fence !== fence) {
      faults.push(`a job ran as ${id}/${task}.${n} under fence ${fence}, which was never given`)
    }
  }
  if (verdict !== "succeeded") return faults
  for (const task of view.tasks.filter(({ group }) => group === "only")) {
    const fence = task.attempts.at(-1)?.fence
    const words = jobs.filter((line) => line.fence === fence).map(({ word }) => word)
    if (words.join() !== "start,end") {
      faults.push(`${id} succeeded, and its job said '${words.join()}'`)
    }
  }
  return faults
}

async function eventsOf(machine: Machine, run: string): Promise<readonly RunEvent[] | undefined> {
  try {
    const response = await fetch(`${machine.api}/v1/runs/${run}/events`, {
      headers: { accept: "application/x-ndjson" },
      signal: AbortSignal.timeout(askMs),
    })
    const lines = (await response.text()).split("\n").filter((line) => line.startsWith("{"))
    return lines.map((line) => JSON.parse(line) as RunEvent)
  } catch {
    // Said as a fault by who asked.
    return undefined
  }
}

/** All have applied the same index, so that none is stopped while it still lags. */
export async function allApplied(machines: readonly Machine[]): Promise<void> {
  await until("all nodes have applied the same", wholeMs, async () => {
    const seen = await Promise.all(
      machines.map((one) => ask<ClusterStatus>(one, "/cluster/status", askMs)),
    )
    const replicas = seen.filter((one) => one?.role !== "worker")
    const applied = replicas.map((one) => one?.applied)
    return new Set(applied).size === 1 || applied.join()
  })
}

/** What no longer changes when every run is finished. */
const restingPrefixes = ["run/", "plan/", "group/", "task/", "event/", "key/", "label/"]

/** Rows of a node that was stopped. */
async function restingRows(machine: Machine, sources: string): Promise<string[]> {
  // The program's own storage: the working tree may be ahead of it.
  const { createTableStore } = (await import(`${sources}/storage/index.ts`)) as Pick<
    typeof storage,
    "createTableStore"
  >
  const tables = createTableStore({ directory: machine.data })
  try {
    await tables.open()
    const rows: string[] = []
    for (const prefix of restingPrefixes) {
      for await (const [key, value] of tables.rows(prefix)) rows.push(`${key} ${value}`)
    }
    return rows
  } finally {
    await tables.close()
  }
}

/** The tables on the disks of stopped nodes, row by row. A node that holds none (a worker) is left out. */
export async function sameTables(
  machines: readonly Machine[],
  sources: string,
): Promise<{ readonly faults: readonly string[]; readonly rows: number }> {
  const held = await Promise.all(
    machines.map(async (machine) => ({ machine, rows: await restingRows(machine, sources) })),
  )
  const full = held.filter(({ rows }) => rows.length > 0)
  const [first] = full
  if (!first || full.length < 2) return { faults: ["fewer than two disks hold the runs"], rows: 0 }
  const faults: string[] = []
  for (const { machine, rows } of full.slice(1)) {
    const place = rows.findIndex((row, at) => row !== first.rows[at])
    if (place < 0 && rows.length === first.rows.length) continue
    faults.push(
      `the tables of ${first.machine.name} and ${machine.name} differ at row ${place}: ${first.rows[place]} and ${rows[place]}`,
    )
  }
  return { faults, rows: first.rows.length }
}

/** The merged output of whole runs in virtual time: while they go on and afterwards, with clocks that differ and nodes
 *  that are away. */
import { beforeEach, expect, test } from "vitest"
import type { MergedQuery, MergedRecord } from "../../../src/node/index.ts"
import { type Run, SubmitJob, SubmitRun } from "../../../src/schema/index.ts"
import type { Machine } from "../../sim/cluster/machine.ts"
import { formed, runsOf } from "../../sim/cluster/verify.ts"
import { World } from "../../sim/cluster/world.ts"

const minute = 60_000
const lines = 10
const everyMs = 400

let world: World
let leader: Machine
let others: readonly Machine[]

beforeEach(async () => {
  world = new World({
    seed: 5,
    script: (spec) => ({
      durationMs: lines * everyMs + 200,
      output: Array.from({ length: lines }, (_, n) => ({
        // The second speaks between the lines of the first.
        atMs: 100 + n * everyMs + (spec.task === "two" ? everyMs / 2 : 0),
        stream: n === 3 ? ("stderr" as const) : ("stdout" as const),
        text: `${spec.task} ${n}\n`,
      })),
    }),
  })
  for (const number of [1, 2, 3]) {
    world.add({ number, seeds: [1, 2, 3].filter((other) => other < number) }).start()
  }
  leader = await world.until("one cluster", minute, () => formed(world))
  others = world.machines.filter((machine) => machine !== leader)
})

async function submit(): Promise<string> {
  const [one, two] = others
  const document = `api_version: v1
roles:
  one: { command: [work], agent: ${one!.name} }
  two: { command: [work], agent: ${two!.name} }
`
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const caller = { principal: "anonymous", key: "one" }
  const work = leader.node!.submitRun(SubmitRun.parse({ document }), caller, { signal })
  return (await world.clock.drive(work)).run.id
}

const plain: MergedQuery = {
  tasks: [],
  streams: ["stdout", "stderr"],
  follow: false,
  positions: [],
}

/** Everything that is said, as it comes. */
function reading(run: string, query: Partial<MergedQuery> = {}, at: Machine = leader) {
  const records: MergedRecord[] = []
  const stop = new AbortController()
  const work = (async () => {
    const merged = await at.node!.mergedLog(run, { ...plain, ...query }, { signal: stop.signal })
    for await (const record of merged.records) records.push(record)
  })()
  work.catch(() => undefined)
  return { records, stop, work }
}

async function all(run: string, query: Partial<MergedQuery> = {}, at: Machine = leader) {
  const { records, work } = reading(run, query, at)
  await world.clock.drive(work)
  return records
}

function text(records: readonly MergedRecord[]): string[] {
  return records
    .flatMap((record) => (record.type === "output" ? [Buffer.from(record.data).toString()] : []))
    .join("")
    .split(/(?<=\n)/)
    .map((line) => line.trim())
}

const interleaved = Array.from({ length: lines }, (_, n) => [`one ${n}`, `two ${n}`]).flat()

async function finished(id: string): Promise<Run> {
  return await world.until("its verdict", minute, () =>
    world.machines
      .flatMap((machine) => runsOf(machine))
      .find((run) => run.id === id && run.state === "finished"),
  )
}

test("two tasks on two nodes are followed to the end, line by line in the order of time", async () => {
  const run = await submit()
  const { records, work } = reading(run, { follow: true })
  await world.pass(2000)
  const early = text(records).length
  expect(early, "it is shown while it is written").toBeGreaterThan(4)
  await world.clock.drive(work)
  expect(text(records)).toEqual(interleaved)
  expect(records.at(-1)).toMatchObject({ type: "end", run, lost: 0 })
  const streams = records.filter((one) => one.type === "output" && one.stream === "stderr")
  expect(streams.length).toBe(2)
})

test("a node whose clock is an hour ahead speaks in its turn", async () => {
  others[0]!.skewMs = 3_600_000
  const run = await submit()
  const records = await all(run, { follow: true })
  expect(text(records)).toEqual(interleaved)
  const times = records.flatMap((record) => (record.type === "output" ? [record.at] : []))
  expect(Math.max(...times) - Math.min(...times)).toBeLessThan(lines * everyMs + 1000)
})

test("afterwards the same comes from what was collected, at any node", async () => {
  const run = await submit()
  await finished(run)
  await world.pass(10_000)
  for (const machine of world.machines) {
    const records = await all(run, {}, machine)
    expect(text(records)).toEqual(interleaved)
    expect(records.at(-1)).toMatchObject({ type: "end", lost: 0 })
  }
})

test("one task, one stream, the last lines, what came since, and where a reader was", async () => {
  const run = await submit()
  await finished(run)
  expect(text(await all(run, { tasks: ["two"], streams: ["stderr"] }))).toEqual(["two 3"])
  const tail = await all(run, { tasks: ["one"], streams: ["stdout"], lines: 2 })
  expect(text(tail)).toEqual(["one 8", "one 9"])
  const position = { task: "one", attempt: 1, stream: "stdout", next: 6 * 6 } as const
  const rest = await all(run, { tasks: ["one"], streams: ["stdout"], positions: [position] })
  expect(text(rest)).toEqual(["one 7", "one 8", "one 9"])
  await expect(all(run, { tasks: ["three"] })).rejects.toMatchObject({
    code: "ERR_TASK_NOT_FOUND",
    message: expect.stringContaining("There are: one, two") as string,
  })
  await expect(all("r-999")).rejects.toMatchObject({ code: "ERR_RUN_NOT_FOUND" })
})

test("a node that is cut off is said, the others go on, and what it wrote follows when it is back", async () => {
  const run = await submit()
  const { records, work } = reading(run, { follow: true })
  await world.pass(1000)
  const [one] = others
  for (const { peerId } of world.machines)
    if (peerId !== one!.peerId) world.net.cut(one!.peerId, peerId)
  await world.pass(3500)
  const said = records.flatMap((record) => (record.type === "notice" ? [record.message] : []))
  expect(said.join("\n")).toContain(`${one!.name} does not answer`)
  expect(text(records)).toContain("two 8")
  expect(text(records)).not.toContain("one 8")
  world.net.heal()
  await world.clock.drive(work)
  expect(text(records).toSorted()).toEqual(interleaved.toSorted())
  const own = text(records).filter((line) => line.startsWith("one"))
  expect(own).toEqual(interleaved.filter((line) => line.startsWith("one")))
  expect(
    records.some((record) => record.type === "notice" && record.message.includes("answers again")),
  ).toBe(true)
})

test("a change of leader in between loses and doubles nothing", async () => {
  const run = await submit()
  const { records, work } = reading(run, { follow: true }, others[0]!)
  await world.pass(1500)
  leader.kill()
  await world.clock.drive(work)
  expect(text(records)).toEqual(interleaved)
})

test("whoever reads no further holds nothing but his own reading up", async () => {
  const run = await submit()
  const stop = new AbortController()
  const merged = await world.clock.drive(
    leader.node!.mergedLog(run, { ...plain, follow: true }, { signal: stop.signal }),
  )
  const records = merged.records[Symbol.asyncIterator]()
  await world.clock.drive(records.next())
  await finished(run)
  stop.abort(new Error("seen enough"))
  await expect(world.clock.drive(records.next())).rejects.toThrow("seen enough")
})

test("a job's output stays on its node when nobody remembers its attempts, until retention takes it", async () => {
  const signal = world.clock.timeoutSignal(20_000, "a submission")
  const job = SubmitJob.parse({ command: ["work"], name: "one", count: 2 })
  const caller = { principal: "anonymous", key: "job" }
  const { run } = await world.clock.drive(leader.node!.submitJob(job, caller, { signal }))
  await finished(run.id)
  // Forgotten by every keeper: only the files are left.
  await world.until("forgotten", minute, () =>
    world.machines.every((machine) => machine.keeper.list().length === 0),
  )
  await world.pass(2 * minute)
  const lost = others[0]!
  const records = await all(run.id, {}, lost)
  expect(text(records)).toHaveLength(2 * lines)
  expect(records.at(-1)).toMatchObject({ type: "end", lost: 0 })
  for (const machine of world.machines) machine.keeper.dropKept(new Set([run.id]))
  const gone = await all(run.id)
  expect(text(gone)).toEqual([""])
  const notices = gone.flatMap((record) => (record.type === "notice" ? [record.message] : []))
  expect(notices).toHaveLength(2)
  expect(notices[0]).toMatch(/^what job\[\d\] wrote was removed from n\d by retention at \d{4}-/)
  expect(gone.at(-1)).toMatchObject({ type: "end", lost: 2 })
})

/** The loop's probe by a clock that is moved by hand: what it measures, and whom it names. */
import { expect, test } from "vitest"
import { createLoopProbe, type LoopProbe } from "../../../src/platform/index.ts"
import { silentLogger } from "../../../src/platform/index.ts"
import { StallingClock } from "../../support/stalling-clock.ts"

interface Said {
  readonly level: "debug" | "warn"
  readonly ran: unknown
  readonly worstMs: unknown
  readonly times: unknown
}

interface Watched {
  readonly clock: StallingClock
  readonly probe: LoopProbe
  readonly said: Said[]
  /** CPU time that the thread uses from now on, ms. */
  readonly use: (ms: number) => void
  readonly collect: (ms: number) => void
}

function watch(): Watched {
  const clock = new StallingClock()
  const said: Said[] = []
  let cpu = 0
  let onCollection: (ms: number) => void = () => undefined
  const note =
    (level: Said["level"]) =>
    (_message: string, fields: Record<string, unknown> = {}): void => {
      const { ran, worstMs, times } = fields
      said.push({ level, ran, worstMs, times })
    }
  const probe = createLoopProbe({
    clock,
    logger: { ...silentLogger, debug: note("debug"), warn: note("warn") },
    cpuMs: () => cpu,
    watchCollections: (listener) => {
      onCollection = listener
      return () => undefined
    },
  })
  return { clock, probe, said, use: (ms) => (cpu += ms), collect: (ms) => onCollection(ms) }
}

test("a loop that keeps its time has no delay, and says nothing", () => {
  const { clock, probe, said } = watch()
  clock.advance(5000)
  expect(probe.delay()).toEqual({ p50Ms: 0, p99Ms: 0, maxMs: 0, worstMs: 0 })
  expect(said).toEqual([])
})

test("a stall is measured, and forgotten after a minute but for the worst ever", () => {
  const { clock, probe } = watch()
  clock.advance(1000)
  clock.stall(200)
  clock.advance(1000)
  // The timer that was due within the stall waited for at least 190 ms of it.
  expect(probe.delay().maxMs).toBeGreaterThanOrEqual(190)
  expect(probe.delay().maxMs).toBeLessThanOrEqual(200)
  clock.advance(60_000)
  expect(probe.delay().maxMs).toBe(0)
  expect(probe.delay().worstMs).toBeGreaterThanOrEqual(190)
})

test("a few stalls at the start are no p99", () => {
  const { clock, probe } = watch()
  for (let round = 0; round < 10; round++) clock.stall(300)
  clock.advance(2000)
  expect(probe.delay().maxMs).toBeGreaterThanOrEqual(290)
  expect(probe.delay().p99Ms).toBe(0)
})

test("one stall in a hundred looks is the p99, not the p50", () => {
  const { clock, probe } = watch()
  for (let round = 0; round < 100; round++) {
    clock.advance(300)
    clock.stall(50)
  }
  expect(probe.delay().p50Ms).toBe(0)
  expect(probe.delay().p99Ms).toBeGreaterThanOrEqual(40)
})

test("named work that takes long is named", () => {
  const { clock, probe, said, use } = watch()
  clock.advance(100)
  const answer = probe.during("sorting everything", () => {
    clock.stall(80)
    use(80)
    return 7
  })
  clock.advance(2000)
  expect(answer).toBe(7)
  expect(said).toMatchObject([{ level: "warn", ran: "sorting everything (80 ms)", times: 1 }])
})

test("work that throws is named too", () => {
  const { clock, probe, said, use } = watch()
  const failing = (): void => {
    clock.stall(80)
    use(80)
    throw new Error("no")
  }
  expect(() => probe.during("failing", failing)).toThrow("no")
  clock.advance(2000)
  expect(said).toMatchObject([{ ran: "failing (80 ms)" }])
})

test("a machine that gave no time is not blamed on us", () => {
  const { clock, said } = watch()
  clock.stall(300)
  clock.advance(2000)
  expect(said).toMatchObject([{ level: "debug" }])
  expect(said[0]?.ran).toMatch(/^nothing of ours/)
})

test("a collection is told even though it is heard of later", () => {
  const { clock, said, use, collect } = watch()
  clock.stall(60)
  use(60)
  clock.advance(50)
  collect(55)
  clock.advance(2000)
  expect(said).toMatchObject([{ level: "warn", ran: "garbage collection (55 ms)" }])
})

test("what has no name is said to have none; many stalls are one line", () => {
  const { clock, said, use } = watch()
  for (let round = 0; round < 5; round++) {
    clock.stall(30)
    use(30)
    clock.advance(20)
  }
  clock.advance(1000)
  expect(said).toMatchObject([{ level: "warn", times: 5 }])
  expect(said[0]?.ran).toMatch(/^work without a name/)
})

test("nothing is measured after the end", () => {
  const { clock, probe } = watch()
  probe.stop()
  clock.stall(500)
  clock.advance(1000)
  expect(probe.delay().worstMs).toBe(0)
})

/** A sign of life while nothing comes. */
import { expect, test } from "vitest"
import { withHeartbeat } from "../../../src/api/backpressure.ts"
import { ManualClock } from "../../support/manual-clock.ts"

async function* never(): AsyncGenerator<string> {
  await new Promise<void>(() => undefined)
  yield "never"
}

async function* broken(): AsyncGenerator<string> {
  yield "a"
  throw new Error("broken")
}

test("pieces pass; a beat comes for each silence and none between pieces", async () => {
  const clock = new ManualClock()
  async function* pieces() {
    yield "a"
    await clock.sleep(25)
    yield "b"
  }
  const stream = withHeartbeat(pieces(), { clock, everyMs: 10, beat: "." })
  const next = async () => (await stream.next()).value
  expect(await next()).toBe("a")
  for (const expected of [".", "."]) {
    const piece = next()
    await clock.waitForTimer(10)
    clock.advance(10)
    expect(await piece).toBe(expected)
  }
  const last = next()
  await clock.waitForTimer(10)
  clock.advance(5)
  expect(await last).toBe("b")
  expect(await stream.next()).toEqual({ done: true, value: undefined })
})

test("an error of the source is the stream's", async () => {
  const stream = withHeartbeat(broken(), { clock: new ManualClock(), everyMs: 10, beat: "." })
  await stream.next()
  await expect(stream.next()).rejects.toThrow("broken")
})

test("leaving in a silence does not wait for the source", async () => {
  const clock = new ManualClock()
  const stream = withHeartbeat(never(), { clock, everyMs: 10, beat: "." })
  const beat = stream.next()
  await clock.waitForTimer(10)
  clock.advance(10)
  await beat
  expect(await stream.return()).toEqual({ done: true, value: undefined })
})

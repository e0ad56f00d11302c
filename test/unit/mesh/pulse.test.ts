/** Silence is noticed, and only silence. */
import { expect, test } from "vitest"
import { Pulse } from "../../../src/mesh/pulse.ts"
import { VirtualClock } from "../../support/virtual-clock.ts"

function world(answers: (signal: AbortSignal) => Promise<void>) {
  const clock = new VirtualClock()
  const seen = { asked: 0, cut: [] as [string, number][] }
  const peers = ["a"]
  const pulse = new Pulse({
    clock,
    peers: () => peers,
    ping: (_peerId, signal) => (seen.asked++, answers(signal)),
    cut: (peerId) => {
      seen.cut.push([peerId, clock.boottime()])
      peers.length = 0
    },
  })
  pulse.start()
  return { clock, pulse, seen }
}

const never = (signal: AbortSignal) =>
  new Promise<void>((_resolve, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason as Error)),
  )

test("a peer that says nothing for five seconds is cut off", async () => {
  const { clock, seen } = world(never)
  await clock.pass(20_000)
  // Seen first at 0.5 s, asked two seconds later, given three.
  expect(seen).toEqual({ asked: 1, cut: [["a", 5500]] })
})

test("who is heard is not even asked", async () => {
  const { clock, pulse, seen } = world(never)
  for (let n = 0; n < 20; n++) {
    pulse.heard("a")
    await clock.pass(1000)
  }
  expect(seen).toEqual({ asked: 0, cut: [] })
})

test("who answers stays", async () => {
  const { clock, seen } = world(async () => undefined)
  await clock.pass(10_000)
  expect(seen.cut).toEqual([])
  expect(seen.asked).toBeGreaterThan(1)
})

test("a question that fails at once is no silence", async () => {
  const { clock, seen } = world(() => Promise.reject(new Error("connection lost")))
  await clock.pass(10_000)
  expect(seen.cut).toEqual([])
})

test("after its end it asks nobody", async () => {
  const { clock, pulse, seen } = world(never)
  pulse.stop()
  await clock.pass(10_000)
  expect(seen.asked).toBe(0)
})

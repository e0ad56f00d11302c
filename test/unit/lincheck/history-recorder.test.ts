/** Recorded calls: order, answers, lost answers, and what never was. */
import { expect, test } from "vitest"
import {
  checkHistory,
  describeFailure,
  HistoryRecorder,
  type RegisterCall,
  registerModel,
  type RegisterOutput,
} from "../../lincheck/index.ts"

test("calls are recorded with answers, without, or not at all", () => {
  const recorder = new HistoryRecorder<RegisterCall, RegisterOutput>()
  const first = recorder.invoke("a", { op: "write", input: 1 })
  const second = recorder.invoke("b", { op: "read", input: undefined })
  second.complete(1)
  recorder.invoke("b", { op: "write", input: 2 })
  recorder.invoke("c", { op: "write", input: 3 }).discard()
  first.complete(undefined)
  expect(recorder.history()).toEqual([
    { client: "a", op: "write", input: 1, invokedAt: 0, completedAt: 5, output: undefined },
    { client: "b", op: "read", input: undefined, invokedAt: 1, completedAt: 2, output: 1 },
    { client: "b", op: "write", input: 2, invokedAt: 3, completedAt: undefined, output: undefined },
  ])
  expect(checkHistory(registerModel, recorder.history()).verdict).toBe("ok")
})

test("a call ends once", () => {
  const call = new HistoryRecorder<RegisterCall, RegisterOutput>().invoke("a", {
    op: "write",
    input: 1,
  })
  call.complete(undefined)
  expect(() => call.discard()).toThrow("ended twice")
})

test("a failure in words", () => {
  const recorder = new HistoryRecorder<RegisterCall, RegisterOutput>()
  recorder.invoke("a", { op: "write", input: 1 }).complete(undefined)
  recorder.invoke("b", { op: "cas", input: { from: 1, to: 2 } })
  recorder.invoke("c", { op: "read", input: undefined }).complete(null)
  const { failure } = checkHistory(registerModel, recorder.history())
  expect(failure && describeFailure(registerModel, failure)).toBe(
    [
      "no order from time 4 on",
      "client c: read = nil, but the state before it could only be 1 or 2",
      "time 0 to 1        client a: write 1",
      "time 2 to ?        client b: cas 1 to 2, no answer yet",
      "time 3 to 4        client c: read = nil  <--",
    ].join("\n"),
  )
})

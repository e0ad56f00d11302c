/** Properties: real registers pass, invented values never do, and the definition is what is decided. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import {
  checkHistory,
  type HistoryEvent,
  type KvCall,
  kvModel,
  type RegisterCall,
  registerModel,
  type RegisterOutput,
  type RegisterValue,
} from "../../lincheck/index.ts"
import { get, isLinearizable, read, type RegisterEvent } from "./histories.ts"

const value = fc.integer({ min: 0, max: 3 })
const registerCall: fc.Arbitrary<RegisterCall> = fc.oneof(
  fc.constant({ op: "read" as const, input: undefined }),
  value.map((input) => ({ op: "write" as const, input })),
  fc.tuple(value, value).map(([from, to]) => ({ op: "cas" as const, input: { from, to } })),
)

/** A call, how long before and after its moment it began and ended, and whether answer and call came through. */
interface Planned<C> {
  readonly call: C
  readonly before: number
  readonly after: number
  readonly isAnswered: boolean
  readonly isLost: boolean
}

const planned = <C>(call: fc.Arbitrary<C>) =>
  fc.record({
    call,
    before: fc.integer({ min: 1, max: 40 }),
    after: fc.integer({ min: 1, max: 40 }),
    isAnswered: fc.boolean(),
    isLost: fc.boolean(),
  })

/** What a register that takes one call each ten units would have answered. */
function happened(plans: readonly Planned<RegisterCall>[]): RegisterEvent[] {
  let state: RegisterValue = null
  return plans.map(({ call, before, after, isAnswered, isLost }, client) => {
    const moment = client * 10
    let output: RegisterOutput | undefined
    if (isAnswered || !isLost) {
      if (call.op === "read") output = state
      if (call.op === "cas") output = state === call.input.from
      state = registerModel.step(state, call, undefined) ?? null
    }
    const completedAt = isAnswered ? moment + after : undefined
    return { ...call, client, invokedAt: moment - before, completedAt, output }
  })
}

test("what a real register answers is linearizable, however calls overlap or lose their answers", () => {
  fc.assert(
    fc.property(fc.array(planned(registerCall), { maxLength: 60 }), (plans) => {
      expect(checkHistory(registerModel, happened(plans)).verdict).toBe("ok")
    }),
  )
})

test("a read of what nobody wrote never is", () => {
  fc.assert(
    fc.property(
      fc.array(planned(registerCall), { maxLength: 40 }),
      fc.integer({ min: 0, max: 400 }),
      fc.integer({ min: 0, max: 40 }),
      (plans, at, lasts) => {
        const invented = read([at, at + lasts], 99)
        const { verdict, failure } = checkHistory(registerModel, [...happened(plans), invented])
        expect(verdict).toBe("bad")
        expect(failure?.last).toBe(invented)
      },
    ),
  )
})

const kvCall: fc.Arbitrary<KvCall> = fc
  .tuple(
    fc.constantFrom("get", "put", "append"),
    fc.constantFrom("a", "b"),
    fc.string({ maxLength: 2 }),
  )
  .map(([op, key, text]) => (op === "get" ? { op, input: { key } } : { op, input: { key, text } }))

test("what a real map answers is linearizable", () => {
  fc.assert(
    fc.property(fc.array(planned(kvCall), { maxLength: 40 }), (plans) => {
      const map = new Map<string, string>()
      const history = plans.map(({ call, before, after, isAnswered }, client) => {
        const { key } = call.input
        const old = map.get(key) ?? ""
        if (call.op === "put") map.set(key, call.input.text)
        if (call.op === "append") map.set(key, old + call.input.text)
        const moment = client * 10
        const completedAt = isAnswered ? moment + after : undefined
        const output = call.op === "get" ? old : undefined
        return { ...call, client, invokedAt: moment - before, completedAt, output }
      })
      expect(checkHistory(kvModel, history).verdict).toBe("ok")
    }),
  )
})

/** Any calls with any answers, few enough to try every order. */
const anyHistory = fc.array(
  fc
    .record({
      call: registerCall,
      client: fc.nat(9),
      invokedAt: fc.integer({ min: 0, max: 12 }),
      lasts: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
      answer: value,
      isFound: fc.boolean(),
    })
    .map(({ call, client, invokedAt, lasts, answer, isFound }): RegisterEvent => {
      const output = call.op === "read" ? answer : isFound
      const completedAt = lasts === undefined ? undefined : invokedAt + lasts
      return { ...call, client, invokedAt, completedAt, output }
    }),
  { maxLength: 6 },
)

test("the verdict is the definition's", () => {
  fc.assert(
    fc.property(anyHistory, (history) => {
      const isOk = isLinearizable(registerModel, history)
      expect(checkHistory(registerModel, history).verdict).toBe(isOk ? "ok" : "bad")
    }),
    { numRuns: 2000 },
  )
})

test("the prefix of a failure is the shortest bad one by the definition", () => {
  fc.assert(
    fc.property(anyHistory, (history) => {
      const { failure } = checkHistory(registerModel, history)
      if (!failure) return
      const ends = history
        .flatMap(({ completedAt }) => (completedAt === undefined ? [] : [completedAt]))
        .toSorted((left, right) => left - right)
      const isOkUntil = (end: number): boolean => isLinearizable(registerModel, until(history, end))
      // Completions at one moment are taken one by one, so the shortest ends at the first bad moment.
      expect(failure.last.completedAt).toBe(ends.find((end) => !isOkUntil(end)))
      expect(isLinearizable(registerModel, failure.prefix)).toBe(false)
      const shorter = failure.prefix.map((event) =>
        event === failure.last ? { ...event, completedAt: undefined } : event,
      )
      expect(isLinearizable(registerModel, shorter)).toBe(true)
      expect(failure.isShortest).toBe(true)
    }),
    { numRuns: 2000 },
  )
})

function until(
  history: readonly RegisterEvent[],
  end: number,
): HistoryEvent<RegisterCall, RegisterOutput>[] {
  return history
    .filter(({ invokedAt }) => invokedAt <= end)
    .map((event) => (event.completedAt! <= end ? event : { ...event, completedAt: undefined }))
}

/** Few texts, so that answers are often right: for the hints of a model whose states only grow. */
const anyMapHistory = fc.array(
  fc
    .record({
      op: fc.constantFrom("get", "put", "append", "append"),
      text: fc.constantFrom("x", "y"),
      client: fc.nat(9),
      invokedAt: fc.integer({ min: 0, max: 12 }),
      lasts: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
      answer: fc.constantFrom("", "x", "y", "xy", "yx", "xx", "xyx"),
    })
    .map(({ op, text, client, invokedAt, lasts, answer }): HistoryEvent<KvCall, string> => {
      const completedAt = lasts === undefined ? undefined : invokedAt + lasts
      const times = { client, invokedAt, completedAt }
      if (op === "get") return { op, input: { key: "a" }, ...times, output: answer }
      return { op, input: { key: "a", text }, ...times, output: undefined }
    }),
  { maxLength: 6 },
)

test("the verdict on a map is the definition's, and its failures name states that were possible", () => {
  fc.assert(
    fc.property(anyMapHistory, (history) => {
      const isOk = isLinearizable(kvModel, history)
      const { verdict, failure } = checkHistory(kvModel, history)
      expect(verdict).toBe(isOk ? "ok" : "bad")
      if (!failure) return
      const { prefix, last, states, hasAllStates } = failure
      const before = prefix.map((event) =>
        event === last ? { ...event, completedAt: undefined } : event,
      )
      expect(isLinearizable(kvModel, prefix)).toBe(false)
      expect(isLinearizable(kvModel, before)).toBe(true)
      expect(states.length).toBeGreaterThan(0)
      if (!hasAllStates) expect(states).toHaveLength(8)
      for (const { text } of states) {
        const after = last.completedAt! + 0.5
        const seen = get([after, after + 100], "a", text)
        expect(isLinearizable(kvModel, [...before, seen])).toBe(true)
      }
    }),
    { numRuns: 3000 },
  )
})

const no = (): boolean => false

test("leaving out the hints of a model changes no verdict", () => {
  let calls = 0
  const bare = { ...registerModel, isRead: no, isReset: no, kind: () => String(calls++) }
  fc.assert(
    fc.property(anyHistory, (history) => {
      expect(checkHistory(bare, history).verdict).toBe(checkHistory(registerModel, history).verdict)
    }),
    { numRuns: 1000 },
  )
})

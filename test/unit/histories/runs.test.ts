/** What can be true of runs and what cannot: each impossible history is told, and why. */
import { describe, expect, test } from "vitest"
import {
  type AttemptSight,
  fencesGrow,
  type Page,
  type RunHistory,
  RunRecorder,
  type Sight,
} from "../../histories/index.ts"
import { checkRuns } from "../../histories/index.ts"

type Event = RunHistory[number]

function sight(more: Partial<Sight> = {}): Sight {
  return {
    run: "r-5",
    state: "active",
    events: 1,
    verdict: undefined,
    cancelled: undefined,
    ...more,
  }
}

/** `from` and `to` in any unit; without `to` nobody knows what came of it. */
interface When {
  readonly from: number
  readonly to?: number
  readonly key?: string
}

function submit(body: string, output: Event["output"], { from, to, key = "k" }: When): Event {
  const times = { invokedAt: from, completedAt: to, client: from }
  return { op: "submit", input: { key, body }, ...times, output }
}

function accepted(run: string, existing = false): Event["output"] {
  return { type: "accepted", run, existing }
}

function look(output: Sight | "absent", { from, to = from + 1, key = "k" }: When): Event {
  const seen =
    output === "absent" ? ({ type: "absent" } as const) : { type: "seen" as const, sight: output }
  return {
    op: "look",
    input: { key },
    invokedAt: from,
    completedAt: to,
    client: from,
    output: seen,
  }
}

function cancel(reason: string, { from, to, key = "k" }: When): Event {
  const output = to === undefined ? undefined : ({ type: "cancelling" } as const)
  return {
    op: "cancel",
    input: { key, reason },
    invokedAt: from,
    completedAt: to,
    client: from,
    output,
  }
}

function faultsOf(history: RunHistory, pages: readonly Page[] = []): readonly string[] {
  return checkRuns({ history, pages, attempts: [] }).faults
}

const made = submit("a", accepted("r-5"), { from: 0, to: 10 })

describe("what can be", () => {
  const good: readonly [string, RunHistory][] = [
    [
      "a look before, beside and after a submit",
      [
        look("absent", { from: -5 }),
        look("absent", { from: 2 }),
        look(sight(), { from: 4 }),
        made,
        look(sight({ events: 3 }), { from: 12 }),
      ],
    ],
    [
      "a submit without an answer that took effect",
      [
        submit("a", undefined, { from: 0 }),
        look("absent", { from: 5 }),
        look(sight(), { from: 7 }),
        submit("a", accepted("r-5", true), { from: 9, to: 12 }),
      ],
    ],
    [
      "a submit without an answer that took none",
      [submit("a", undefined, { from: 0 }), look("absent", { from: 5 })],
    ],
    [
      "an own retry inside the cluster that meets its own run",
      [submit("a", accepted("r-5", true), { from: 0, to: 9 })],
    ],
    [
      "another body conflicts with the run of the first",
      [made, submit("b", { type: "conflict", run: "r-5" }, { from: 11, to: 12 })],
    ],
    [
      "a cancellation that nobody answered shows later",
      [
        made,
        cancel("x", { from: 11 }),
        look(sight({ events: 2 }), { from: 12 }),
        look(sight({ events: 3, cancelled: "x" }), { from: 14 }),
      ],
    ],
    [
      "a cancellation that came too late",
      [
        made,
        cancel("x", { from: 11, to: 12 }),
        look(sight({ state: "ending", events: 6 }), { from: 13 }),
        cancel("y", { from: 15, to: 16 }),
        look(sight({ state: "finished", events: 9, verdict: "succeeded" }), { from: 17 }),
      ],
    ],
    [
      "the first of two cancellations at once, whichever",
      [
        made,
        cancel("x", { from: 11, to: 20 }),
        cancel("y", { from: 12, to: 19 }),
        look(sight({ cancelled: "y", events: 4 }), { from: 21 }),
      ],
    ],
  ]
  test.each(good)("%s", (_name, history) => {
    expect(faultsOf(history)).toEqual([])
  })
})

describe("what cannot be", () => {
  const finished = sight({ state: "finished", events: 9, verdict: "succeeded" })
  const bad: readonly [string, RunHistory][] = [
    ["a stale read: absent after the submit was answered", [made, look("absent", { from: 11 })]],
    [
      "a stale read: progress goes back",
      [made, look(sight({ events: 4 }), { from: 11 }), look(sight({ events: 3 }), { from: 13 })],
    ],
    [
      "a lost write: seen, then gone",
      [
        submit("a", undefined, { from: 0 }),
        look(sight(), { from: 5 }),
        look("absent", { from: 7 }),
      ],
    ],
    [
      "a cancellation that was answered and is not there",
      [made, cancel("x", { from: 11, to: 12 }), look(sight({ events: 3 }), { from: 13 })],
    ],
    [
      "a second cancellation that overwrites the first",
      [
        made,
        cancel("x", { from: 11, to: 12 }),
        cancel("y", { from: 13, to: 14 }),
        look(sight({ cancelled: "y" }), { from: 15 }),
      ],
    ],
    [
      "a cancellation of what was over",
      [
        made,
        look(sight({ state: "ending", events: 5 }), { from: 11 }),
        cancel("x", { from: 13, to: 14 }),
        look(sight({ state: "ending", events: 6, cancelled: "x" }), { from: 15 }),
      ],
    ],
    ["two new runs of one key", [made, submit("a", accepted("r-9"), { from: 11, to: 12 })]],
    ["one run made twice", [made, submit("a", accepted("r-5"), { from: 11, to: 12 })]],
    ["another body accepted", [made, submit("b", accepted("r-5", true), { from: 11, to: 12 })]],
    [
      "the same body refused",
      [made, submit("a", { type: "conflict", run: "r-5" }, { from: 11, to: 12 })],
    ],
    [
      "a verdict that changes",
      [made, look(finished, { from: 11 }), look({ ...finished, verdict: "failed" }, { from: 13 })],
    ],
    [
      "a finished run that goes on",
      [made, look(finished, { from: 11 }), look({ ...finished, events: 10 }, { from: 13 })],
    ],
    ["a run that nobody submitted", [look(sight(), { from: 0 })]],
  ]
  test.each(bad)("%s", (_name, history) => {
    expect(faultsOf(history)).not.toEqual([])
  })

  test("among very many looks at once", () => {
    const looks = Array.from({ length: 400 }, (_, place) =>
      look(sight({ events: 2 + ((place * 7) % 20) }), {
        from: 11 + place / 1000,
        to: 1000 + place,
      }),
    )
    const back = look(sight({ events: 5 }), { from: 3000 })
    expect(faultsOf([made, ...looks])).toEqual([])
    expect(faultsOf([made, ...looks, back])[0]).toContain("not linearizable")
  })

  test("the key and what was seen stand in the words", () => {
    const [first] = faultsOf([made, look("absent", { from: 11 })])
    expect(first).toContain("key k")
    expect(first).toContain("look at k = absent")
  })
})

const item = (key: string, run: string): Page["items"][number] => ({ ...sight({ run }), key })
const page = (items: Page["items"], more: Partial<Page> = {}): Page => ({
  client: "c",
  invokedAt: 40,
  completedAt: 41,
  items,
  isWhole: true,
  ...more,
})

describe("all runs together", () => {
  const other = submit("a", accepted("r-8"), { from: 20, to: 30, key: "j" })

  test("a list of everything, newest first", () => {
    expect(faultsOf([made, other], [page([item("j", "r-8"), item("k", "r-5")])])).toEqual([])
  })

  test("a page that is not the last may lack what is older", () => {
    expect(faultsOf([made, other], [page([item("j", "r-8")], { isWhole: false })])).toEqual([])
  })

  const bad: readonly [string, RunHistory, Page][] = [
    ["lacks what was known before", [made, other], page([item("k", "r-5")])],
    [
      "lacks an older one between",
      [made, { ...other, invokedAt: 0 }],
      page([item("j", "r-8")], { invokedAt: 5, completedAt: 40 }),
    ],
    ["is in another order", [made, other], page([item("k", "r-5"), item("j", "r-8")])],
    ["names one twice", [made], page([item("k", "r-5"), item("k", "r-5")])],
    [
      "knows the future",
      [made, other],
      page([item("j", "r-8"), item("k", "r-5")], { invokedAt: 11, completedAt: 12 }),
    ],
  ]
  test.each(bad)("a list that %s", (_name, history, list) => {
    expect(faultsOf(history, [list])).not.toEqual([])
  })

  test("ids that do not follow time", () => {
    const late = submit("a", accepted("r-3"), { from: 20, to: 30, key: "j" })
    expect(faultsOf([made, late])).toEqual([
      "r-5 was known before r-3 was asked for, and has the larger id",
    ])
  })

  test("one run of two keys", () => {
    const twin = submit("a", accepted("r-5"), { from: 20, to: 30, key: "j" })
    expect(faultsOf([made, twin])).toContain("r-5 is k and j")
  })
})

describe("fences", () => {
  const first: AttemptSight = { run: "r-5", task: "only", n: 1, fence: 6, node: 2 }
  test("grow from attempt to attempt, however they are told", () => {
    expect(fencesGrow([{ ...first, n: 2, fence: 9, node: 3 }, first, first])).toEqual([])
  })
  test.each([
    ["the same again", { ...first, n: 2, node: 3 }],
    ["a smaller one", { ...first, n: 2, fence: 4 }],
    ["another for the same attempt", { ...first, fence: 7 }],
    ["another node for the same attempt", { ...first, node: 3 }],
  ])("%s is told", (_name, second) => {
    expect(fencesGrow([first, second])).toHaveLength(1)
  })
})

test("a recorder's calls, pages and attempts are on one clock", () => {
  const recorder = new RunRecorder()
  const early = recorder.list("a")
  const call = recorder.invoke("b", { op: "submit", input: { key: "k", body: "a" } })
  early.complete({ items: [] })
  call.complete(accepted("r-5"))
  expect(recorder.check().faults).toEqual([])
  recorder.list("a").complete({ items: [] })
  expect(recorder.check().faults).toEqual([
    "the list of client a at 4 lacks r-5, which was known at 3",
  ])
})

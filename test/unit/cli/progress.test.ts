/** A run's view as lines. */
import { expect, test } from "vitest"
import {
  createNarrator,
  eventLine,
  phaseChanges,
  phaseOfEvent,
  progressLines,
  taskWords,
} from "../../../src/cli/progress.ts"
import type { Phase, RunView } from "../../../src/schema/index.ts"
import { textWidth } from "../../../src/cli/width.ts"

type TaskView = RunView["tasks"][number]
const paint = (_colour: string, text: string) => text

function aTask(fields: Partial<TaskView>): TaskView {
  const name = fields.name ?? "server"
  return {
    run: "r-1",
    group: name,
    index: 0,
    name,
    state: "blocked",
    attempts: [],
    outputs: [],
    ...fields,
  }
}

const attempt = { n: 1, fence: 9, node: 1, lease: 2, address: "10.0.0.1", assignedAt: 0 } as const

function aView(phases: readonly Phase[], tasks: readonly TaskView[]): RunView {
  return {
    id: "r-1",
    label: "demo",
    kind: "manifest",
    state: "active",
    principal: "anonymous",
    entryNode: "n1",
    createdAt: 0,
    deadlineAt: 1,
    events: 0,
    phase: "server_ready",
    phases: [...phases],
    tasks: [...tasks],
  }
}

test("phases have marks, roles have nodes, builtin work shows only while it matters", () => {
  const view = aView(
    [
      { name: "init", state: "completed" },
      { name: "server_ready", state: "active" },
      { name: "done", state: "waiting" },
    ],
    [
      aTask({
        name: "server",
        node: "n1",
        state: "active",
        attempts: [{ ...attempt, state: "ready" }],
      }),
      aTask({ name: "client" }),
      aTask({ name: "stage-server", state: "finished", result: "succeeded" }),
      aTask({ name: "collect-client", state: "finished", result: "failed", reason: "disk full" }),
    ],
  )
  expect(progressLines(view, { columns: 80, paint, elapsedMs: 2000 })).toEqual([
    "demo (r-1)  server_ready  2.0 s",
    "  ✓ init  ▸ server_ready  · done",
    "  server          n1  ready",
    "  client              waits for other tasks",
    "  collect-client      failed: disk full",
  ])
})

test("no line is wider than the terminal", () => {
  const names = ["init", "stage", "server_start", "server_ready", "client_start", "client_done"]
  const view = aView(
    names.map((name) => ({ name, state: "waiting" as const })),
    [
      aTask({
        state: "pending",
        waiting: "lab-1: needs the tool iperf3, which is not on its PATH",
      }),
    ],
  )
  for (const line of progressLines(view, { columns: 40, paint, elapsedMs: 0 })) {
    expect(textWidth(line)).toBeLessThan(40)
  }
})

test("a phase that came and went between two views is told once", () => {
  const before: Phase[] = [
    { name: "init", state: "completed" },
    { name: "stage", state: "active" },
    { name: "server_start", state: "waiting" },
    { name: "diff", state: "waiting" },
  ]
  const after: Phase[] = [
    { name: "init", state: "completed" },
    { name: "stage", state: "completed" },
    { name: "server_start", state: "failed" },
    { name: "diff", state: "skipped" },
  ]
  expect(phaseChanges(before, after)).toEqual([
    "[server_start] Starting server",
    "[server_start] Failed",
  ])
  expect(phaseChanges([], before)).toEqual(["[init] Initializing run", "[stage] Staging resources"])
  expect(phaseChanges(after, after)).toEqual([])
})

test("events name their phase, task, node and try", () => {
  const event = { id: "7-1", at: 0, type: "task-started" as const, task: "client", node: "n2" }
  expect(eventLine({ ...event, attempt: 1 }, "client_start")).toBe(
    "[client_start] task client started on n2",
  )
  expect(eventLine({ ...event, attempt: 2, message: "again" }, "client_start")).toBe(
    "[client_start] task client started on n2 (attempt 2): again",
  )
})

test.each([
  ["server", "task-started", "server_start"],
  ["server", "task-ready", "server_ready"],
  ["server", "task-stopping", "server_stop"],
  ["client", "task-assigned", "client_start"],
  ["client", "task-ended", "client_done"],
  ["stage-server", "task-ended", "stage"],
  ["collect-server", "task-started", "collect"],
  ["bundle", "task-started", "bundle"],
  ["seal", "task-ended", "bundle"],
] as const)("%s %s is of phase %s", (task, type, phase) => {
  expect(phaseOfEvent(task, type, new Set(["server"]))).toBe(phase)
})

test("-v tells a phase when it begins, before the event that begins it", () => {
  const narrate = createNarrator({ servers: new Set(["server"]), waited: new Set(["server"]) })
  const told = (
    [
      ["run-accepted", undefined],
      ["task-assigned", "server"],
      ["task-started", "server"],
      ["task-ready", "server"],
      ["task-started", "client"],
      ["task-ended", "client"],
      ["run-ending", undefined],
      ["run-finished", undefined],
    ] as const
  ).flatMap(([type, task]) => narrate({ id: "1-1", at: 0, type, ...(task && { task }) }))
  expect(told).toEqual([
    "[init] Initializing run",
    "[init] run accepted",
    "[server_start] Starting server",
    "[server_start] task server assigned",
    "[server_start] task server started",
    "[server_ready] Waiting for server readiness",
    "[server_ready] task server ready",
    "[client_start] Starting client",
    "[client_start] task client started",
    "[client_done] Waiting for client completion",
    "[client_done] task client ended",
    "[client_done] run ending",
    "[client_done] run finished",
    "[done] Run complete",
  ])
})

test.each([
  [{ state: "pending" }, "waits for a node"],
  [{ state: "pending", waiting: "no node has gpu=a100" }, "waits: no node has gpu=a100"],
  [{ state: "active", attempts: [{ ...attempt, state: "assigned" }] }, "starting"],
  [{ state: "active", attempts: [{ ...attempt, state: "started" }] }, "running"],
  [{ state: "stopping" }, "stopping"],
  [{ state: "finished", result: "failed", reason: "exit code 3" }, "failed: exit code 3"],
  [{ state: "finished", result: "succeeded", reason: "x" }, "succeeded"],
] as const)("%j reads %j", (fields, words) => {
  expect(
    taskWords(
      aTask({ ...fields, attempts: [...(("attempts" in fields && fields.attempts) || [])] }),
    ),
  ).toBe(words)
})

/** Errors as people read them, and the exit code of each. */
import { expect, test } from "vitest"
import { errorExit, verdictExit } from "../../../src/cli/exit.ts"
import { describeFailure, exitCodeOf, UsageError } from "../../../src/cli/failure.ts"
import { TroupeError } from "../../../src/schema/index.ts"

const plain = { paint: (_colour: string, text: string) => text, debug: false, sources: new Map() }

test("verdicts have the exit codes of the design", () => {
  expect(verdictExit).toEqual({ succeeded: 0, failed: 3, timed_out: 4, lost: 5, cancelled: 130 })
})

test("error codes have the exit codes of the design", () => {
  const documented = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 74, 76])
  for (const code of Object.values(errorExit)) expect(documented).toContain(code)
  expect(errorExit.ERR_MANIFEST_INVALID).toBe(2)
  expect(errorExit.ERR_TIMEOUT).toBe(4)
  expect(errorExit.ERR_FORBIDDEN).toBe(6)
  expect(errorExit.ERR_NO_LEADER).toBe(7)
  expect(errorExit.ERR_BUNDLE_INVALID).toBe(8)
  expect(errorExit.ERR_UNPLACEABLE).toBe(9)
  expect(errorExit.ERR_STORAGE).toBe(74)
})

test("a mistake is shown with its line and a caret below it", () => {
  const error = new TroupeError("ERR_MANIFEST_INVALID", "m.yaml has a mistake", {
    issues: [
      { path: "roles.x", message: "unknown key", file: "m.yaml", line: 2, column: 3 },
      { path: "run_id", message: "elsewhere", file: "other.yaml", line: 1, column: 1 },
      { path: "--agent", message: "no place at all" },
    ],
  })
  const sources = new Map([["m.yaml", "roles:\n\tx: 1\n"]])
  expect(describeFailure(error, { ...plain, sources })).toBe(
    [
      "m.yaml:2:3: roles.x: unknown key",
      "    2 |  x: 1",
      "      |   ^",
      "other.yaml:1:1: run_id: elsewhere",
      "--agent: no place at all",
      "error: m.yaml has a mistake",
    ].join("\n"),
  )
})

test.each([
  [
    new TroupeError("ERR_ADDRESS_IN_USE", "127.0.0.1:8770 is taken", {
      address: "127.0.0.1:8770",
      flag: "--api",
    }),
    "choose another with --api",
    2,
  ],
  [
    new TroupeError("ERR_NODE_NOT_FOUND", "no node lab2", { node: "lab2", nearest: "lab-2" }),
    "did you mean lab-2?",
    2,
  ],
  [
    new TroupeError("ERR_UNPLACEABLE", "server fits nowhere", {
      task: "server",
      reasons: ["lab-1: os is darwin"],
    }),
    "- lab-1: os is darwin",
    9,
  ],
  [
    new TroupeError("ERR_STORAGE", "/d: ENOSPC: no space left on device", {
      path: "/d",
      reason: "ENOSPC: no space left on device",
    }),
    "make room on that disk",
    74,
  ],
  [new UsageError("no", "do this"), "  do this", 2],
  [new Error("boom"), "--debug shows where", 1],
  ["a string", "error: a string", 1],
])("%s says what to do", (error, words, code) => {
  expect(describeFailure(error, plain)).toContain(words)
  expect(exitCodeOf(error)).toBe(code)
})

test("what is not the disk's fault is not blamed on it", () => {
  const error = new TroupeError("ERR_STORAGE", "this data directory was copied", {
    path: "node.json",
    reason: "foreign data directory",
  })
  expect(describeFailure(error, plain)).toBe("error: this data directory was copied")
})

test("--debug shows the stack and its causes", () => {
  const error = new Error("outer", { cause: new Error("inner") })
  const text = describeFailure(error, { ...plain, debug: true })
  expect(text).toContain("failure.test.ts")
  expect(text).toContain("caused by: Error: inner")
})

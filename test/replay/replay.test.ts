/** Other people's transcripts, where they are at hand, and the runner's own parts. */
import { existsSync } from "node:fs"
import { expect, test } from "vitest"
import { parseTranscript } from "./datadriven.ts"
import { replayFile, replayText, showDifference } from "./replay.ts"
import { findTranscripts } from "./transcripts.ts"

const directory = new URL("../../../shared/testdata/raft", import.meta.url).pathname

if (existsSync(directory)) {
  test.each(findTranscripts(directory).transcripts)("etcd transcript %s", (path) => {
    const { difference, unreadable } = replayFile(directory, path)
    expect(unreadable).toBeUndefined()
    expect(difference && showDifference(difference)).toBeUndefined()
  })
} else {
  test.skip("etcd transcripts: skipped, ../shared/testdata/raft is not there", () => {})
}

test("a directive has a command, arguments, input and expected output", () => {
  const text = [
    "# a comment",
    "",
    "propose-conf-change 1 v1=true list=(a, b) none=() nested=((c, d),e)",
    "v2 l3",
    "----",
    "ok",
    "",
    "status 1",
    "----",
    "----",
    "with a blank",
    "",
    "line",
    "----",
    "----",
    "",
  ].join("\n")
  expect(parseTranscript(text)).toEqual([
    {
      line: 3,
      command: "propose-conf-change",
      args: [
        { key: "1", values: [] },
        { key: "v1", values: ["true"] },
        { key: "list", values: ["a", "b"] },
        { key: "none", values: [""] },
        { key: "nested", values: ["(c, d)", "e"] },
      ],
      input: "v2 l3",
      expected: "ok",
    },
    {
      line: 8,
      command: "status",
      args: [{ key: "1", values: [] }],
      input: "",
      expected: "with a blank\n\nline",
    },
  ])
})

test("a transcript without a separator is refused", () => {
  expect(() => parseTranscript("status 1\n")).toThrow("line 1: no ----")
})

test("a wrong expectation is shown with its line", () => {
  const { difference } = replayText("vote cfg=(1,2) votes=(y,_)\n----\nVoteWon\n")
  expect(difference).toMatchObject({ line: 1, expected: "VoteWon", actual: "VotePending" })
  expect(showDifference(difference!)).toContain("+ VotePending")
})

test("other wording of log lines is counted, other messages are a difference", () => {
  const start = "add-nodes 1 voters=(1) index=3\n----\nINFO something else\n\n"
  expect(replayText(start)).toMatchObject({ otherWording: 1, difference: undefined })
  const wrong = `${start}campaign 1\n----\nok\n\nprocess-ready 1\n----\nReady MustSync=false:\n`
  expect(replayText(wrong).difference).toMatchObject({ command: "process-ready" })
})

test("blank lines in the input, parts of a file and folded commands are read", () => {
  const text = [
    "subtest one",
    "",
    "enter-joint \\",
    "  autoleave=true",
    "v1",
    "",
    "v2",
    "----",
    "ok",
    "",
    "subtest end",
  ]
  expect(parseTranscript(text.join("\n"))).toEqual([
    {
      line: 3,
      command: "enter-joint",
      args: [{ key: "autoleave", values: ["true"] }],
      input: "v1\n\nv2",
      expected: "ok",
    },
  ])
  expect(() => parseTranscript("add-nodes 1 voters=(1,2\n----\n")).toThrow("cannot read")
})

test("a quiet transcript may ask for the lines of one command", () => {
  const text = [
    "log-level none\n----\nok\n",
    "add-nodes 1 voters=(1) index=3\n----\nok\n",
    "campaign 1\n----\nok\n",
    "stabilize log-level=error\n----\n> 1 handling Ready\n  nothing of the kind\n",
  ]
  const { difference } = replayText(text.join("\n"))
  expect(difference).toMatchObject({ command: "stabilize" })
  expect(difference?.actual).toContain("1/4 EntryNormal")
})

test.each([
  ["no-such-command", "unknown command"],
  ["log-level loud", "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]"],
  ["propose-conf-change 1 transition=slow", "unknown transition slow"],
  ["propose-conf-change 1 v3=true", "unknown command v3"],
  ["propose-conf-change 1\nx1", "unknown input: x1"],
  ["add-nodes 1 read-only=never", 'invalid read-only option "never"'],
  ["compact 1 2", "requested index is unavailable due to compaction"],
])("%s is answered: %s", (command, answer) => {
  const start = "log-level none\n----\nok\n\nadd-nodes 1 voters=(1) index=3\n----\nok\n\n"
  expect(replayText(`${start}${command}\n----\n${answer}\n`).difference).toBeUndefined()
})

/** Other people's transcripts, where they are at hand, and the runner's own parts. */
import { existsSync } from "node:fs"
import { expect, test } from "vitest"
import { parseTranscript } from "./datadriven.ts"
import { replayFile, replayText, showDifference, transcriptFiles } from "./replay.ts"

const directory = new URL("../../../shared/testdata/raft", import.meta.url).pathname

if (existsSync(directory)) {
  test.each(transcriptFiles(directory))("etcd transcript %s", (path) => {
    const { difference } = replayFile(directory, path)
    expect(difference && showDifference(difference)).toBeUndefined()
  })
} else {
  test.skip("etcd transcripts: skipped, ../shared/testdata/raft is not there", () => {})
}

test("a directive has a command, arguments, input and expected output", () => {
  const text = [
    "# a comment",
    "",
    "propose-conf-change 1 v1=true list=(a, b) none=()",
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
        { key: "none", values: [] },
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

/** A directory of transcripts, some of which are none: each is told by itself. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { type FileResult, replayFile } from "./replay.ts"
import { describeResult, isGood, summary } from "./report.ts"
import { findTranscripts } from "./transcripts.ts"

const good = "vote cfg=(1,2) votes=(y,y)\n----\nVoteWon\n"
const bad = "vote cfg=(1,2) votes=(y,y)\n----\nVoteLost\n"

function directoryOf(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), "troupe-replay-"))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  return directory
}

function replayAll(directory: string): readonly FileResult[] {
  return findTranscripts(directory).transcripts.map((path) => replayFile(directory, path))
}

test("a file that cannot be read is told with its line, and the others are replayed", () => {
  const directory = directoryOf({
    "a.txt": "# a greeting\nhello\n",
    "b.txt": good,
    "c.txt": bad,
    "d.txt": `${good}\nvote cfg=(1\n----\nok\n`,
    "e.txt": "vote cfg=(1)\n----\n----\nno end\n",
  })
  const results = replayAll(directory)
  const lines = results.map((result) => describeResult(result).split("\n")[0])
  expect(lines).toEqual([
    "a.txt:2: unreadable: no ---- after hello",
    "ok      b.txt (1 commands)",
    "differs c.txt (0 commands)",
    "d.txt:5: unreadable: cannot read vote cfg=(1",
    "e.txt:1: unreadable: the doubled ---- never ends",
  ])
  expect(summary(results, 0)).toBe("5 files, 1 ok, 1 differ, 3 unreadable")
  expect(isGood(results)).toBe(false)
  expect(isGood(results.slice(0, 2))).toBe(false)
  expect(isGood(results.slice(1, 2))).toBe(true)
})

test("what the system does not let us read is told, too", () => {
  const directory = directoryOf({ "sub/a.txt": good })
  expect(describeResult(replayFile(directory, "sub"))).toMatch(/^sub: unreadable: EISDIR/)
})

test.each(["", "\n\n", "# only\n# words\n", "subtest one\n"])("%j has no commands", (text) => {
  const results = replayAll(directoryOf({ "a.txt": text }))
  expect(results.map(describeResult)).toEqual(["empty   a.txt (no commands)"])
  expect(summary(results, 0)).toBe("1 files, 0 ok, 0 differ, 1 without commands")
  // Nothing was compared.
  expect(isGood(results)).toBe(false)
})

test("an empty file beside good ones spoils nothing", () => {
  expect(isGood(replayAll(directoryOf({ "a.txt": "", "b.txt": good })))).toBe(true)
  expect(isGood([])).toBe(false)
})

test("transcripts end in .txt, or in nothing and have a separator; all else is counted", () => {
  const directory = directoryOf({
    "a.txt": good,
    "sub/joint_commit": good,
    windows: good.replaceAll("\n", "\r\n"),
    LICENSE: "No warranty.\n",
    "README.md": `---\n${good}`,
    "sub/core.go": good,
    ".git/HEAD": good,
  })
  symlinkSync(join(directory, "a.txt"), join(directory, "link.txt"))
  symlinkSync(join(directory, "nowhere"), join(directory, "gone.txt"))
  expect(findTranscripts(directory)).toEqual({
    transcripts: ["a.txt", "link.txt", "sub/joint_commit", "windows"],
    leftOut: 3,
  })
  expect(summary([], 3)).toBe("0 files, 0 ok, 0 differ, 3 other files left out (no *.txt)")
})

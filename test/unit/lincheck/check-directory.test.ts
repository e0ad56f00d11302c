/** `npm run lincheck` on folders: verdicts, labels, exit codes; and other people's labelled histories, if at hand. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { checkDirectory, checkFile, historyFiles, Labels } from "../../lincheck/index.ts"

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lincheck-"))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function file(path: string, ...lines: readonly string[]): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), `${lines.join("\n")}\n`)
}

const wrote = ["INFO  jepsen.util - 0\t:invoke\t:write\t3", "INFO  jepsen.util - 0\t:ok\t:write\t3"]
const asked = "INFO  jepsen.util - 1\t:invoke\t:read\tnil"
const ok = [...wrote, asked, "INFO  jepsen.util - 1\t:ok\t:read\t3"]
const bad = [...wrote, asked, "INFO  jepsen.util - 1\t:ok\t:read\t4"]
const badMap = [
  '{:process 0, :type :invoke, :f :get, :key "7", :value nil}',
  '{:process 0, :type :ok, :f :get, :key "7", :value "x"}',
]

function check(workMax?: number): { code: number; lines: string[] } {
  const lines: string[] = []
  const limit = workMax === undefined ? {} : { workMax }
  const code = checkDirectory(folder, { ...limit, print: (line) => lines.push(line), now: () => 5 })
  return { code, lines }
}

test("verdicts that agree with their labels", () => {
  file("register/one.log", ...ok)
  file("register/two.log", ...bad)
  file("register/labels.json", '{"one.log": "true", "two.log": false}')
  file("map-bad.txt", ...badMap)
  file("README.md", "not a history")
  expect(check()).toEqual({
    code: 0,
    lines: [
      "map-bad.txt: bad (1 operations, 0 ms)",
      [
        "    key 7: no order from line 2 on",
        '    client 0: get = "x", but the state before it could only be ""',
        '    line 1 to 2        client 0: get = "x"  <--',
      ].join("\n"),
      "register/one.log: ok (2 operations, 0 ms)",
      "register/two.log: bad (2 operations, 0 ms)",
      [
        "    no order from line 4 on",
        "    client 1: read = 4, but the state before it could only be 3",
        "    line 1 to 2        client 0: write 3",
        "    line 3 to 4        client 1: read = 4  <--",
      ].join("\n"),
      "3 histories: 1 ok, 2 bad, 0 unknown; 3 labels, 0 disagree; 0 ms",
    ],
  })
})

test("a verdict against its label: exit 1", () => {
  file("a-bad.log", ...ok)
  const { code, lines } = check()
  expect(code).toBe(1)
  expect(lines[0]).toBe("a-bad.log: ok (2 operations, 0 ms), BUT ITS LABEL SAYS bad")
})

test("a bad history without a label: exit 1; a good one: 0", () => {
  file("a.log", ...ok)
  expect(check().code).toBe(0)
  file("b.log", ...bad)
  expect(check().code).toBe(1)
})

test("a file that cannot be read: its line, the others, exit 2", () => {
  file("a.log", ...wrote, "what?")
  file("b.txt", "", "what?")
  file("c.log", ...ok)
  const { code, lines } = check()
  expect(code).toBe(2)
  expect(lines).toEqual([
    "a.log:3: this is no line of a Jepsen log",
    "b.txt:2: neither a Jepsen register log nor a map's history",
    "c.log: ok (2 operations, 0 ms)",
    "1 histories: 1 ok, 0 bad, 0 unknown, 2 unreadable; 0 labels, 0 disagree; 0 ms",
  ])
})

test("labels that cannot be read: said once, exit 2", () => {
  file("a.log", ...ok)
  file("b.log", ...ok)
  file("labels.json", '{"a.log": "maybe"}')
  const { code, lines } = check()
  expect(code).toBe(2)
  expect(lines.filter((line) => line.includes("labels.json"))).toHaveLength(1)
  expect(lines[0]).toBe(`${join(folder, "labels.json")}: a.log is neither true nor false`)
})

test("no work allowed: unknown, exit 3", () => {
  file("a-ok.log", ...ok)
  const { code, lines } = check(1)
  expect(code).toBe(3)
  expect(lines[0]).toMatch(/^a-ok\.log: unknown \(2 operations, 0 ms\), gave up after \d+ steps/)
})

test("nothing to check: exit 2", () => {
  expect(check()).toEqual({
    code: 2,
    lines: ["0 histories: 0 ok, 0 bad, 0 unknown; 0 labels, 0 disagree; 0 ms"],
  })
})

test("an empty file is a history of nothing", () => {
  file("a.log")
  expect(checkFile(join(folder, "a.log"), {})).toMatchObject({ verdict: "ok", calls: 0 })
})

test("labels: the nearest labels.json, then the name", () => {
  file("labels.json", '{"x/one.log": "ok", "x/two.log": "ok"}')
  file("x/labels.json", '{"two.log": "bad"}')
  const labels = new Labels(folder)
  const labelOf = (path: string) => labels.labelOf(join(folder, path))
  expect(labelOf("x/one.log")).toBe("ok")
  expect(labelOf("x/two.log")).toBe("bad")
  expect(labelOf("x/c10-ok.txt")).toBe("ok")
  expect(labelOf("x/broken.txt")).toBeUndefined()
})

test("a long history shows its last calls", () => {
  const writes = Array.from({ length: 20 }, (_, index) => [
    `INFO  jepsen.util - 0\t:invoke\t:write\t${index}`,
    `INFO  jepsen.util - 0\t:ok\t:write\t${index}`,
  ])
  file("a.log", ...writes.flat(), asked, "INFO  jepsen.util - 1\t:ok\t:read\t18")
  const lines = checkFile(join(folder, "a.log"), {}).failure!.split("\n")
  expect(lines).toHaveLength(2 + 1 + 12)
  expect(lines[2]).toBe("… 9 calls completed before")
})

const labelled = new URL("../../../../shared/testdata/linearizability", import.meta.url).pathname

if (existsSync(labelled)) {
  const labels = new Labels(labelled)
  test.each(historyFiles(labelled).files)("labelled history %s", (path) => {
    expect(checkFile(path, {}).verdict).toBe(labels.labelOf(path))
  })
} else {
  test.skip("labelled histories: skipped, ../shared/testdata/linearizability is not there", () => {})
}

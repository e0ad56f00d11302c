/** The Prometheus text format. */
import { expect, test } from "vitest"
import { exposition, RequestCounts } from "../../../src/api/metrics.ts"

test("families stand together under one head, however they came", () => {
  const gauge = { help: "Attempts.", type: "gauge" } as const
  expect(
    exposition([
      { ...gauge, name: "troupe_attempts", labels: { state: "running" }, value: 2 },
      { name: "troupe_term", help: "Term.", type: "counter", value: 4 },
      { ...gauge, name: "troupe_attempts", labels: { state: "waiting" }, value: 0.5 },
    ]),
  ).toBe(
    [
      "# HELP troupe_attempts Attempts.",
      "# TYPE troupe_attempts gauge",
      'troupe_attempts{state="running"} 2',
      'troupe_attempts{state="waiting"} 0.5',
      "# HELP troupe_term Term.",
      "# TYPE troupe_term counter",
      "troupe_term 4",
      "",
    ].join("\n"),
  )
})

test("nothing in a name, a label or a help text breaks a line", () => {
  const text = exposition([
    {
      name: "9 bad-name",
      help: "back\\slash\nline",
      type: "gauge",
      labels: { "the node": 'a"b\\c\nd' },
      value: Infinity,
    },
  ])
  expect(text).toBe(
    "# HELP _9_bad_name back\\\\slash\\nline\n" +
      "# TYPE _9_bad_name gauge\n" +
      '_9_bad_name{the_node="a\\"b\\\\c\\nd"} +Inf\n',
  )
})

test.each([
  [NaN, "NaN"],
  [-Infinity, "-Inf"],
  [1e21, "1e+21"],
])("%s is written %s", (value, text) => {
  expect(exposition([{ name: "x", help: "", type: "gauge", value }])).toContain(`\nx ${text}\n`)
})

test("requests are counted by route, method and status", () => {
  const counts = new RequestCounts()
  const ok = { method: "GET", route: "/v1/runs", status: "200" }
  counts.add(ok)
  counts.add(ok)
  counts.add({ ...ok, status: "503" })
  expect(counts.metrics().map(({ labels, value }) => [labels?.["status"], value])).toEqual([
    ["200", 2],
    ["503", 1],
  ])
})

/** Widths, tables, durations, lines. */
import * as fc from "fast-check"
import { stripVTControlCharacters } from "node:util"
import { describe, expect, test } from "vitest"
import {
  formatBytes,
  formatDuration,
  formatTime,
  parseDuration,
} from "../../../src/cli/duration.ts"
import { renderTable } from "../../../src/cli/table.ts"
import { pad, safeLine, textWidth, truncate } from "../../../src/cli/width.ts"

function red(text: string): string {
  return `\u001b[31m${text}\u001b[39m`
}

describe("width", () => {
  test.each([
    ["", 0],
    ["abc", 3],
    ["äöü", 3],
    ["e\u0301", 1],
    ["日本", 4],
    ["한국", 4],
    ["🚀", 2],
    ["👩‍💻", 2],
    ["\u001b[31mred\u001b[39m", 3],
    ["…", 1],
  ])("%j takes %i cells", (text, cells) => {
    expect(textWidth(text)).toBe(cells)
  })

  test.each([
    ["abcdef", 6, "abcdef"],
    ["abcdef", 5, "abcd…"],
    ["日本語", 5, "日本…"],
    ["日本語", 4, "日…"],
  ])("%j in %i cells is %j", (text, cells, cut) => {
    expect(truncate(text, cells)).toBe(cut)
  })

  test("a cut text never takes more than it may", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.integer({ min: 1, max: 20 }),
        (text, cells) => {
          expect(textWidth(truncate(safeLine(text), cells))).toBeLessThanOrEqual(cells)
        },
      ),
    )
  })

  test("padding counts cells, not characters", () => {
    expect(pad("日", 4)).toBe("日  ")
    expect(pad("7", 3, "right")).toBe("  7")
    expect(pad("long", 2)).toBe("long")
  })

  test("control characters of other machines do not reach the terminal", () => {
    expect(safeLine("a\u001b[2Jb\r\nc")).toBe("a [2Jb c")
  })
})

describe("table", () => {
  const columns = [
    { title: "NAME", value: (row: { name: string; n?: number }) => row.name },
    {
      title: "COUNT",
      value: (row: { name: string; n?: number }) => row.n,
      align: "right" as const,
    },
    { title: "NOTE", value: (row: { name: string; n?: number }) => `about ${row.name}` },
  ]

  test("columns are as wide as what they hold; nothing is a dash", () => {
    expect(renderTable([{ name: "a", n: 10 }, { name: "日本語" }], columns)).toEqual([
      "NAME    COUNT  NOTE",
      "a          10  about a",
      "日本語      -  about 日本語",
    ])
  })

  test("a narrow terminal cuts the widest column first", () => {
    const rows = [{ name: "a".repeat(30), n: 1 }]
    const lines = renderTable(rows, columns, { width: 40 })
    for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(40)
    expect(lines[1]).toContain("…")
    expect(renderTable(rows, columns, { width: undefined })[1]).toContain(`about ${"a".repeat(30)}`)
  })

  test("a style does not change the layout", () => {
    const styled = columns.map((column) => ({ ...column, style: red }))
    const rows = [{ name: "ab", n: 1 }]
    const plain = renderTable(rows, columns)
    const stripped = renderTable(rows, styled).map(stripVTControlCharacters)
    expect(stripped).toEqual(plain)
  })
})

describe("durations", () => {
  test.each([
    ["90s", 90_000],
    ["5m", 300_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["250ms", 250],
    ["1d", 86_400_000],
    ["30", undefined],
    ["", undefined],
    ["5 m", undefined],
    ["5x", undefined],
    ["m5", undefined],
    ["-5m", undefined],
  ])("%j is %s ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  test.each([
    [0, "0.0 s"],
    [-5, "0.0 s"],
    [3240, "3.2 s"],
    [12_000, "12 s"],
    [59_600, "1 m 00 s"],
    [185_000, "3 m 05 s"],
    [7_800_000, "2 h 10 m"],
    [273_600_000, "3 d 4 h"],
  ])("%i ms reads %j", (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  test("times are UTC, sizes are binary", () => {
    expect(formatTime(Date.UTC(2026, 10, 20, 14, 24, 44))).toBe("2026-11-20 14:24:44")
    expect([0, 512, 1229, 35_651_584].map(formatBytes)).toEqual([
      "0 B",
      "512 B",
      "1.2 KiB",
      "34 MiB",
    ])
  })
})

/** The table of errors in docs/api.md is the table of the code. UPDATE_DOCS=1 writes it anew. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { httpProblemTable, type ProblemRow, problemTable } from "../../../src/api/problem.ts"

const file = join(import.meta.dirname, "../../../docs/api.md")
const block = /(<!-- errors: .* -->\n)([^]*)(<!-- end of errors -->)/

function table(): string {
  const rows = Object.entries<ProblemRow>({ ...problemTable, ...httpProblemTable })
    .toSorted(([a, left], [b, right]) => left.status - right.status || (a < b ? -1 : 1))
    .map(([code, { status, title, retryAfterS }]) => {
      return `| ${status} | \`${code}\` | ${title} | ${retryAfterS ?? ""} |`
    })
  const head = ["| status | code | meaning | ask again after, s |", "|---|---|---|---|"]
  return `\n${[...head, ...rows].join("\n")}\n\n`
}

test("docs/api.md lists every error code with its status", () => {
  const text = readFileSync(file, "utf8")
  if (process.env["UPDATE_DOCS"] === "1") {
    writeFileSync(
      file,
      text.replace(block, (_whole, start: string, _old, end: string) => start + table() + end),
    )
    return
  }
  expect(block.exec(text)?.[2]).toBe(table())
})

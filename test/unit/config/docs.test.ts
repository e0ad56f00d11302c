/** docs/cli.md names every setting with its flag and variable, and every exit code. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { fieldNames, noteOf } from "../../../src/config/index.ts"
import { errorExit, exitCodes } from "../../../src/cli/exit.ts"

const text = readFileSync(join(import.meta.dirname, "../../../docs/cli.md"), "utf8")

test.each(fieldNames)("%s", (name) => {
  expect(text).toContain(`\`${name}\``)
  const { flag, env } = noteOf(name)
  if (flag === undefined) return
  expect(text).toContain(`\`${flag.split(" ")[0]}`)
  expect(text).toContain(`\`${env}\``)
})

test("every exit code has a row", () => {
  for (const code of new Set([...Object.values(exitCodes), ...Object.values(errorExit)])) {
    expect(text).toMatch(new RegExp(`^\\| (\\d+, )*${code}(, \\d+)* \\|`, "m"))
  }
})

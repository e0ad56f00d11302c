/** Golden transcripts of the scheduler; `TRANSCRIPTS=rewrite` writes what it answers now, to be read in review. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { parseTranscript, printTranscript, Stage } from "./stage.ts"

const folder = import.meta.dirname
const files = readdirSync(folder).filter((name) => name.endsWith(".txt"))

test.each(files)("%s", (name) => {
  const file = join(folder, name)
  const blocks = parseTranscript(readFileSync(file, "utf8"))
  const stage = new Stage()
  const played = blocks.map(({ input }) => ({ input, expected: stage.perform(input) }))
  if (process.env["TRANSCRIPTS"] === "rewrite") writeFileSync(file, printTranscript(played))
  else expect(printTranscript(played)).toBe(printTranscript(blocks))
})

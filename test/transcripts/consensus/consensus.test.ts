/** Our own transcripts of the core, in the format that `npm run replay` reads. */
import { expect, test } from "vitest"
import { replayFile, showDifference, transcriptFiles } from "../../replay/replay.ts"

test.each(transcriptFiles(import.meta.dirname))("%s", (path) => {
  const { difference, commands } = replayFile(import.meta.dirname, path)
  expect(difference && showDifference(difference)).toBeUndefined()
  expect(commands).toBeGreaterThan(0)
})

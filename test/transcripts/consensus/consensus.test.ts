/** Our own transcripts of the core, in the format that `npm run replay` reads. */
import { expect, test } from "vitest"
import { replayFile, showDifference } from "../../replay/replay.ts"
import { findTranscripts } from "../../replay/transcripts.ts"

test.each(findTranscripts(import.meta.dirname).transcripts)("%s", (path) => {
  const { difference, commands } = replayFile(import.meta.dirname, path)
  expect(difference && showDifference(difference)).toBeUndefined()
  expect(commands).toBeGreaterThan(0)
})

/** Appends until it is killed or the disk fails (74); prints the index of each entry when it is acknowledged. Arguments: data directory. */
import { writeSync } from "node:fs"
import { createLogStore } from "../../../../src/storage/log-store.ts"
import { entryAt, hardStateOf } from "../../../support/log-samples.ts"

const directory = process.argv[2]!
const log = createLogStore({ directory, segmentBytes: 64 * 1024 })
const { entries, mark } = await log.open({ clusterId: "cluster", memberId: 1 })
let next = (entries.at(-1)?.index ?? mark.index) + 1

/** The pipe may be full for a moment. */
function say(line: string): void {
  for (;;) {
    try {
      writeSync(1, line)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error
    }
  }
}

async function appendOne(): Promise<void> {
  const index = next++
  await log.append({
    hardState: hardStateOf(1, 1, Math.max(0, index - 64)),
    entries: [entryAt(index, 1, 100 + (index % 400))],
  })
  // Synchronous, so that the line is out before anything else happens.
  say(`${index}\n`)
}
try {
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (;;) await appendOne()
    }),
  )
} catch (error) {
  // As a node does: whatever the disk says after its first error, nothing more is acknowledged.
  writeSync(2, `${(error as Error).message}\n`)
  process.exit(74)
}

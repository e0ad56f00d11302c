/** Bugs that a chaos run must notice: planted into a copy of the sources, so that the nodes under test have them. */
import type { Planted } from "./program.ts"

export const planted: Readonly<Record<string, Planted>> = {
  "stale-reads": {
    what: "a node that believes that it leads answers reads without asking the others",
    file: "src/node/replica.ts",
    find: "  async readBarrier(signal: AbortSignal): Promise<void> {\n",
    replace:
      "  async readBarrier(signal: AbortSignal): Promise<void> {\n    if (this.isLeading()) return\n",
  },
  "lost-writes": {
    what: "what one voter has on disk counts as committed",
    file: "src/consensus/quorum.ts",
    find: "return indexes[Math.floor(voters.size / 2)]!",
    replace: "return indexes[0]!",
  },
  "second-run": {
    what: "the same key makes a second run",
    file: "src/state/runs.ts",
    find: "  const known = knownRequest(draft, submitted)\n  if (known !== undefined) return known\n",
    replace:
      "  const known = knownRequest(draft, submitted)\n  if (known?.ok === false) return known\n",
  },
}

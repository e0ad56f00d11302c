/** A short chaos run on real nodes, and one whose nodes have a bug that it must notice. Longer: `npm run chaos`. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { runChaos } from "../chaos/chaos.ts"
import { describe as inWords } from "../chaos/describe.ts"
import { planted } from "../chaos/planted.ts"
import { faultKinds, possibleFaults } from "../chaos/tools.ts"
import { hasHosts } from "./hosts.ts"

const seed = 1
/** Kept when the test fails, with its pictures. */
const runs = join(import.meta.dirname, "../../runs")
const limitMs = 420_000

describe.skipIf(!hasHosts)("chaos", () => {
  test(
    "what clients are told while everything breaks can all be true",
    { timeout: limitMs },
    async () => {
      const { kinds, lack } = possibleFaults(faultKinds)
      for (const line of lack) console.warn(line)
      const directory = join(runs, `chaos-e2e-${process.pid}`)
      const result = await runChaos({ seed, ms: 60_000, nodes: 3, kinds, directory })
      console.log(inWords(result))
      expect(result.faults, `look at ${result.pictures.join(" ")}`).toEqual([])
      // It was rough, and yet work got done.
      expect(result.struck.size).toBeGreaterThan(2)
      expect(result.runs).toBeGreaterThan(10)
      expect(result.judgement.ordered).toBeGreaterThan(200)
      rmSync(directory, { recursive: true, force: true })
    },
  )

  test("a cluster that forgets keys is found out", { timeout: limitMs }, async () => {
    const directory = join(runs, `chaos-e2e-${process.pid}-planted`)
    const bugs = [planted["second-run"]!]
    const result = await runChaos({ seed, ms: 15_000, nodes: 3, kinds: [], directory, bugs })
    expect(result.faults.join("\n")).toMatch(/key k1-\d+ is r-\d+ and r-\d+/)
    rmSync(directory, { recursive: true, force: true })
  })
})

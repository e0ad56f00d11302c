/** A thousand jobs over three real nodes while leaders, workers, keepers and links are struck. Longer: `npm run rough`. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { describeRough, runRoughJobs } from "../chaos/jobs.ts"
import { possibleFaults } from "../chaos/tools.ts"
import { hasHosts } from "./hosts.ts"

const seed = 1
const jobs = 1000
/** Kept when the test fails. */
const runs = join(import.meta.dirname, "../../runs")

describe.skipIf(!hasHosts)("jobs", () => {
  test(`${jobs} jobs are all accounted for`, { timeout: 420_000 }, async () => {
    const { kinds, lack } = possibleFaults(["kill", "keeper", "partition"])
    for (const line of lack) console.warn(line)
    const directory = join(runs, `rough-e2e-${process.pid}`)
    const result = await runRoughJobs({ seed, jobs, nodes: 3, ms: 30_000, kinds, directory })
    console.log(describeRough(result))
    expect(result.faults).toEqual([])
    // It was rough, and yet most of them ended by themselves.
    expect(result.struck.size).toBeGreaterThan(1)
    expect(result.starts).toBeGreaterThan(0.9 * jobs)
    expect(result.results.get("succeeded")).toBeGreaterThan(0.7 * jobs)
    rmSync(directory, { recursive: true, force: true })
  })
})

/** When a node has no room for more work: from 90 % on, and until it is below 88 % again. */
import { expect, test } from "vitest"
import { FullDisk } from "../../../src/node/full-disk.ts"

const sample = (used: number) => ({
  freeMemoryBytes: 1,
  load1: 0,
  diskFreeBytes: 1000 - used,
  diskTotalBytes: 1000,
})

test("full from 90 % on, with room below 88 %, and no flutter in between", () => {
  const disk = new FullDisk()
  const seen = [899, 900, 899, 881, 880, 879, 899, 1000].map((used) => disk.look(sample(used)))
  expect(seen).toEqual([
    undefined,
    "has 90 % of its disk in use",
    "has 89 % of its disk in use",
    "has 88 % of its disk in use",
    "has 88 % of its disk in use",
    undefined,
    undefined,
    "has 100 % of its disk in use",
  ])
})

test("a file system that does not say how large it is counts as roomy", () => {
  expect(new FullDisk().look({ ...sample(1000), diskTotalBytes: 0 })).toBeUndefined()
})

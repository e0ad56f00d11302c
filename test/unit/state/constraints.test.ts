/** Needs are checked in one order, and the first that fails is named in words. */
import { expect, test } from "vitest"
import type { Member, Needs } from "../../../src/schema/index.ts"
import { firstUnmet } from "../../../src/state/index.ts"
import { aDeclaration } from "../../support/plans.ts"

const member: Member = {
  ...aDeclaration({
    name: "lab1",
    os: "linux",
    arch: "arm64",
    cores: 4,
    memoryBytes: 8 * 2 ** 30,
    labels: { gpu: "a100", site: "x" },
    tools: ["iperf3"],
  }),
  id: 17,
  role: "worker",
}

test.each<[Needs]>([
  [{}],
  [{ node: "lab1" }],
  [{ node: "17" }],
  [{ os: "linux", arch: "arm64", cores: 4, memoryBytes: 8 * 2 ** 30 }],
  [{ labels: { gpu: "a100" }, tools: ["iperf3"] }],
])("%j is met", (needs) => {
  expect(firstUnmet(needs, member)).toBeUndefined()
})

test.each<[Needs, number, string]>([
  [{ node: "lab2" }, 0, "is not the named node lab2"],
  [{ os: "darwin" }, 1, "runs linux, darwin is needed"],
  [{ arch: "x64" }, 2, "is arm64, x64 is needed"],
  [{ cores: 8 }, 3, "has 4 cores, 8 are needed"],
  [{ memoryBytes: 12 * 2 ** 30 }, 4, "has 8 GiB of memory, 12 GiB is needed"],
  [{ gpus: 1 }, 5, "has 0 GPUs, 1 is needed"],
  [{ labels: { site: "x", gpu: "h100" } }, 6, "has label gpu=a100, gpu=h100 is needed"],
  [{ labels: { rack: "3" } }, 6, "has no label rack, rack=3 is needed"],
  [{ labels: { constructor: "3" } }, 6, "has no label constructor, constructor=3 is needed"],
  [{ tools: ["iperf3", "docker"] }, 7, "has no docker on its PATH"],
])("%j is not met", (needs, step, reason) => {
  const [need] = Object.keys(needs)
  expect(firstUnmet(needs, member)).toEqual({ step, need, reason })
})

test("GPUs are a number in a label; what is no number is none", () => {
  const having = (gpus: string): Member => ({ ...member, labels: { "troupe.gpus": gpus } })
  expect(firstUnmet({ gpus: 2 }, having("2"))).toBeUndefined()
  expect(firstUnmet({ gpus: 2 }, having("1"))?.reason).toBe("has 1 GPU, 2 are needed")
  expect(firstUnmet({ gpus: 1 }, having("many"))?.reason).toBe("has 0 GPUs, 1 is needed")
})

test("of several that fail the first in the order of the schema is named", () => {
  const all: Needs = { tools: ["x"], labels: { a: "b" }, cores: 9, arch: "x64", os: "darwin" }
  expect(firstUnmet(all, member)?.step).toBe(1)
  expect(firstUnmet({ ...all, node: "other" }, member)?.step).toBe(0)
})

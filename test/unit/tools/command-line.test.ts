/** What the tools of this repository do with wrong arguments: usage and exit 2, as no finding ever is. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { parseArgs } from "node:util"
import { describe, expect, test } from "vitest"
import {
  numberFrom,
  runTool,
  seedRange,
  type Tool,
  UsageError,
  wholeNumber,
} from "../../support/command-line.ts"

interface Ran {
  readonly code: number
  readonly printed: readonly string[]
  readonly complaints: readonly string[]
}

async function run(main: Tool["main"], ...args: readonly string[]): Promise<Ran> {
  const printed: string[] = []
  const complaints: string[] = []
  const code = await runTool(
    {
      usage: "how to",
      main,
      print: (line) => printed.push(line),
      complain: (line) => complaints.push(line),
    },
    args,
  )
  return { code, printed, complaints }
}

function failsItself(): number {
  throw new TypeError("ours")
}

function isRefused(): number {
  throw new UsageError("no such seed")
}

function parses(args: readonly string[]): number {
  parseArgs({ args: [...args], options: { seed: { type: "string" } } })
  return 0
}

describe("a tool", () => {
  test.each([["--help"], ["-h"]])("%s prints how, and runs nothing", async (flag) => {
    expect(await run(failsItself, flag)).toEqual({ code: 0, printed: ["how to"], complaints: [] })
  })

  test("what it finds is its exit code", async () => {
    expect((await run(() => 1)).code).toBe(1)
    expect((await run(async () => 3)).code).toBe(3)
  })

  test("wrong arguments are told with how, and are exit 2", async () => {
    expect(await run(isRefused)).toEqual({
      code: 2,
      printed: [],
      complaints: ["no such seed\nhow to"],
    })
  })

  test.each([[["--bogus"]], [["--seed"]], [["--seed", "-5"]], [["word"]]])(
    "so are those that cannot be parsed: %j",
    async (args) => {
      const { code, complaints } = await run(parses, ...args)
      expect(code).toBe(2)
      expect(complaints[0]).toMatch(/\nhow to$/)
    },
  )

  test("an error of its own is not taken for one of its user", async () => {
    await expect(run(failsItself)).rejects.toThrow("ours")
  })
})

test.each(["", " ", "x", "-5", "1.5", "1e3", "0x10", "NaN", "Infinity", "8", "0"])(
  "%j is no whole number from 1 to 7",
  (text) => {
    expect(() => wholeNumber("size", text, { min: 1, max: 7 })).toThrow("--size is a whole number")
  },
)

test("numbers in range are read", () => {
  expect(wholeNumber("size", "7", { min: 1, max: 7 })).toBe(7)
  expect(numberFrom("minutes", "0.5", { min: 0 })).toBe(0.5)
  expect(() => numberFrom("minutes", "-1", { min: 0 })).toThrow(UsageError)
  expect(() => numberFrom("minutes", "", { min: 0 })).toThrow(UsageError)
  expect(seedRange({ seed: "0", seeds: "3" })).toEqual({ first: 0, count: 3 })
  expect(() => seedRange({ seed: "1", seeds: "0" })).toThrow("--seeds is a whole number from 1 on")
  expect(() => seedRange({ seed: `${Number.MAX_SAFE_INTEGER}`, seeds: "1" })).toThrow("too large")
})

/** Each as it is typed, and a few only, since each is a process; none of these may begin any work. */
const tools: Readonly<Record<string, readonly string[]>> = {
  "test/replay/main.ts": ["nowhere-at-all", "--bogus"],
  "test/sim/main.ts": ["--seed", "--steps -5", "--seeds 0", "--replay package.json"],
  "test/sim/cluster/main.ts": ["--seed x", "--size 9", "--seeds 0"],
  "test/sim/cluster/bootstrap-main.ts": ["--seeds 0"],
  "test/sim/cluster/recovery-main.ts": ["--seeds 0"],
  "test/lincheck/main.ts": ["nowhere-at-all", "--work x"],
  "test/mutants/main.ts": ["B-01 B-99", "--sim=-1"],
  "test/chaos/main.ts": ["--nodes 4", "--look nowhere-at-all"],
  "test/bench/main.ts": ["no-figure", "--n x"],
}

async function exitOf(
  file: string,
  args: readonly string[],
): Promise<{ code: number; said: string }> {
  const root = new URL("../../..", import.meta.url).pathname
  const child = spawn(process.execPath, [file, ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  })
  let said = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => (said += chunk.toString()))
  }
  const [code] = (await once(child, "close")) as [number]
  return { code, said }
}

describe.each(Object.entries(tools))("%s", (file, wrong) => {
  test("--help", { timeout: 60_000 }, async () => {
    const { code, said } = await exitOf(file, ["--help"])
    expect(said).toContain(" [")
    expect(code).toBe(0)
  })

  test.each(wrong)("%s is refused", { timeout: 60_000 }, async (line) => {
    const { code, said } = await exitOf(file, line.split(" "))
    expect(said).toContain("exit 0")
    expect(said).not.toMatch(/^\s+at /m)
    expect(code).toBe(2)
  })
})

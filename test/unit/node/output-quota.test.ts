import { expect, test } from "vitest"
import { OutputQuota } from "../../../src/node/output-quota.ts"
import { defaultRetention } from "../../../src/node/options.ts"
import type { KeptOutput } from "../../../src/wire/index.ts"

const day = 24 * 3600 * 1000
const now = 100 * day

function quota(
  held: readonly KeptOutput[],
  known: Readonly<Record<string, { over?: boolean; pinned?: boolean }>>,
  outputBytes: number,
) {
  const removed: string[] = []
  const duty = new OutputQuota({
    options: { timing: { retainMs: 1 }, retention: { ...defaultRetention, outputBytes } },
    parts: {
      clock: {
        now: () => now,
        every: () => ({ cancel: () => undefined }),
        timeoutSignal: () => new AbortController().signal,
      },
      logger: { info: () => undefined },
      keeper: {
        kept: async () => await Promise.resolve(held),
        dropKept: async (runs) => await Promise.resolve(void removed.push(...runs)),
      },
    },
    call: async (op, body) => {
      expect(op).toBe("runsKept")
      const { runs } = body as { runs: readonly string[] }
      const kept = runs.flatMap((run) => {
        const what = known[run]
        return what ? [{ run, over: what.over ?? true, pinned: what.pinned ?? false }] : []
      })
      return await Promise.resolve({ kept })
    },
  })
  return { removed, enforce: async () => await duty.enforce(new AbortController().signal) }
}

const kept = (run: string, bytes: number, daysAgo: number): KeptOutput => ({
  run,
  bytes,
  changedAt: now - daysAgo * day,
})

test("output goes with its run; of a run that is unknown only lately nothing goes yet", async () => {
  const at = quota([kept("r-1", 5, 3), kept("r-2", 5, 3), kept("r-3", 5, 0)], { "r-1": {} }, 1000)
  await at.enforce()
  expect(at.removed).toEqual(["r-2"])
})

test("above the quota that of the runs that ended first goes, until the rest fits", async () => {
  const held = [kept("r-3", 40, 1), kept("r-1", 40, 3), kept("r-2", 40, 2)]
  const at = quota(held, { "r-1": {}, "r-2": {}, "r-3": {} }, 80)
  await at.enforce()
  expect(at.removed).toEqual(["r-1"])
})

test("runs that go on and pinned ones keep theirs, however much it is", async () => {
  const held = [kept("r-1", 90, 3), kept("r-2", 90, 2), kept("r-3", 90, 1)]
  const at = quota(held, { "r-1": { over: false }, "r-2": { pinned: true }, "r-3": {} }, 10)
  await at.enforce()
  expect(at.removed).toEqual(["r-3"])
})

test("a thousand and more runs are asked for in parts", async () => {
  const held = Array.from({ length: 2500 }, (_, n) => kept(`r-${n}`, 1, 3))
  const known = Object.fromEntries(held.slice(0, 2499).map(({ run }) => [run, {}]))
  const at = quota(held, known, 10_000)
  await at.enforce()
  expect(at.removed).toEqual(["r-2499"])
})

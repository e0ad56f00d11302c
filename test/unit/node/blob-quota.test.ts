/** Blobs above a node's quota: only what no kept run names goes, oldest first. */
import { expect, test } from "vitest"
import { BlobQuota, type QuotaContext } from "../../../src/node/blob-quota.ts"
import { defaultRetention } from "../../../src/node/options.ts"
import { median } from "../../../src/node/clock-check.ts"

const hour = 3_600_000
const now = 100 * hour

const quiet = () => undefined

interface Held {
  readonly digest: string
  readonly bytes: number
  readonly at: number
}

/** A node that holds these blobs; the leader names the used ones in two pages. */
function quota(held: readonly Held[], used: readonly string[], blobBytes: number) {
  const left = new Map(held.map((blob) => [blob.digest, blob]))
  const context: QuotaContext = {
    options: { timing: { retainMs: 1 }, retention: { ...defaultRetention, blobBytes } },
    parts: {
      clock: {
        now: () => now,
        boottime: () => 0,
        timeoutSignal: () => new AbortController().signal,
        every: () => ({ cancel: quiet }),
      },
      logger: { info: quiet, warn: quiet },
      blobs: {
        async *list() {
          yield* left.values()
        },
        remove: async (digest: string) => void left.delete(digest),
      },
    },
    call: async (_op, body) =>
      (body as { after?: string }).after === undefined
        ? { digests: used.slice(0, 1), next: "r-1" }
        : { digests: used.slice(1) },
  }
  const enforce = async () => await new BlobQuota(context).enforce(new AbortController().signal)
  return { enforce, left: () => [...left.keys()] }
}

const blob = (digest: string, bytes: number, hoursAgo: number): Held => ({
  digest,
  bytes,
  at: now - hoursAgo * hour,
})

test("below the quota everything stays, used or not", async () => {
  const { enforce, left } = quota([blob("a", 50, 90), blob("b", 50, 80)], [], 100)
  expect(await enforce()).toBe(0)
  expect(left()).toEqual(["a", "b"])
})

test("above it the oldest that nobody names go until it is met", async () => {
  const held = [blob("c", 30, 10), blob("a", 40, 90), blob("b", 40, 80), blob("d", 30, 5)]
  const { enforce, left } = quota(held, ["a"], 100)
  expect(await enforce()).toBe(40)
  expect(left()).toEqual(["c", "a", "d"])
})

test("what a kept run names, and what has just come, stays whatever the quota", async () => {
  const held = [blob("a", 60, 90), blob("b", 60, 80), blob("new", 60, 0.5)]
  const { enforce, left } = quota(held, ["a", "b"], 10)
  expect(await enforce()).toBe(0)
  expect(left()).toEqual(["a", "b", "new"])
})

test.each([
  [[5], 5],
  [[1, 9], 5],
  [[0, 0, 90_000], 0],
  [[-90_000, 0, 1, 2, 90_000], 1],
])("the median of %j is %d", (values, expected) => {
  expect(median(values)).toBe(expected)
})

/** Entries of the log: every command comes back as it was; limits hold; what is newer is never mistaken for damage. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { CodecError, encode, uint } from "../../../src/lib/index.ts"
import { knownVersions } from "../../../src/schema/index.ts"
import type { Command } from "../../../src/state/index.ts"
import {
  decodeEntry,
  encodeEntries,
  encodeEntry,
  entryBytesMax,
  entryItemsMax,
  singleBytesMax,
  UnknownVersionError,
} from "../../../src/wire/index.ts"
import { aPair } from "../../support/plans.ts"
import { command, when } from "./arbitrary.ts"

const version = knownVersions.newest
const entryOf = (one: Command): { version: number; at: number; command: Command } => ({
  version,
  at: 5,
  command: one,
})

test("every command comes back as it was", () => {
  fc.assert(
    fc.property(command, when, (one, at) => {
      const entry = { version, at, command: one }
      expect(decodeEntry(encodeEntry(entry))).toEqual(entry)
    }),
    { numRuns: 500 },
  )
})

test("random bytes and damaged entries are refused in the two known ways", () => {
  const damaged = fc.tuple(command, fc.nat(), fc.nat(255)).map(([one, place, byte]) => {
    const data = encodeEntry(entryOf(one))
    data[place % data.length] = byte
    return data
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), damaged), (data) => {
      try {
        decodeEntry(data)
      } catch (error) {
        const known = error instanceof CodecError || error instanceof UnknownVersionError
        expect(known, String(error)).toBe(true)
      }
    }),
    { numRuns: 2000 },
  )
})

test("an entry of a newer version or an unknown type says so", () => {
  const data = encodeEntry(entryOf({ type: "cancel", items: [{ run: "r-1", reason: "x" }] }))
  const newer = data.with(0, version + 1)
  expect(() => decodeEntry(newer)).toThrow(UnknownVersionError)
  const foreign = data.with(1, 99)
  expect(() => decodeEntry(foreign)).toThrow(UnknownVersionError)
  expect(() => decodeEntry(data.slice(0, -1))).toThrow(CodecError)
})

test("a genesis has exactly one item", () => {
  const data = new Uint8Array([...encode(uint, version), 0, 5, 0])
  expect(() => decodeEntry(data)).toThrow(/0 items of genesis/)
})

const cancel = (reason: string): { run: string; reason: string } => ({ run: "r-1", reason })

test("an entry holds at most 512 items", () => {
  const items = Array.from({ length: entryItemsMax + 1 }, () => cancel("x"))
  expect(() => encodeEntry(entryOf({ type: "cancel", items }))).toThrow(CodecError)
  const cut = encodeEntries(entryOf({ type: "cancel", items }))
  expect(cut.map(({ count }) => count)).toEqual([512, 1])
})

test("several items share 256 KiB, one alone may have 1 MiB", () => {
  const plan = aPair({ variables: { long: "x".repeat(entryBytesMax / 2) } })
  const item = { principal: "p", key: "k", bodyHash: "h", entryNode: "a", plan, placements: [] }
  const three = entryOf({ type: "submit", items: [item, item, item] })
  expect(() => encodeEntry(three)).toThrow(/an entry of/)
  expect(encodeEntries(three).map(({ count }) => count)).toEqual([1, 1, 1])
  const large = aPair({ variables: { long: "x".repeat(entryBytesMax * 2) } })
  const single = entryOf({ type: "submit", items: [{ ...item, plan: large }] })
  expect(encodeEntry(single).length).toBeGreaterThan(entryBytesMax)
  const huge = aPair({ variables: { long: "x".repeat(singleBytesMax) } })
  const over = entryOf({ type: "submit", items: [{ ...item, plan: huge }] })
  expect(() => encodeEntry(over)).toThrow(CodecError)
  expect(() => encodeEntries(over)).toThrow(CodecError)
})

test("cut into entries, items keep their order and every entry is within the limits", () => {
  const lengths = fc.array(fc.nat(1200), { minLength: 1, maxLength: 1500 })
  fc.assert(
    fc.property(lengths, (list) => {
      const items = list.map((length, place) => cancel(`${place} ${"x".repeat(length)}`))
      const entries = encodeEntries(entryOf({ type: "cancel", items }))
      const read = entries.map(({ data }) => decodeEntry(data).command.items)
      expect(read.flat()).toEqual(items)
      expect(entries.map(({ count }) => count)).toEqual(read.map((part) => part.length))
      for (const { data, count } of entries) {
        expect(count).toBeLessThanOrEqual(entryItemsMax)
        expect(data.length).toBeLessThanOrEqual(entryBytesMax)
      }
    }),
    { numRuns: 30 },
  )
})

test("a reason that is too long is cut, never refused", () => {
  for (const letter of ["x", "ä", "語", "🎭"]) {
    const items = [cancel(letter.repeat(20_000))]
    const read = decodeEntry(encodeEntry(entryOf({ type: "cancel", items })))
    const { reason } = read.command.items[0] as { reason: string }
    expect(reason.startsWith(letter)).toBe(true)
    expect(reason.endsWith("…")).toBe(true)
    expect(reason.length).toBeLessThanOrEqual(1300)
  }
})

test("a time with a fraction is rounded; what is no time is refused", () => {
  const one = entryOf({ type: "cancel", items: [cancel("x")] })
  expect(decodeEntry(encodeEntry({ ...one, at: 1234.6 })).at).toBe(1235)
  expect(decodeEntry(encodeEntry({ ...one, at: -3 })).at).toBe(0)
  expect(() => encodeEntry({ ...one, at: Number.NaN })).toThrow(CodecError)
})

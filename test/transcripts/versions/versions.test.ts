/** What version 1 wrote, kept as its own build wrote it (2026-11-20): read, applied and migrated by this one. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { knownVersions, type Member, versionsOf } from "../../../src/schema/index.ts"
import {
  activeVersion,
  apply,
  createTables,
  memberKey,
  migrate,
  readMember,
  type Tables,
} from "../../../src/state/index.ts"
import { ChunkChecker, splitChunks } from "../../../src/storage/snapshot-format.ts"
import { decodeEntry, encodeEntry, UnknownVersionError } from "../../../src/wire/index.ts"

const kept = (name: string): string =>
  readFileSync(join(import.meta.dirname, "1", name), "utf8").trimEnd()

interface Kept {
  readonly index: number
  readonly type: string
  readonly data: Uint8Array
}

const entries: readonly Kept[] = kept("entries.txt")
  .split("\n")
  .map((line) => {
    const [index = "", type = "", hex = ""] = line.split(" ")
    return { index: Number(index), type, data: Buffer.from(hex, "hex") }
  })

const rows: readonly (readonly [string, string])[] = kept("rows.txt")
  .split("\n")
  .map((line) => {
    const at = line.indexOf(" {")
    return [line.slice(0, at), line.slice(at + 1)]
  })

function applied(): Tables {
  const tables = createTables()
  for (const { index, data } of entries) {
    const entry = { index, term: 1, ...decodeEntry(data) }
    tables.commit(apply(tables, entry).writes)
  }
  return tables
}

const asKept = (tables: Tables): readonly (readonly [string, string])[] =>
  Array.from(tables.range(""), ([key, value]) => [key, JSON.stringify(value)] as const)

test("every type of version 1 is among the kept entries, and read and written as it was", () => {
  expect(new Set(entries.map(({ type }) => type)).size).toBe(12)
  for (const { type, data } of entries) {
    const entry = decodeEntry(data)
    expect(entry.version).toBe(1)
    expect(entry.command.type).toBe(type)
    expect(Buffer.from(encodeEntry(entry)).toString("hex")).toBe(Buffer.from(data).toString("hex"))
  }
})

test("C-48: a log of version 1 makes the rows that version 1 made of it, byte for byte", () => {
  const tables = applied()
  expect(asKept(tables)).toEqual(rows)
  expect(activeVersion(tables)).toBe(1)
})

test("C-48: a snapshot of version 1 is read", async () => {
  const bytes = Buffer.from(kept("snapshot.hex").replaceAll("\n", ""), "hex")
  const checker = new ChunkChecker()
  const read: (readonly [string, string])[] = []
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  for await (const chunk of splitChunks(source())) read.push(...checker.take(chunk))
  checker.finish()
  expect(read).toEqual(rows)
  expect(checker.mark?.index).toBe(35)
})

test("C-48: raised to version 2, its members say what they understand in a field", () => {
  const tables = applied()
  for (const { key, value } of migrate(tables, { from: 1, to: 2 })) {
    tables.commit([{ key, value }])
  }
  const changed = asKept(tables).filter(([key, value], place) => {
    expect(key).toBe(rows[place]![0])
    return value !== rows[place]![1]
  })
  expect(changed.map(([key]) => key)).toEqual([memberKey(1), memberKey(2), memberKey(3)])
  const b = readMember(tables, 2)!
  expect(b.versions).toEqual({ oldest: 1, newest: 2 })
  expect(b.labels).toEqual({ site: "north" })
  // Who said nothing is a build from before versions were said.
  expect(readMember(tables, 1)!.versions).toEqual({ oldest: 1, newest: 1 })
})

test("C-48: raised from version 2 to 3, every row stays as it is", () => {
  expect(migrate(applied(), { from: 2, to: 3 })).toEqual([])
})

test("a migration loses nothing that a member's row said", () => {
  const tables = applied()
  const before = readMember(tables, 2)!
  const written = migrate(tables, { from: 1, to: 2 }).find(({ key }) => key === memberKey(2))
  const { versions, labels, ...after } = written!.value as Member
  const { labels: oldLabels, ...rest } = before
  expect(after).toEqual(rest)
  expect({ ...labels, "troupe.versions": "1-2" }).toEqual(oldLabels)
  expect(versions).toEqual(versionsOf(before))
})

test("C-48: a build that knows version 1 only reads all of it, and nothing of version 2", () => {
  const old = { oldest: 1, newest: 1 }
  for (const { data } of entries) expect(decodeEntry(data, old).version).toBe(1)
  const raise = { type: "raise", items: [{ version: 2 }] } as const
  const data = encodeEntry({ version: 2, at: 1, command: raise })
  expect(decodeEntry(data).command).toEqual(raise)
  expect(() => decodeEntry(data, old)).toThrow(UnknownVersionError)
})

test("C-48: a type of version 2 in an entry of version 1 is not understood, by nobody", () => {
  const command = { type: "raise", items: [{ version: 2 }] } as const
  const data = encodeEntry({ version: 2, at: 1, command }).with(0, 1)
  expect(() => decodeEntry(data)).toThrow(UnknownVersionError)
})

test("C-48: a raise beyond what this build knows stops it", () => {
  const next = knownVersions.newest + 1
  const command = { type: "raise", items: [{ version: next }] } as const
  const data = encodeEntry({ version: knownVersions.newest, at: 1, command })
  expect(() => decodeEntry(data)).toThrow(`raised to version ${next}`)
})

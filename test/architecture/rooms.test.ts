/** The house stays as drawn: every import follows the map, pure rooms stay pure, rooms have doors. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"
import { expect, test } from "vitest"
import { owners, rooms } from "./rooms.ts"

const src = join(import.meta.dirname, "../../src")
const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^"']*?["']([^"']+)["']|import\(\s*["']([^"']+)["']/g
const worldPattern = /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.|\bprocess\./
const asyncPattern = /\basync\b|\bawait\b|\bnew Promise\b|\bPromise\./

const sourceFiles = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && entry.parentPath !== src)
  .map((entry) => join(entry.parentPath, entry.name))

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1")
}

function violations(file: string): string[] {
  const path = relative(src, file)
  const name = path.split(sep)[0]!
  const room = rooms[name]
  if (!room) return [`${path}: ${name} is not on the map`]
  const text = withoutComments(readFileSync(file, "utf8"))
  const found: string[] = []
  if (room.pure && worldPattern.test(text)) {
    found.push(`${path}: a pure room reads no clock and rolls no dice`)
  }
  if (room.pure && asyncPattern.test(text)) found.push(`${path}: a pure room never waits`)
  for (const match of text.matchAll(importPattern)) {
    found.push(...importViolations(path, file, (match[1] ?? match[2])!))
  }
  return found
}

function importViolations(path: string, file: string, target: string): string[] {
  const name = path.split(sep)[0]!
  const room = rooms[name]!
  const found: string[] = []
  if (target.startsWith(".")) {
    const [targetRoom, ...rest] = relative(src, join(dirname(file), target)).split(sep)
    if (targetRoom === name) return []
    if (!room.imports.includes(targetRoom!))
      found.push(`${path}: ${name} may not import ${targetRoom}`)
    if (rest.join("/") !== "index.ts") {
      found.push(`${path}: enter ${targetRoom} by its index.ts, not ${rest.join("/")}`)
    }
    return found
  }
  if (room.pure && target.startsWith("node:"))
    found.push(`${path}: a pure room does no I/O (${target})`)
  for (const [prefix, allowed] of Object.entries(owners)) {
    const owned =
      target === prefix ||
      target.startsWith(prefix.endsWith("-") || prefix.endsWith("/") ? prefix : `${prefix}/`)
    if (owned && !allowed.includes(name)) {
      found.push(`${path}: only ${allowed.join(", ")} may import ${target}`)
    }
  }
  return found
}

test("the map lists every room, and each room imports only lower ones", () => {
  const names = Object.keys(rooms)
  const folders = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  for (const folder of folders) expect(names).toContain(folder.name)
  for (const [index, name] of names.entries()) {
    for (const target of rooms[name]!.imports) {
      expect(names.indexOf(target), `${name} imports ${target}`).toBeLessThan(index)
    }
  }
})

test("every room has a door", () => {
  const folders = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const doorless = folders.filter(
    (folder) =>
      !existsSync(join(src, folder.name, "index.ts")) &&
      !existsSync(join(src, folder.name, "main.ts")),
  )
  expect(doorless.map((folder) => folder.name)).toEqual([])
})

test("every import follows the map", () => {
  expect(sourceFiles.flatMap(violations)).toEqual([])
})

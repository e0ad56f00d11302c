/** Reads fields out of a document's tree: each reader takes what is right and notes every mistake at its place. */
import type { Issue } from "../schema/index.ts"
import { isMap, isScalar, isSeq, type Node, type Scalar } from "yaml"
import { nearest } from "../lib/index.ts"
import { entriesOf, followed, type Reading } from "./document.ts"
import type { Place } from "./spec.ts"

/** No list or map of a manifest is longer. */
const itemsMax = 1000

/** A map of known keys. `place` is where its own key stands, for what is missing in it. */
export interface Section {
  readonly path: string
  readonly place: Place
  readonly fields: ReadonlyMap<string, Node>
  /** Known keys that a misspelt key was probably meant to be: not reported as missing too. */
  readonly meant: ReadonlySet<string>
}

const startOfFile: Place = { line: 1, column: 1 }

export function report(
  reading: Reading,
  at: { path: string; place: Place },
  message: string,
): void {
  reading.issues.push({ path: at.path, message, file: reading.file, ...at.place })
}

export function warn(reading: Reading, at: { path: string; place: Place }, message: string): void {
  reading.warnings.push({ path: at.path, message, file: reading.file, ...at.place })
}

/** The path and place of a field that is there, or of the section that lacks it. */
export function fieldAt(
  reading: Reading,
  section: Section,
  key: string,
): { path: string; place: Place } {
  const path = join(section.path, key)
  return { path, place: reading.places.get(path) ?? section.place }
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`
}

/** An absent section reads as an empty one whose fields are all missing. */
export function readSection(
  reading: Reading,
  parent: { readonly section: Section; readonly key: string } | undefined,
  keys: readonly string[] | undefined,
): Section {
  const path = parent ? join(parent.section.path, parent.key) : ""
  const place = parent ? fieldAt(reading, parent.section, parent.key).place : startOfFile
  const node = parent ? parent.section.fields.get(parent.key) : reading.root
  const empty: Section = { path, place, fields: new Map(), meant: new Set() }
  if (!node || isNull(node)) return empty
  if (!isMap(node)) {
    const where = parent ? { path, place } : { path, place: positionOf(reading, node) }
    report(reading, where, `must be a map of \`key: value\` lines, not ${kindOf(node)}`)
    return empty
  }
  const fields = new Map<string, Node>()
  const meant = new Set<string>()
  for (const pair of node.items) {
    if (isScalar(pair.key)) continue
    const at = positionOf(reading, isNode(pair.key) ? pair.key : node)
    report(reading, { path, place: at }, "a key must be a plain word")
  }
  const entries = entriesOf(reading, node)
  if (entries.length > itemsMax) {
    report(reading, { path, place }, `has ${entries.length} keys; at most ${itemsMax} are read`)
    return empty
  }
  for (const entry of entries) {
    const at = { path: join(path, entry.name), place: positionOf(reading, entry.key) }
    if (fields.has(entry.name)) {
      report(reading, at, "stands here a second time; keep one of the two")
    } else if (!keys || keys.includes(entry.name)) {
      if (entry.value) fields.set(entry.name, entry.value)
      reading.places.set(at.path, at.place)
    } else if (!entry.merged) {
      const guess = unknownKey(reading, { ...at, name: entry.name }, keys)
      if (guess !== undefined) meant.add(guess)
    }
  }
  return { path, place, fields, meant }
}

function unknownKey(
  reading: Reading,
  at: { path: string; place: Place; name: string },
  keys: readonly string[],
): string | undefined {
  const guess = nearest(at.name, keys)
  const advice =
    guess === undefined ? `write one of: ${keys.join(", ")}` : `did you mean '${guess}'?`
  const note = reading.lenient ? warn : report
  note(reading, at, `unknown key '${at.name}'; ${advice}`)
  // With --lenient the original's own complaint about the missing field is the only one: keep it.
  return reading.lenient ? undefined : guess
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value)
}

function isNull(node: Node): boolean {
  return isScalar(node) && node.value === null
}

function positionOf(reading: Reading, node: Node): Place {
  return reading.placeOf(node.range?.[0] ?? 0)
}

function kindOf(node: Node): string {
  if (isMap(node)) return "a map"
  if (isSeq(node)) return "a list"
  if (!isScalar(node)) return "an alias"
  if (node.value === null) return "nothing"
  return typeof node.value === "string" ? "a text" : `a ${typeof node.value}`
}

function valueAt(
  reading: Reading,
  section: Section,
  key: string,
): { node: Node; at: { path: string; place: Place } } | undefined {
  const node = section.fields.get(key)
  if (!node || isNull(node)) return undefined
  const at = { path: join(section.path, key), place: positionOf(reading, node) }
  // From here on, a mistake in this field is one of its value.
  reading.places.set(at.path, at.place)
  return { node, at }
}

/** Reports a field that must be there, unless a misspelt key was reported in its stead. */
export function requireField(
  reading: Reading,
  section: Section,
  key: string,
  message = "required",
): void {
  if (section.meant.has(key)) return
  report(reading, { path: join(section.path, key), place: section.place }, message)
}

/** Text of a scalar. Numbers, dates and booleans without quotes are taken as they are written, as yaml.v3 does. */
function scalarText(node: Scalar): string {
  if (typeof node.value === "string") return node.value
  return node.source ?? String(node.value)
}

/** undefined when absent, empty or wrong. */
export function readText(reading: Reading, section: Section, key: string): string | undefined {
  const value = valueAt(reading, section, key)
  if (!value) return undefined
  if (!isScalar(value.node)) {
    report(reading, value.at, `must be a text, not ${kindOf(value.node)}`)
    return undefined
  }
  const text = scalarText(value.node)
  if (text.includes("\0")) {
    report(reading, value.at, "must not hold a NUL character")
    return undefined
  }
  return text === "" ? undefined : text
}

export function readEnum<const T extends string>(
  reading: Reading,
  section: Section,
  field: { readonly key: string; readonly values: readonly T[] },
): T | undefined {
  const text = readText(reading, section, field.key)
  if (text === undefined) return undefined
  const value = field.values.find((candidate) => candidate === text)
  if (value === undefined) {
    const guess = nearest(text, field.values)
    const advice = guess === undefined ? `, got '${text}'` : `; did you mean '${guess}'?`
    const message = `must be one of: ${field.values.join(", ")}${advice}`
    report(reading, fieldAt(reading, section, field.key), message)
  }
  return value
}

/** A whole number within the bounds, which are said when it is not, unless the field has its own words. */
export function readInt(
  reading: Reading,
  section: Section,
  field: {
    readonly key: string
    readonly min: number
    readonly max: number
    readonly tooSmall?: string
  },
): number | undefined {
  const value = valueAt(reading, section, field.key)
  if (!value) return undefined
  const number = isScalar(value.node) ? value.node.value : undefined
  if (typeof number !== "number" || !Number.isInteger(number)) {
    const got = isScalar(value.node) ? `'${scalarText(value.node)}'` : kindOf(value.node)
    report(reading, value.at, `must be a whole number, got ${got}`)
    return undefined
  }
  if (number < field.min && field.tooSmall !== undefined) {
    report(reading, value.at, field.tooSmall)
    return undefined
  }
  if (number < field.min || number > field.max) {
    report(reading, value.at, `must be from ${field.min} to ${field.max}, got ${number}`)
    return undefined
  }
  return number
}

/** As yaml.v3 reads a bool: also yes, no, on and off. */
export function readBool(reading: Reading, section: Section, key: string): boolean | undefined {
  const value = valueAt(reading, section, key)
  if (!value) return undefined
  const word = isScalar(value.node) ? scalarText(value.node).toLowerCase() : ""
  if (["true", "yes", "on", "y"].includes(word)) return true
  if (["false", "no", "off", "n"].includes(word)) return false
  report(
    reading,
    value.at,
    `must be true or false, not ${word === "" ? kindOf(value.node) : `'${word}'`}`,
  )
  return undefined
}

/** A list of texts. */
export function readTexts(
  reading: Reading,
  section: Section,
  key: string,
): readonly string[] | undefined {
  const value = valueAt(reading, section, key)
  if (!value) return undefined
  if (!isSeq(value.node)) {
    report(reading, value.at, `must be a list, not ${kindOf(value.node)}; write [a, b]`)
    return undefined
  }
  if (value.node.items.length > itemsMax) {
    report(reading, value.at, `has ${value.node.items.length} items; at most ${itemsMax} are read`)
    return undefined
  }
  const texts: string[] = []
  for (const [index, raw] of value.node.items.entries()) {
    const item = followed(reading, raw)
    const at = {
      path: `${value.at.path}[${index}]`,
      place: item ? positionOf(reading, item) : value.at.place,
    }
    reading.places.set(at.path, at.place)
    if (!item || !isScalar(item) || item.value === null) {
      report(reading, at, `must be a text, not ${item ? kindOf(item) : "nothing"}`)
    } else if (scalarText(item).includes("\0")) {
      report(reading, at, "must not hold a NUL character")
    } else texts.push(scalarText(item))
  }
  return texts
}

/** What a field is, for fields that may be written in two forms. */
export function shapeOf(section: Section, key: string): "absent" | "scalar" | "list" | "map" {
  const node = section.fields.get(key)
  if (!node || isNull(node)) return "absent"
  if (isMap(node)) return "map"
  return isSeq(node) ? "list" : "scalar"
}

/** A map of free keys to texts, numbers and booleans. */
export function readScalars(
  reading: Reading,
  section: Section,
  key: string,
): ReadonlyMap<string, { readonly value: string | number | boolean; readonly text: string }> {
  const map = readSection(reading, { section, key }, undefined)
  const scalars = new Map<string, { value: string | number | boolean; text: string }>()
  for (const [name, node] of map.fields) {
    const at = { path: join(map.path, name), place: positionOf(reading, node) }
    reading.places.set(at.path, at.place)
    const value = isScalar(node) ? node.value : undefined
    const text = isScalar(node) && value !== null ? scalarText(node) : ""
    if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") {
      report(reading, at, `must be a text, a number or a boolean, not ${kindOf(node)}`)
    } else if (text.includes("\0")) report(reading, at, "must not hold a NUL character")
    else scalars.set(name, { value, text })
  }
  return scalars
}

/** In the order of the text; mistakes at one place stay in the order of the checks. */
export function byPlace(issues: readonly Issue[]): Issue[] {
  return issues.toSorted(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  )
}

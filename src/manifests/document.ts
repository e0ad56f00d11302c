/** YAML text → its tree with positions, or every reason why it is none. Aliases are resolved here, once. */
import {
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
  type YAMLMap,
} from "yaml"
import type { Issue } from "../schema/index.ts"
import type { Place } from "./spec.ts"

/** A manifest is written by hand; the rest are bounds against documents made to harm. */
const documentCharsMax = 64 * 1024
const aliasesMax = 200
const depthMax = 32
const bracketsMax = 1000
const issuesMax = 100

/** One parse in progress: the document, and the mistakes found so far. */
export interface Reading {
  readonly file: string
  readonly lenient: boolean
  readonly root: Node | null
  /** What an alias stands for. */
  readonly targets: ReadonlyMap<Node, Node>
  readonly placeOf: (offset: number) => Place
  readonly issues: Issue[]
  readonly warnings: Issue[]
  readonly places: Map<string, Place>
  /** Maps whose entries were gathered already. */
  readonly merges: Map<YAMLMap, readonly Entry[]>
}

/** `failures` hold everything that keeps the text from being read at all. */
export function readDocument(
  text: string,
  options: { readonly file: string; readonly lenient: boolean },
): { readonly reading: Reading } | { readonly failures: Issue[] } {
  const at = (place: Place, message: string): Issue => {
    return { path: "", message, file: options.file, ...place }
  }
  const start = { line: 1, column: 1 }
  if (text.length > documentCharsMax) {
    const message = `the document has ${text.length} characters; at most ${documentCharsMax} are read`
    return { failures: [at(start, message)] }
  }
  if (openBrackets(text) > bracketsMax) {
    return { failures: [at(start, "the document is nested too deeply")] }
  }
  const lines = new LineCounter()
  const placeOf = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
  let document: Document.Parsed
  try {
    // Keys are compared in reader.ts: the library's own check takes quadratic time.
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false })
  } catch (error) {
    // An exhausted stack; the library notes it as a mistake in most places, not in all.
    if (!(error instanceof RangeError)) throw error
    return { failures: [at(start, "the document is nested too deeply")] }
  }
  if (document.errors.length > 0) {
    return {
      failures: document.errors
        .slice(0, issuesMax)
        .map((error) => at(placeOf(error.pos[0]), syntaxMessage(error))),
    }
  }
  const { targets, failure } = resolveAliases(document, (offset, message) =>
    at(placeOf(offset), message),
  )
  if (failure) return { failures: [failure] }
  return {
    reading: {
      ...options,
      root: document.contents,
      targets,
      placeOf,
      issues: [],
      warnings: document.warnings.map((warning) => at(placeOf(warning.pos[0]), warning.message)),
      places: new Map(),
      merges: new Map(),
    },
  }
}

/** The parser recurses into brackets: a rough count keeps it from thousands of them. */
function openBrackets(text: string): number {
  let open = 0
  let most = 0
  for (const character of text) {
    if (character === "[" || character === "{") open += 1
    else if (character === "]" || character === "}") open -= 1
    most = Math.max(most, open)
  }
  return most
}

function syntaxMessage(error: { code: string; message: string }): string {
  if (error.code === "TAB_AS_INDENT") return "YAML: indent with spaces, not with tabs"
  if (error.message.includes("call stack")) return "the document is nested too deeply"
  if (error.code === "MULTIPLE_DOCS") return "YAML: one document a file; remove the second `---`"
  return `YAML: ${error.message}`
}

/** One walk in document order: an alias means the last node before it that bears its anchor. */
function resolveAliases(
  document: Document.Parsed,
  at: (offset: number, message: string) => Issue,
): { targets: Map<Node, Node>; failure: Issue | undefined } {
  const anchors = new Map<string, Node>()
  const targets = new Map<Node, Node>()
  let failure: Issue | undefined
  visit(document, {
    Node: (_key, node, path) => {
      const offset = node.range?.[0] ?? 0
      if (path.length > depthMax * 2) {
        failure = at(offset, `nested deeper than ${depthMax} levels`)
        return visit.BREAK
      }
      if (!isAlias(node)) {
        if ((isScalar(node) || isCollection(node)) && node.anchor) anchors.set(node.anchor, node)
        return undefined
      }
      const target = anchors.get(node.source)
      if (!target) failure = at(offset, `no anchor \`&${node.source}\` stands before this alias`)
      else if (targets.size === aliasesMax) failure = at(offset, `more than ${aliasesMax} aliases`)
      else if (path.includes(target)) {
        failure = at(offset, `the alias \`*${node.source}\` stands inside what it names`)
      } else targets.set(node, target)
      return failure ? visit.BREAK : undefined
    },
  })
  return { targets, failure }
}

/** The node itself, or what an alias stands for. */
export function followed(reading: Reading, node: unknown): Node | null {
  let current = node as Node | null
  for (let hops = 0; hops < depthMax && isAlias(current); hops++) {
    current = reading.targets.get(current) ?? null
  }
  return current ?? null
}

/** One key of a map with its value; `merged` when `<<` brought it from elsewhere. */
export interface Entry {
  readonly name: string
  readonly key: Node
  readonly value: Node | null
  readonly merged: boolean
}

/** The pairs of a map in order, duplicates included, and then what `<<` brings: what stands in the map itself wins. */
export function entriesOf(reading: Reading, map: YAMLMap): readonly Entry[] {
  // Kept, since a map that merges a map that merges … would be gathered again for every path that leads to it.
  const known = reading.merges.get(map)
  if (known) return known
  const own: Entry[] = []
  const sources: YAMLMap[] = []
  for (const { key, value } of map.items) {
    if (!isScalar(key)) continue
    if (key.source !== "<<") {
      const name = key.source ?? String(key.value)
      own.push({ name, key, value: followed(reading, value), merged: false })
      continue
    }
    const source = followed(reading, value)
    const maps = isSeq(source) ? source.items.map((item) => followed(reading, item)) : [source]
    sources.push(...maps.filter((item) => isMap(item)))
  }
  const taken = new Set(own.map((entry) => entry.name))
  const merged: Entry[] = []
  for (const entry of sources.flatMap((source) => entriesOf(reading, source))) {
    if (taken.has(entry.name)) continue
    taken.add(entry.name)
    merged.push({ ...entry, merged: true })
  }
  const entries = [...own, ...merged]
  reading.merges.set(map, entries)
  return entries
}

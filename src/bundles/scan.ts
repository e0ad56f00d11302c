/** One pass over a bundle: the hash of every file, and the text of the few that say what it is. */
import { createHash } from "node:crypto"
import { basename } from "node:path"
import { hashesFile, sumsFile } from "./hashes.ts"
import type { BundleFile } from "./tar.ts"

export interface ScannedFile {
  readonly bytes: number
  /** undefined when hashes were not asked for. */
  readonly digest: string | undefined
  /** Of the files that describe the bundle. */
  readonly text: string | undefined
}

const described = new Set([
  hashesFile,
  sumsFile,
  "run_meta.json",
  "versions.json",
  "role_meta.json",
  "summary.json",
])
/** 100,000 lines of hashes with long paths. */
const textBytesMax = 32 * 1024 ** 2

/** Path → what was found. */
export async function scanFiles(
  files: AsyncIterable<BundleFile>,
  options: { readonly hash: boolean },
): Promise<Map<string, ScannedFile>> {
  const found = new Map<string, ScannedFile>()
  for await (const file of files) {
    const keep = described.has(basename(file.path)) && file.bytes <= textBytesMax
    if (!keep && !options.hash) {
      found.set(file.path, { bytes: file.bytes, digest: undefined, text: undefined })
      continue
    }
    const hash = options.hash ? createHash("sha256") : undefined
    const kept: Uint8Array[] = []
    for await (const chunk of file.read()) {
      hash?.update(chunk)
      if (keep) kept.push(chunk)
    }
    const text = keep ? Buffer.concat(kept).toString("utf8") : undefined
    found.set(file.path, { bytes: file.bytes, digest: hash?.digest("hex"), text })
  }
  return found
}

/** The text of a described file, or Go's words for its absence. */
export function textOf(
  files: ReadonlyMap<string, ScannedFile>,
  place: { readonly bundle: string; readonly path: string },
): { readonly text: string } | { readonly missing: string } {
  const text = files.get(place.path)?.text
  if (text !== undefined) return { text }
  const root = place.bundle.replace(/^(?:\.\/)+/, "").replace(/\/+$/, "")
  const reason = files.has(place.path) ? "file too large" : "no such file or directory"
  return { missing: `open ${root}/${place.path}: ${reason}` }
}

/** A JSON object, or why the text is none. */
export function parseObject(
  text: string,
): { readonly value: Readonly<Record<string, unknown>> } | { readonly reason: string } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return { value: value as Readonly<Record<string, unknown>> }
    }
    return { reason: "not a JSON object" }
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) }
  }
}

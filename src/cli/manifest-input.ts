/** A manifest as the user handed it in: its text, its checked form, and the files it names, before anything is sent. */
import { createHash } from "node:crypto"
import { readFileSync, statSync } from "node:fs"
import { resolve } from "node:path"
import {
  manifestBaseline,
  manifestFiles,
  type ManifestSpec,
  parseManifest,
} from "../manifests/index.ts"
import { type Issue, TroupeError } from "../schema/index.ts"
import { describeIssue, UsageError } from "./failure.ts"
import type { Session } from "./session.ts"

interface NamedFile {
  /** As written in the manifest. */
  readonly path: string
  readonly absolute: string
  readonly content: Uint8Array<ArrayBuffer>
  readonly digest: string
}

export interface ManifestInput {
  readonly file: string
  readonly text: string
  readonly spec: ManifestSpec
  readonly files: readonly NamedFile[]
  /** Directory of the baseline bundle: as written, and absolute. */
  readonly baseline: { readonly path: string; readonly absolute: string } | undefined
}

const fileBytesMax = 64 * 1024 * 1024

/** Throws ERR_MANIFEST_INVALID with every mistake. Warnings are told. */
export function readManifest(
  session: Session,
  file: string,
  options: { lenient: boolean; diff: boolean },
): ManifestInput {
  const text = readText(file)
  session.sources.set(file, text)
  const parsed = parseManifest(text, { file, lenient: options.lenient })
  const { terminal } = session
  for (const warning of parsed.warnings) {
    const [head] = describeIssue(warning, { paint: terminal.paintError, sources: new Map() })
    terminal.tell(`warning: ${head}`)
  }
  const { manifest: spec } = parsed
  if (spec === undefined) throw invalid(file, parsed.issues)
  const issues: Issue[] = []
  const files = manifestFiles(spec).flatMap((path) => {
    const read = readNamed(path)
    if (typeof read !== "string") return [read]
    issues.push({ path: "profile.path", message: read, file, ...spec.places.get("profile.path") })
    return []
  })
  const path = options.diff ? manifestBaseline(spec) : undefined
  const baseline = path === undefined ? undefined : { path, absolute: resolve(path) }
  if (baseline && !isDirectory(baseline.absolute)) {
    const message = `${baseline.absolute} is not a bundle's directory`
    const place = spec.places.get("post_run.diff_baseline")
    issues.push({ path: "post_run.diff_baseline", message, file, ...place })
  }
  if (issues.length > 0) throw invalid(file, issues)
  return { file, text, spec, files, baseline }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex")
}

function invalid(file: string, issues: readonly Issue[]): TroupeError {
  const count = issues.length === 1 ? "a mistake" : `${issues.length} mistakes`
  return new TroupeError("ERR_MANIFEST_INVALID", `${file} has ${count}; nothing was started`, {
    issues,
  })
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new UsageError(`the manifest cannot be read: ${reasonOf(error)}`)
  }
}

/** The file, or why it cannot be had. Paths are relative to where the command runs, as in the original. */
function readNamed(path: string): NamedFile | string {
  const absolute = resolve(path)
  try {
    const { size } = statSync(absolute)
    if (size > fileBytesMax) return `${absolute} is longer than ${fileBytesMax} bytes`
    const content = new Uint8Array(readFileSync(absolute))
    return { path, absolute, content, digest: sha256(content) }
  } catch (error) {
    return `cannot be read: ${reasonOf(error)}`
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Verification with the original's rules, counts and words, and of SHA256SUMS where there is one. */
import { formatGoJson } from "./go-json.ts"
import { hashesFile, parseHashes, parseSums, sumsFile } from "./hashes.ts"
import { parseObject, type ScannedFile, scanFiles, textOf } from "./scan.ts"
import { bundleFiles } from "./tree.ts"

/** In the original's key names, so that it prints as the original's JSON. */
export interface VerifyReport {
  readonly Valid: boolean
  readonly Errors: readonly string[]
  readonly Warnings: readonly string[]
  readonly FilesChecked: number
  readonly HashesVerified: number
  readonly HashMismatches: readonly string[]
  readonly MissingFiles: readonly string[]
  readonly ExtraFiles: readonly string[]
}

type Findings = {
  -readonly [Key in keyof VerifyReport]: VerifyReport[Key] extends readonly string[]
    ? string[]
    : VerifyReport[Key]
}

const requiredFiles = ["manifest.yaml", "run_meta.json", "versions.json"]
const requiredFilesStrict = ["manifest_resolved.yaml"]

/** Reads the bundle at `path` (directory, .tar or .zip) once. ERR_BUNDLE_INVALID only when there is no bundle to read. */
export async function verifyBundle(
  path: string,
  options: {
    /** Default true: manifest_resolved.yaml is required too. */
    readonly strict?: boolean
    readonly skipHashes?: boolean
    readonly skipPcaps?: boolean
  } = {},
): Promise<VerifyReport> {
  const found: Findings = {
    Valid: true,
    Errors: [],
    Warnings: [],
    FilesChecked: 0,
    HashesVerified: 0,
    HashMismatches: [],
    MissingFiles: [],
    ExtraFiles: [],
  }
  const strange: string[] = []
  const hash = options.skipHashes !== true
  const onProblem = (file: string, reason: string): void => {
    strange.push(`${file}: ${reason}`)
  }
  const files = await scanFiles(bundleFiles(path, onProblem), { hash })
  const required = [...requiredFiles, ...(options.strict === false ? [] : requiredFilesStrict)]
  for (const file of required.filter((name) => !files.has(name))) {
    found.MissingFiles.push(file)
    found.Errors.push(`missing required file: ${file}`)
  }
  if (hash) {
    checkHashes(files, found)
    checkSums(files, found)
  }
  checkRunMeta(files, { path, found })
  checkVersions(files, { path, found })
  if (options.skipPcaps !== true) checkPcaps(files, found)
  found.Errors.push(...strange)
  found.FilesChecked = files.size + strange.length
  found.Valid = found.Errors.length === 0
  return found
}

type Files = ReadonlyMap<string, ScannedFile>

function isHashes(path: string): boolean {
  return path === hashesFile || path.endsWith(`/${hashesFile}`)
}

function checkHashes(files: Files, found: Findings): void {
  const list = files.get(hashesFile)
  if (!list) {
    found.Errors.push("missing hashes.txt file")
    return
  }
  if (list.text === undefined) {
    found.Errors.push("hash verification failed: hashes.txt is too large")
    return
  }
  const stored = parseHashes(list.text)
  for (const [path, expected] of stored) {
    found.HashesVerified += 1
    const file = isHashes(path) ? undefined : files.get(path)
    const actual = `sha256:${file?.digest}`
    if (!file) {
      found.MissingFiles.push(path)
      found.Errors.push(`file in hashes.txt not found: ${path}`)
    } else if (actual !== expected) {
      found.HashMismatches.push(path)
      found.Errors.push(`hash mismatch for ${path}: expected ${expected}, got ${actual}`)
    }
  }
  for (const path of files.keys()) {
    if (isHashes(path) || stored.has(path)) continue
    found.ExtraFiles.push(path)
    found.Warnings.push(`file not in hashes.txt: ${path}`)
  }
}

/** What hashes.txt has found already is not said twice. */
function checkSums(files: Files, found: Findings): void {
  const text = files.get(sumsFile)?.text
  if (text === undefined) return
  const sums = parseSums(text)
  for (const [path, expected] of sums) {
    const file = files.get(path)
    if (!file && !found.MissingFiles.includes(path)) {
      found.MissingFiles.push(path)
      found.Errors.push(`file in SHA256SUMS not found: ${path}`)
    } else if (file && file.digest !== expected && !found.HashMismatches.includes(path)) {
      found.HashMismatches.push(path)
      found.Errors.push(
        `hash mismatch in SHA256SUMS for ${path}: expected ${expected}, got ${file.digest}`,
      )
    }
  }
  for (const path of files.keys()) {
    if (sums.has(path) || path === sumsFile || isHashes(path)) continue
    if (!found.ExtraFiles.includes(path)) found.Warnings.push(`file not in SHA256SUMS: ${path}`)
  }
}

interface Check {
  readonly path: string
  readonly found: Findings
}

function readObject(
  files: Files,
  { path, found }: Check,
  name: string,
): Readonly<Record<string, unknown>> | undefined {
  const text = textOf(files, { bundle: path, path: name })
  const parsed = "text" in text ? parseObject(text.text) : { reason: text.missing }
  if ("value" in parsed) return parsed.value
  found.Errors.push(`invalid ${name}: ${parsed.reason}`)
  return undefined
}

function checkRunMeta(files: Files, check: Check): void {
  const meta = readObject(files, check, "run_meta.json")
  if (!meta) return
  if (!meta["run_id"]) check.found.Warnings.push("run_meta.json: run_id is empty")
  if (!meta["status"]) check.found.Warnings.push("run_meta.json: status is empty")
}

function checkVersions(files: Files, check: Check): void {
  const versions = readObject(files, check, "versions.json")
  if (versions && !versions["cipdip_version"]) {
    check.found.Warnings.push("versions.json: cipdip_version is empty")
  }
}

/** The original looks at server and client; ours have any roles. */
function checkPcaps(files: Files, found: Findings): void {
  for (const [path, file] of files) {
    const role = /^roles\/([^/]+)\/role_meta\.json$/.exec(path)?.[1]
    if (role === undefined) continue
    const meta = file.text === undefined ? { reason: "file too large" } : parseObject(file.text)
    if ("reason" in meta) {
      found.Warnings.push(`could not read ${role} role_meta.json: ${meta.reason}`)
      continue
    }
    const listed: unknown = meta.value["pcap_files"]
    for (const pcap of Array.isArray(listed) ? listed : []) {
      const bytes = files.get(`roles/${role}/${String(pcap)}`)?.bytes
      if (bytes === undefined) found.Errors.push(`${role} role: missing PCAP file ${String(pcap)}`)
      else if (bytes === 0) found.Warnings.push(`${role} role: PCAP file ${String(pcap)} is empty`)
    }
  }
}

function section(title: string, lines: readonly string[]): string {
  if (lines.length === 0) return ""
  return `\n${title}:\n${lines.map((line) => `  - ${line}\n`).join("")}`
}

/** As the original prints it. */
export function formatVerifyText(report: VerifyReport): string {
  return [
    `Bundle verification: ${report.Valid ? "PASSED" : "FAILED"}\n`,
    `Files checked: ${report.FilesChecked}\n`,
    `Hashes verified: ${report.HashesVerified}\n`,
    section("Errors", report.Errors),
    section("Warnings", report.Warnings),
    section("Hash mismatches", report.HashMismatches),
    section("Missing files", report.MissingFiles),
  ].join("")
}

/** As the original prints it with `--json`: an empty list is null. A newline ends it. */
export function formatVerifyJson(report: VerifyReport): string {
  const nulled = Object.entries(report).map(([key, value]: [string, unknown]) => [
    key,
    Array.isArray(value) && value.length === 0 ? null : value,
  ])
  return `${formatGoJson(Object.fromEntries(nulled))}\n`
}

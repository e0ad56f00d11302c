/** What a bundle is, in the original's text and JSON. */
import { formatGoJson } from "./go-json.ts"
import { invalidBundle } from "./paths.ts"
import { parseObject, type ScannedFile, scanFiles, textOf } from "./scan.ts"
import { bundleFiles } from "./tree.ts"

type Fields = Readonly<Record<string, unknown>>

/** The metadata files as they stand. */
export interface BundleInfo {
  readonly path: string
  readonly runId: string
  readonly runMeta: Fields
  readonly versions: Fields
  readonly roles: ReadonlyMap<string, Fields>
}

/** ERR_BUNDLE_INVALID when run_meta.json or versions.json cannot be read. */
export async function bundleInfo(path: string): Promise<BundleInfo> {
  const files = await scanFiles(bundleFiles(path), { hash: false })
  const runMeta = readMeta(files, { path, file: "run_meta.json", what: "run metadata" })
  const versions = readMeta(files, { path, file: "versions.json", what: "versions" })
  const roles = new Map<string, Fields>()
  for (const [file, { text }] of files) {
    const role = /^roles\/([^/]+)\/role_meta\.json$/.exec(file)?.[1]
    const meta = parseObject(text ?? "")
    if (role !== undefined && "value" in meta) roles.set(role, meta.value)
  }
  return { path, runId: textField(runMeta, "run_id"), runMeta, versions, roles }
}

function readMeta(
  files: ReadonlyMap<string, ScannedFile>,
  { path, file, what }: { readonly path: string; readonly file: string; readonly what: string },
): Fields {
  const text = textOf(files, { bundle: path, path: file })
  const meta = "text" in text ? parseObject(text.text) : { reason: text.missing }
  if ("value" in meta) return meta.value
  throw invalidBundle(path, `read ${what}: ${meta.reason}`)
}

function textField(fields: Fields, key: string): string {
  const value = fields[key]
  if (typeof value === "string") return value
  return typeof value === "number" || typeof value === "boolean" ? String(value) : ""
}

/** `2026-11-20T14:24:44.38Z` → `2026-11-20 14:24:44`, in the zone it was written in. */
function timeField(fields: Fields, key: string): string {
  return textField(fields, key).slice(0, 19).replace("T", " ")
}

function rank(name: string): number {
  if (name === "server") return 0
  return name === "client" ? 1 : 2
}

/** The original's two roles first, then the others by name. */
function rolesInOrder(info: BundleInfo): [string, Fields][] {
  return [...info.roles].toSorted(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : a > b ? 1 : 0))
}

export function formatInfoText(info: BundleInfo): string {
  const { runMeta, versions } = info
  const phases = runMeta["phases_completed"]
  const commit = textField(versions, "git_commit")
  const error = textField(runMeta, "error")
  const lines = [
    `Bundle: ${info.path}`,
    `Run ID: ${info.runId}`,
    "",
    "Run Metadata:",
    `  Status: ${textField(runMeta, "status")}`,
    `  Started: ${timeField(runMeta, "started_at")}`,
    `  Finished: ${timeField(runMeta, "finished_at")}`,
    `  Duration: ${Number(runMeta["duration_seconds"] ?? 0).toFixed(1)} seconds`,
    `  Phases: [${Array.isArray(phases) ? phases.join(" ") : ""}]`,
    ...(error === "" ? [] : [`  Error: ${error}`]),
    "",
    "Versions:",
    `  cipdip: ${textField(versions, "cipdip_version")}`,
    ...(commit === "" ? [] : [`  git commit: ${commit}`]),
    `  controller: ${textField(versions, "controller_os")}/${textField(versions, "controller_arch")}`,
  ]
  for (const [name, meta] of rolesInOrder(info)) {
    lines.push("", `${name.charAt(0).toUpperCase()}${name.slice(1)} Role:`)
    lines.push(`  Agent: ${textField(meta, "agent_id")}`)
    if (name === "client") lines.push(`  Target: ${textField(meta, "target_ip")}`)
    lines.push(`  Exit Code: ${textField(meta, "exit_code")}`)
  }
  return `${lines.join("\n")}\n`
}

/** Keys sorted as Go sorts those of a map; a newline ends it. */
export function formatInfoJson(info: BundleInfo): string {
  const roles = [...info.roles].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const document = {
    path: info.path,
    roles: Object.fromEntries(roles),
    run_id: info.runId,
    run_meta: info.runMeta,
    versions: info.versions,
  }
  return `${formatGoJson(document)}\n`
}

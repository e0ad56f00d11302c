/** What a bundle's files say about its run: exit codes, durations, sizes, error lines, figures. */
import { textLines } from "./lines.ts"
import { measureDocument, type Measurement } from "./measure.ts"
import { parseObject } from "./scan.ts"
import type { BundleFile } from "./tar.ts"

export interface RoleSummary {
  readonly exit_code: number | null
  readonly duration_seconds: number | null
  readonly stdout_bytes: number
  readonly stderr_bytes: number
  readonly stdout_lines: number
  /** Lines of both streams that speak of an error; a hint where to look, not a verdict. */
  readonly error_lines: number
  readonly measurements: readonly Measurement[]
}

/** The content of analysis/summary.json. */
export interface Summary {
  readonly run_id: string
  readonly status: string
  readonly duration_seconds: number
  readonly files: number
  readonly bytes: number
  readonly roles: Readonly<Record<string, RoleSummary>>
}

type Draft = { -readonly [Key in keyof RoleSummary]: RoleSummary[Key] }

const errorPattern = /\b(?:error|fatal|panic|exception|traceback)\b/i
/** Parsing this much JSON takes a few milliseconds. */
const documentBytesMax = 512 * 1024
const metaBytesMax = 1024 * 1024
/** Only lines that can hold figures are parsed. */
const figureLinePattern = /^\s*\{.*"(?:bits_per_second|stats)"/

/** Reads every file that matters once, in the order they come. Analysis of an earlier time is not looked at. */
export async function summarise(files: AsyncIterable<BundleFile>): Promise<Summary> {
  let meta: Readonly<Record<string, unknown>> = {}
  let count = 0
  let bytes = 0
  const roles = new Map<string, Draft>()
  for await (const file of files) {
    count += 1
    bytes += file.bytes
    if (file.path === "run_meta.json") meta = await readObject(file)
    const place = /^roles\/([^/]+)\/(stdout\.log|stderr\.log|role_meta\.json)$/.exec(file.path)
    if (!place) continue
    const [, name = "", part] = place
    const role = roles.get(name) ?? emptyRole()
    roles.set(name, role)
    if (part === "role_meta.json") readRoleMeta(await readObject(file), role)
    else await readLog(file, { role, stream: part === "stdout.log" ? "stdout" : "stderr" })
  }
  return {
    run_id: textOf(meta["run_id"]),
    status: textOf(meta["status"]),
    duration_seconds: typeof meta["duration_seconds"] === "number" ? meta["duration_seconds"] : 0,
    files: count,
    bytes,
    roles: Object.fromEntries([...roles].toSorted(([a], [b]) => (a < b ? -1 : 1))),
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : ""
}

function emptyRole(): Draft {
  return {
    exit_code: null,
    duration_seconds: null,
    stdout_bytes: 0,
    stderr_bytes: 0,
    stdout_lines: 0,
    error_lines: 0,
    measurements: [],
  }
}

async function readObject(file: BundleFile): Promise<Readonly<Record<string, unknown>>> {
  if (file.bytes > metaBytesMax) return {}
  const chunks: Uint8Array[] = []
  for await (const chunk of file.read()) chunks.push(chunk)
  const parsed = parseObject(Buffer.concat(chunks).toString("utf8"))
  return "value" in parsed ? parsed.value : {}
}

function readRoleMeta(meta: Readonly<Record<string, unknown>>, role: Draft): void {
  if (typeof meta["exit_code"] === "number") role.exit_code = meta["exit_code"]
  const started = Date.parse(textOf(meta["started_at"]))
  const finished = Date.parse(textOf(meta["finished_at"]))
  // Go's zero time stands for a process that never ran.
  if (started > 0 && finished >= started) role.duration_seconds = (finished - started) / 1000
}

async function readLog(
  file: BundleFile,
  { role, stream }: { readonly role: Draft; readonly stream: "stdout" | "stderr" },
): Promise<void> {
  const whole: string[] = []
  let kept = 0
  const byTool = new Map<string, Measurement>()
  let lines = 0
  for await (const batch of textLines(file.read())) {
    for (const line of batch) {
      lines += 1
      if (errorPattern.test(line)) role.error_lines += 1
      if (stream !== "stdout") continue
      if (kept <= documentBytesMax) whole.push(line)
      kept += line.length + 1
      // Programs that report as they go: the last word counts.
      const figures = figureLinePattern.test(line) ? measureDocument(line) : undefined
      if (figures) byTool.set(figures.tool, figures)
    }
  }
  if (stream === "stderr") {
    role.stderr_bytes = file.bytes
    return
  }
  role.stdout_bytes = file.bytes
  role.stdout_lines = lines
  const text = kept <= documentBytesMax ? whole.join("\n").trim() : ""
  const document = text.startsWith("{") ? measureDocument(text) : undefined
  role.measurements = document ? [document] : [...byTool.values()]
}

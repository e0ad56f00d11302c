/** What a bundle's files say about its run: exit codes, durations, sizes, error lines, figures. */
import { countLineEnds, countLinesWith, lastLineWith, lineBlocks, utf8 } from "./line-blocks.ts"
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

const errorWords = /\b(?:error|fatal|panic|exception|traceback)\b/
/** Parsing this much JSON takes a few milliseconds. */
const documentBytesMax = 512 * 1024
const metaBytesMax = 1024 * 1024
/** What a line that holds figures holds; only the last few of each are parsed. */
const figureMarkers = ['"stats"', '"bits_per_second"']
const candidatesMax = 4

/** Lets others run: reading a log must hold up nobody. */
export type Pause = () => Promise<void>

/** Reads every file that matters once, in the order they come. Analysis of an earlier time is not looked at. */
export async function summarise(files: AsyncIterable<BundleFile>, pause: Pause): Promise<Summary> {
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
    else await readLog(file, { role, stream: part === "stdout.log" ? "stdout" : "stderr", pause })
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

/** What is kept of an output while it goes by. */
interface Kept {
  /** All of it, while it may still be one document. */
  whole: string[] | undefined
  bytes: number
  /** By marker, oldest first: lines that may hold figures. */
  readonly lines: ReadonlyMap<string, string[]>
}

async function readLog(
  file: BundleFile,
  { role, stream, pause }: { role: Draft; stream: "stdout" | "stderr"; pause: Pause },
): Promise<void> {
  const kept: Kept = {
    whole: [],
    bytes: 0,
    lines: new Map(figureMarkers.map((marker) => [marker, []])),
  }
  let lines = 0
  let last = "\n"
  for await (const block of lineBlocks(file.read(), pause)) {
    lines += countLineEnds(block)
    role.error_lines += countLinesWith(block, errorWords)
    last = block.slice(-1)
    if (stream === "stdout") keep(block, kept)
  }
  if (stream === "stderr") {
    role.stderr_bytes = file.bytes
    return
  }
  role.stdout_bytes = file.bytes
  role.stdout_lines = lines + (last === "\n" ? 0 : 1)
  role.measurements = measured(kept)
}

function keep(block: string, kept: Kept): void {
  kept.bytes += block.length
  if (kept.bytes > documentBytesMax) kept.whole = undefined
  kept.whole?.push(block)
  for (const [marker, candidates] of kept.lines) {
    const line = lastLineWith(block, marker)
    if (line === undefined) continue
    candidates.push(line)
    if (candidates.length > candidatesMax) candidates.shift()
  }
}

/** One document, else the last word of each kind: programs report as they go. */
function measured({ whole, lines }: Kept): Measurement[] {
  const text = whole ? utf8(whole.join("")).trim() : ""
  const document = text.startsWith("{") ? measureDocument(text) : undefined
  if (document) return [document]
  const byTool = new Map<string, Measurement>()
  for (const candidates of lines.values()) {
    for (const line of candidates) {
      const figures = measureDocument(utf8(line))
      if (figures) byTool.set(figures.tool, figures)
    }
  }
  return [...byTool.values()]
}

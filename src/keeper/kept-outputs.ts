/** Output files as they lie on the disk: of attempts that run, that have ended, and that nobody remembers but by them. */
import { appendFile, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { KeptOutput, OutputPiece, OutputStart } from "../wire/index.ts"
import { attemptFiles, type KeeperPaths } from "./paths.ts"
import { decodeTimes, timesFile } from "./stream-times.ts"

/** One stream of one attempt, by its number. */
export interface StreamName {
  readonly run: string
  readonly task: string
  readonly attempt: number
  readonly stream: "stdout" | "stderr"
}

export interface StreamRange {
  readonly start: OutputStart
  readonly max: number
  readonly allTimes?: boolean
  /** Of a stream that may yet be cut: what stands behind this is not shown. */
  readonly sizeMax: number
}

const scanBytes = 64 << 10
/** Lines that are counted from the end stand within this. */
const tailScanMax = 64 << 20
const readMax = 1 << 20

/** Undefined where there is no such file in any of the folders. */
export async function readOutput(
  folders: readonly KeeperPaths[],
  name: StreamName,
  range: StreamRange,
): Promise<Omit<OutputPiece, "state"> | undefined> {
  for (const paths of folders) {
    const path = attemptFiles(paths, name)[name.stream]
    const piece = await readFrom(path, range)
    if (piece) return piece
  }
  return undefined
}

async function readFrom(
  path: string,
  { start, max, sizeMax, allTimes = false }: StreamRange,
): Promise<Omit<OutputPiece, "state"> | undefined> {
  const file = await openThere(path)
  if (!file) return undefined
  try {
    const found = await file.stat()
    const size = Math.min(found.size, sizeMax)
    const points = await pointsOf(path, size, found.mtimeMs)
    const read = async (from: number, length: number) => {
      const buffer = Buffer.allocUnsafe(length)
      const { bytesRead } = await file.read(buffer, 0, length, from)
      return buffer.subarray(0, bytesRead)
    }
    const offset = await offsetOf(start, { size, points, read })
    const length = Math.max(0, Math.min(max, readMax, size - offset))
    const data = length === 0 ? new Uint8Array(0) : await read(offset, length)
    const about = allTimes ? points : pointsAround(points, offset, offset + data.length)
    return { offset, data, size, points: about }
  } finally {
    await file.close()
  }
}

async function openThere(path: string) {
  try {
    return await open(path, "r")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw error
  }
}

/** What was noted, and at the end what the file itself says of its last change. */
async function pointsOf(path: string, size: number, changedAt: number) {
  let noted: OutputPiece["points"] = []
  try {
    noted = decodeTimes(await readFile(timesFile(path)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
  const last = noted.at(-1)
  if (size === 0 || (last && last.bytes >= size)) return noted
  return [...noted, { bytes: size, at: Math.max(changedAt, last?.at ?? 0) }]
}

/** Those that say when these bytes came: the last one before them, up to the first one behind. */
function pointsAround(points: OutputPiece["points"], from: number, to: number) {
  const before = points.findLastIndex(({ bytes }) => bytes <= from)
  const behind = points.findIndex(({ bytes }) => bytes >= to)
  return points.slice(Math.max(0, before), behind < 0 ? points.length : behind + 1)
}

interface Searched {
  readonly size: number
  readonly points: OutputPiece["points"]
  readonly read: (from: number, length: number) => Promise<Uint8Array>
}

async function offsetOf(start: OutputStart, file: Searched): Promise<number> {
  if ("offset" in start) return start.offset
  const bySince = start.since === undefined ? 0 : await offsetSince(start.since, file)
  const byLines = start.lines === undefined ? 0 : await offsetOfLastLines(start.lines, file)
  return Math.max(bySince, byLines)
}

/** The first line that ended at this time or later. */
async function offsetSince(since: number, { points, size, read }: Searched): Promise<number> {
  const behind = points.findIndex(({ at }) => at >= since)
  if (behind < 0) return size
  const to = points[behind]!
  const from = points[behind - 1]
  if (!from || from.bytes === 0) return 0
  const share = to.at > from.at ? (since - from.at) / (to.at - from.at) : 1
  let at = Math.floor(from.bytes + Math.max(0, share) * (to.bytes - from.bytes))
  // Back to where that line begins, or where what came by then does.
  for (; at > from.bytes;) {
    const begin = Math.max(from.bytes, at - scanBytes)
    const newline = Buffer.from(await read(begin, at - begin)).lastIndexOf(10)
    if (newline >= 0) return begin + newline + 1
    at = begin
  }
  return at
}

async function offsetOfLastLines(lines: number, { size, read }: Searched): Promise<number> {
  if (lines === 0) return size
  let wanted = lines
  for (let end = size; end > 0 && size - end < tailScanMax;) {
    const begin = Math.max(0, end - scanBytes)
    const piece = Buffer.from(await read(begin, end - begin))
    for (let at = piece.length - 1; at >= 0; at--) {
      // The newline that ends the last line begins none.
      if (piece[at] !== 10 || begin + at === size - 1) continue
      wanted--
      if (wanted <= 0) return begin + at + 1
    }
    end = begin
  }
  return Math.max(0, size - tailScanMax)
}

// ---------------------------------------------------------------- what is kept, and what was removed

/** A file costs its disk this at least. */
const fileBytesMin = 4096

/** What each run has in the folder. */
export async function keptRuns(folder: string): Promise<readonly KeptOutput[]> {
  const runs = new Map<string, { run: string; bytes: number; changedAt: number }>()
  for (const name of await namesIn(folder)) {
    const run = runOfFile(name)
    if (run === undefined) continue
    const found = await stat(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined
      throw error
    })
    if (!found) continue
    const sum = runs.get(run) ?? { run, bytes: 0, changedAt: 0 }
    sum.bytes += Math.max(found.blocks * 512, fileBytesMin)
    sum.changedAt = Math.max(sum.changedAt, found.mtimeMs)
    runs.set(run, sum)
  }
  return [...runs.values()]
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
}

/** `r-12.3` stands in the name of a file as `r-12%2e3`; before the first dot. */
function runOfFile(name: string): string | undefined {
  const escaped = name.slice(0, Math.max(0, name.indexOf(".")))
  try {
    return escaped === "" ? undefined : decodeURIComponent(escaped)
  } catch {
    // Not one of ours.
    return undefined
  }
}

/** All files of these runs in the folder. */
export async function removeRuns(folder: string, runs: ReadonlySet<string>): Promise<void> {
  for (const name of await namesIn(folder)) {
    const run = runOfFile(name)
    if (run !== undefined && runs.has(run)) await rm(join(folder, name), { force: true })
  }
}

const removedMax = 5000

interface Removed {
  readonly run: string
  readonly at: number
}

/** Remembers in a file that the output of these runs is gone. */
export async function noteRemoved(
  file: string,
  runs: ReadonlySet<string>,
  at: number,
): Promise<void> {
  const lines = [...runs].map((run) => `${JSON.stringify({ run, at })}\n`)
  await appendFile(file, lines.join(""), { mode: 0o600 })
  const all = await removedIn(file)
  if (all.length < 2 * removedMax) return
  const kept = all.slice(-removedMax).map((one) => `${JSON.stringify(one)}\n`)
  await writeFile(`${file}.new`, kept.join(""), { mode: 0o600 })
  await rename(`${file}.new`, file)
}

/** When the output of this run was removed. */
export async function removedAt(file: string, run: string): Promise<number | undefined> {
  return (await removedIn(file)).findLast((one) => one.run === run)?.at
}

async function removedIn(file: string): Promise<readonly Removed[]> {
  let text: string
  try {
    text = await readFile(file, "utf8")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return []
    throw error
  }
  return text.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [JSON.parse(line) as Removed]
    } catch {
      // Torn by a crash: the newer ones stand behind it.
      return []
    }
  })
}

/** What an older keeper leaves behind is kept by the one that stays. */
export async function moveOutputs(from: string, to: string): Promise<void> {
  for (const name of await namesIn(from)) await rename(join(from, name), join(to, name))
}

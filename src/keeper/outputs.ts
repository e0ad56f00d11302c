/** What jobs wrote, read straight from their files. */
import { constants } from "node:fs"
import { type FileHandle, glob, lstat, open, realpath } from "node:fs/promises"
import { basename, dirname, join, relative, resolve, sep } from "node:path"
import { TroupeError } from "../schema/index.ts"
import type { KeeperAttempt } from "../wire/index.ts"
import type { KeeperPaths } from "./paths.ts"

const readBytesMax = 4 << 20
const chunkBytes = 256 << 10
const artifactsMax = 10_000

/** `ended`: the file grows no more. A stream that is being cut shows only what will stay. */
export async function readStream(
  attempt: KeeperAttempt,
  stream: "stdout" | "stderr",
  range: { readonly offset: number; readonly max: number },
): Promise<{ data: Uint8Array; size: number; ended: boolean }> {
  // Looked at before the size: what ends in between is complete at the next read.
  const ended = attempt.state === "ended"
  let file
  try {
    file = await open(attempt[stream], "r")
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
    // Never started, or removed.
    return { data: new Uint8Array(0), size: 0, ended }
  }
  try {
    const grown = (await file.stat()).size
    const size = ended ? grown : Math.min(grown, attempt.outputBytesMax)
    const length = Math.max(0, Math.min(range.max, size - range.offset, readBytesMax))
    const buffer = new Uint8Array(length)
    const { bytesRead } = await file.read(buffer, 0, length, range.offset)
    return { data: buffer.subarray(0, bytesRead), size, ended }
  } finally {
    await file.close()
  }
}

/** One match; with a problem it does not come home, and why is said. */
export interface FoundArtifact {
  readonly path: string
  readonly file: string
  readonly bytes: number
  readonly problem?: string
}

/** Files below the directory that match, in order; nothing that is reached through a link. Beyond the limit only counted:
 *  the last one then says how many. */
export async function findArtifacts(
  directory: string,
  globs: readonly string[],
): Promise<FoundArtifact[]> {
  const root = await realpath(directory)
  const found = new Map<string, FoundArtifact>()
  let more = 0
  for await (const match of glob([...globs], { cwd: root })) {
    const file = join(root, match)
    const inside = relative(root, file)
    if (inside === "" || inside === ".." || inside.startsWith(`..${sep}`)) continue
    const path = inside.split(sep).join("/")
    if (found.has(path)) continue
    const what = found.size < artifactsMax ? await lookAt(file, path) : "many"
    if (what === "many") more++
    else if (what !== undefined) found.set(path, { path, file, ...what })
  }
  const all = [...found.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
  if (more === 0) return all
  const problem = `${more} more match; of one task ${artifactsMax} are looked at`
  return [...all, { path: "…", file: root, bytes: 0, problem }]
}

/** Undefined for a folder: what is in it matches by itself. */
async function lookAt(
  file: string,
  path: string,
): Promise<{ bytes: number; problem?: string } | undefined> {
  // A list of hashes has one line for each name, and a tar's names are text.
  if (/[\p{Cc}\\]/u.test(path)) return leftOut("its name has control characters or backslashes")
  try {
    const stat = await lstat(file)
    if (stat.isDirectory()) return undefined
    if (stat.isSymbolicLink()) return leftOut("it is a link")
    // A link anywhere on the way shows as another real path.
    if ((await realpath(file)) !== file) return leftOut("a link leads to it")
    return stat.isFile() ? { bytes: stat.size } : leftOut("it is no regular file")
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Whatever bytes a name has, what we get of it is text.
    const isText = !path.includes("\ufffd")
    if (code === "ENOENT") {
      return leftOut(isText ? "it was removed meanwhile" : "its name is no UTF-8")
    }
    if (code === "ELOOP" || code === "ENOTDIR") return leftOut("a link leads to it")
    if (code === "EACCES" || code === "EPERM") return leftOut(`it may not be read (${code})`)
    throw error
  }
}

function leftOut(problem: string): { bytes: number; problem: string } {
  return { bytes: 0, problem }
}

/** The bytes of an output file or an artifact. Of an attempt that never started: none. */
export async function* readContent(paths: KeeperPaths, file: string): AsyncGenerator<Uint8Array> {
  const path = resolve(file)
  const isOutput = dirname(path) === paths.out
  if (!isOutput && !path.startsWith(`${paths.dir}${sep}`)) {
    throw new TroupeError("ERR_FORBIDDEN", "the keeper reads only its own jobs' files", {
      what: `reading ${file}`,
    })
  }
  let handle: FileHandle
  try {
    handle = await openRegular(path, isOutput ? paths.out : paths.dir)
  } catch (error) {
    if (isOutput && (error as NodeJS.ErrnoException).code === "ENOENT") return
    if (error instanceof TroupeError) throw error
    throw storageError(path, (error as Error).message, error)
  }
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(chunkBytes))
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

// The job owns its directory: between the listing and now it may have put a link or a pipe where a file was.
async function openRegular(path: string, root: string): Promise<FileHandle> {
  const realFolder = await realpath(dirname(path))
  if (relative(await realpath(root), realFolder) !== relative(root, dirname(path))) {
    throw storageError(path, "a link leads out of the directory")
  }
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await open(join(realFolder, basename(path)), flags)
  if ((await handle.stat()).isFile()) return handle
  await handle.close()
  throw storageError(path, "not a regular file")
}

function storageError(path: string, reason: string, cause?: unknown): TroupeError<"ERR_STORAGE"> {
  const message = `an output cannot be read: ${reason}`
  return new TroupeError("ERR_STORAGE", message, { path, reason }, { cause })
}

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

/** Regular files below the directory that match; nothing that is reached through a link. */
export async function findArtifacts(
  directory: string,
  globs: readonly string[],
): Promise<{ path: string; file: string; bytes: number }[]> {
  const root = await realpath(directory)
  const found = new Map<string, { path: string; file: string; bytes: number }>()
  for await (const match of glob([...globs], { cwd: root })) {
    const file = join(root, match)
    const inside = relative(root, file)
    if (inside === "" || inside === ".." || inside.startsWith(`..${sep}`)) continue
    const bytes = await regularBytes(file)
    if (bytes === undefined) continue
    const path = inside.split(sep).join("/")
    found.set(path, { path, file, bytes })
    if (found.size > artifactsMax) {
      throw new TroupeError("ERR_LIMIT", `more than ${artifactsMax} artifacts match`, {
        what: "artifacts of an attempt",
        max: artifactsMax,
      })
    }
  }
  return [...found.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1))
}

async function regularBytes(file: string): Promise<number | undefined> {
  try {
    // A link anywhere on the way shows as another real path.
    if ((await realpath(file)) !== file) return undefined
    const stat = await lstat(file)
    return stat.isFile() ? stat.size : undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Removed meanwhile, or a link that leads nowhere.
    if (code === "ENOENT" || code === "ELOOP" || code === "ENOTDIR") return undefined
    throw error
  }
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

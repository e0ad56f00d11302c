/** Files that are whole or not there: written beside, synced, renamed, and the directory synced. */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import { TroupeError } from "../schema/index.ts"

export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes a directory and all above it, durably. */
export async function makeDirectory(directory: string): Promise<void> {
  const top = await mkdir(directory, { recursive: true, mode: 0o700 })
  if (top === undefined) return
  for (let at = directory; at.length >= top.length; at = dirname(at)) {
    await syncDirectory(dirname(at))
  }
}

export async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.tmp`
  const handle = await open(temporary, "w", 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await renameDurably(temporary, path)
}

export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to)
  await syncDirectory(dirname(to))
  if (dirname(from) !== dirname(to)) await syncDirectory(dirname(from))
}

/** Names in a directory; none when it does not exist. */
export async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}

export function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT"
}

/** The disk's own error as ours; what is ours already stays as it is. */
export function storageError(path: string, error: unknown): TroupeError {
  if (error instanceof TroupeError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new TroupeError("ERR_STORAGE", `${path}: ${reason}`, { path, reason }, { cause: error })
}

/** Waits for a step on the disk; its error is ours, unlike those of a source that is read in between. */
export async function onDisk<T>(path: string, step: Promise<T>): Promise<T> {
  try {
    return await step
  } catch (error) {
    throw storageError(path, error)
  }
}

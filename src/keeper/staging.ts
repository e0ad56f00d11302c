/** An attempt's own directory and the files that are laid into it. */
import { constants, mkdirSync, renameSync, statSync, unlinkSync } from "node:fs"
import { chmod, copyFile, lstat, mkdir, readdir, rm, unlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { type AttemptFiles, insideOf, type KeeperPaths } from "./paths.ts"
import { timesFile } from "./stream-times.ts"

/** Makes the directory anew; answers one sentence when a file cannot be laid into it. */
export async function stageFiles(
  directory: string,
  files: readonly { readonly source: string; readonly path: string }[],
): Promise<string | undefined> {
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory, { recursive: true, mode: 0o700 })
  for (const { source, path } of files) {
    const target = insideOf(directory, path)
    if (target === undefined) return `the file path ${JSON.stringify(path)} leaves the directory`
    try {
      await mkdir(dirname(target), { recursive: true })
      // A copy (shared blocks where the file system can), not a link: the job may write into it, and the blob is
      // everybody's.
      await copyFile(source, target, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
      // Blobs carry no mode; scripts among them must run.
      await chmod(target, 0o755)
    } catch (error) {
      return `the file ${path} cannot be laid out: ${(error as Error).message}`
    }
  }
  return undefined
}

/** Removes what an attempt left; most have no directory, and looking for one is not free. */
export async function removeFiles(files: AttemptFiles, hasDirectory: boolean): Promise<void> {
  await Promise.all([
    removeFile(files.stdout),
    removeFile(files.stderr),
    removeFile(timesFile(files.stdout)),
    removeFile(timesFile(files.stderr)),
    hasDirectory && rm(files.directory, { recursive: true, force: true }),
  ])
}

/** Of its streams. */
export function removeEmpty({ stdout, stderr }: AttemptFiles): void {
  for (const path of [stdout, stderr]) {
    if (statSync(path, { throwIfNoEntry: false })?.size === 0) unlinkSync(path)
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error
  }
}

/** Makes the folders that hold outputs and directories. */
export function makeFolders(paths: KeeperPaths): void {
  for (const path of [paths.out, paths.dir, paths.work]) {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  }
}

/** Directories that outlived their attempt (a journal that was lost) go after a while. Of outputs the node decides. */
const orphanMs = 30 * 24 * 3600 * 1000

/** Removes old directories that belong to no known attempt. */
export async function removeOrphans(
  paths: KeeperPaths,
  known: ReadonlySet<string>,
  now: number,
): Promise<void> {
  for (const name of await readdir(paths.dir)) {
    const path = join(paths.dir, name)
    if (known.has(path)) continue
    const { mtimeMs } = await lstat(path)
    if (now - mtimeMs > orphanMs) await rm(path, { recursive: true, force: true })
  }
}

/** Puts everything of the cluster that is left into a folder of its own; answers its path. */
export function leaveCluster(paths: KeeperPaths, name: string): string {
  const kept = join(paths.root, "left", name)
  mkdirSync(kept, { recursive: true, mode: 0o700 })
  renameSync(paths.out, join(kept, "out"))
  renameSync(paths.dir, join(kept, "dir"))
  makeFolders(paths)
  return kept
}

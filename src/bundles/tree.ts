/** A bundle's files wherever they are: in a directory, a .tar or a .zip. */
import { constants, type Dirent } from "node:fs"
import { open, readdir, stat } from "node:fs/promises"
import { basename, join } from "node:path"
import { openPromise, type ZipFile } from "yauzl"
import { isTroupeError } from "../schema/index.ts"
import { byPath } from "./hashes.ts"
import { bundleBytesMax, filesMax, invalidBundle, pathProblem } from "./paths.ts"
import { type BundleFile, readTar } from "./tar.ts"

const chunkBytes = 256 * 1024

/** Every file of the bundle at `path`, paths relative to the bundle's root. A directory's come sorted; an archive's
 *  come as they lie, each to be read before the next. ERR_BUNDLE_INVALID when there is none. */
export async function* bundleFiles(
  path: string,
  onProblem?: (path: string, reason: string) => void,
): AsyncGenerator<BundleFile> {
  const info = await stat(path).catch((error: unknown) => {
    throw invalidBundle(path, `open bundle: stat ${path}: ${errnoText(error)}`, error)
  })
  if (info.isDirectory()) {
    for (const file of await directoryFiles(path, onProblem)) yield file
  } else if (await isZip(path)) {
    yield* withoutRoot(zipFiles(path), path)
  } else {
    yield* withoutRoot(readTar(readPlainFile(path), basename(path)), path)
  }
}

/** As Go words the usual ones. */
function errnoText(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined
  if (code === "ENOENT") return "no such file or directory"
  if (code === "EACCES") return "permission denied"
  return error instanceof Error ? error.message : String(error)
}

/** Plain files below a directory, sorted by path. A link, a device or a path that could not be packed is told to
 *  `onProblem`, or is ERR_BUNDLE_INVALID. */
export async function directoryFiles(
  root: string,
  onProblem?: (path: string, reason: string) => void,
): Promise<BundleFile[]> {
  const files: BundleFile[] = []
  const refuse = (path: string, reason: string): void => {
    if (!onProblem) throw invalidBundle(join(root, path), reason)
    onProblem(path, reason)
  }
  const walk = async (folder: string): Promise<void> => {
    const entries: Dirent[] = await readdir(join(root, folder), { withFileTypes: true })
    for (const entry of entries) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`
      const problem = pathProblem(path)
      if (problem !== undefined) refuse(path, `the path ${problem}`)
      else if (entry.isDirectory()) await walk(path)
      else if (entry.isFile()) {
        const place = join(root, path)
        files.push({ path, bytes: (await stat(place)).size, read: () => readPlainFile(place) })
      } else refuse(path, "is no plain file; a bundle holds only those")
      if (files.length > filesMax) throw invalidBundle(root, `holds more than ${filesMax} files`)
    }
  }
  await walk("")
  return files.toSorted(byPath)
}

/** What was a plain file a moment ago must not have become a link. */
const plainFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)

export async function* readPlainFile(path: string): AsyncGenerator<Uint8Array> {
  const handle = await open(path, plainFlags)
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

async function isZip(path: string): Promise<boolean> {
  const handle = await open(path, "r")
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    // A file entry, or the directory of an empty archive.
    return bytesRead === 4 && ["504b0304", "504b0506"].includes(buffer.toString("hex"))
  } finally {
    await handle.close()
  }
}

async function* zipFiles(path: string): AsyncGenerator<BundleFile> {
  const name = basename(path)
  const refused = (error: unknown): never => {
    const reason = error instanceof Error ? error.message : String(error)
    throw invalidBundle(name, `cannot be read as a zip: ${reason}`, error)
  }
  // yauzl itself refuses absolute paths, `..` and sizes that do not agree.
  const zip: ZipFile = await openPromise(path, { lazyEntries: true, autoClose: false }).catch(
    refused,
  )
  let total = 0
  try {
    if (zip.entryCount > filesMax) throw invalidBundle(name, `holds more than ${filesMax} files`)
    for await (const entry of zip.eachEntry()) {
      if (entry.fileName.endsWith("/")) continue
      const problem = pathProblem(entry.fileName)
      if (problem !== undefined) throw invalidBundle(name, `the path ${entry.fileName} ${problem}`)
      total += entry.uncompressedSize
      if (total > bundleBytesMax) throw invalidBundle(name, `holds over ${bundleBytesMax} bytes`)
      yield {
        path: entry.fileName,
        bytes: entry.uncompressedSize,
        read: async function* () {
          yield* await zip.openReadStreamPromise(entry).catch(refused)
        },
      }
    }
  } catch (error) {
    if (isTroupeError(error)) throw error
    refused(error)
  } finally {
    zip.close()
  }
}

/** Archives hold `<label>/…`, all below one directory. */
async function* withoutRoot(
  files: AsyncIterable<BundleFile>,
  name: string,
): AsyncGenerator<BundleFile> {
  let root: string | undefined
  for await (const file of files) {
    const slash = file.path.indexOf("/")
    const first = slash === -1 ? undefined : file.path.slice(0, slash)
    root ??= first
    if (first === undefined || first !== root) {
      throw invalidBundle(name, "is no packed bundle: not everything lies below one directory")
    }
    yield { ...file, path: file.path.slice(slash + 1) }
  }
}

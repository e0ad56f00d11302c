/** Bundles as directories: packing one, unpacking into one, zipping one. */
import { createWriteStream } from "node:fs"
import { mkdir, mkdtemp, open, rename, rm } from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { ZipFile } from "yazl"
import { invalidBundle } from "./paths.ts"
import { archiveTime, packTar, readTar } from "./tar.ts"
import { directoryFiles, readPlainFile } from "./tree.ts"

const rootPattern = /^[A-Za-z0-9._-]{1,160}$/

/** A bundle's directory as a tar of `<name>/…`; the same files give the same bytes. ERR_BUNDLE_INVALID for links. */
export async function* packDirectory(directory: string): AsyncGenerator<Uint8Array> {
  const root = basename(resolve(directory))
  const files = await directoryFiles(directory)
  yield* packTar(files.map((file) => ({ ...file, path: `${root}/${file.path}` })))
}

/** Unpacks a tar of `<label>/…` so that `directory` is the bundle: whole or not at all, and only once the source has
 *  ended well. `directory` must not exist. ERR_BUNDLE_INVALID for anything but plain files below one directory. */
export async function unpackBundle(
  source: AsyncIterable<Uint8Array>,
  directory: string,
): Promise<{ label: string; files: number; bytes: number }> {
  const target = resolve(directory)
  await mkdir(dirname(target), { recursive: true })
  // Beside its place, so that the rename stays on one file system.
  const temporary = await mkdtemp(join(dirname(target), ".unpacking-"))
  try {
    const { root, files, bytes } = await writeFiles(source, temporary)
    // An empty directory would be replaced, which harms nobody.
    await rename(join(temporary, root), target).catch((error: unknown) => {
      throw invalidBundle(directory, "cannot be put there: something else is", error)
    })
    return { label: root, files, bytes }
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

async function writeFiles(
  source: AsyncIterable<Uint8Array>,
  into: string,
): Promise<{ root: string; files: number; bytes: number }> {
  let root: string | undefined
  let files = 0
  let bytes = 0
  for await (const file of readTar(source, "the bundle")) {
    const [first, ...rest] = file.path.split("/")
    root ??= first
    const plain = first !== undefined && rootPattern.test(first) && !/^\.{1,2}$/.test(first)
    if (!plain || first !== root || rest.length === 0) {
      throw invalidBundle("the bundle", "not everything lies below one directory with a plain name")
    }
    const place = join(into, file.path)
    await mkdir(dirname(place), { recursive: true })
    // `wx`: a path that comes twice is an error, not a second truth.
    const handle = await open(place, "wx", 0o644).catch((error: unknown) => {
      throw invalidBundle("the bundle", `${file.path} cannot be written`, error)
    })
    try {
      for await (const chunk of file.read()) await handle.writeFile(chunk)
    } finally {
      await handle.close()
    }
    files += 1
    bytes += file.bytes
  }
  if (root === undefined) throw invalidBundle("the bundle", "is empty")
  return { root, files, bytes }
}

/** `bundle_format: zip`: writes a bundle's directory to `file`, whole or not at all; the same files give the same bytes. */
export async function zipDirectory(directory: string, file: string): Promise<{ bytes: number }> {
  const root = basename(resolve(directory))
  const files = await directoryFiles(directory)
  const zip = new ZipFile()
  // Its own errors would otherwise be thrown where nobody waits.
  const output = zip.outputStream as Readable
  zip.on("error", (error: Error) => output.destroy(error))
  // A DOS time has no zone: the same bytes wherever it is written.
  const options = { mtime: archiveTime, mode: 0o100644, forceDosTimestamp: true }
  for (const { path, bytes } of files) {
    zip.addReadStreamLazy(`${root}/${path}`, { ...options, size: bytes }, (answer) => {
      answer(undefined, Readable.from(readPlainFile(join(directory, path))))
    })
  }
  zip.end()
  const temporary = `${file}.${process.pid}.partial`
  try {
    const target = createWriteStream(temporary, { flags: "wx" })
    await pipeline(output, target)
    await rename(temporary, file)
    return { bytes: target.bytesWritten }
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

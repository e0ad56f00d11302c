/** The node's private key: made once, readable by its owner only. */
import { statfsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { isMissing, makeDirectory, storageError, writeDurably } from "./durable.ts"

/** The key in `identity/key.ed25519`, base64; made by `generate` and durable before it is answered. ERR_STORAGE. */
export async function loadKey(directory: string, generate: () => Uint8Array): Promise<Uint8Array> {
  const folder = join(directory, "identity")
  const path = join(folder, "key.ed25519")
  try {
    return new Uint8Array(Buffer.from(await readFile(path, "utf8"), "base64"))
  } catch (error) {
    if (!isMissing(error)) throw storageError(path, error)
  }
  const key = generate()
  await makeDirectory(folder)
  await writeDurably(path, Buffer.from(key).toString("base64"))
  return key
}

/** Bytes that this directory's file system still has for us. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

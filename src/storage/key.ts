/** The node's private key: a file of its own, readable by its owner only, never in a configuration. */
import { chmod, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { TroupeError } from "../schema/index.ts"
import { isMissing, makeDirectory, storageError, writeDurably } from "./durable.ts"

/** The key in `identity/key.ed25519` of the data directory, base64; made by `generate` and kept there when there is none. */
export async function loadKey(directory: string, generate: () => Uint8Array): Promise<Uint8Array> {
  const path = join(directory, "identity", "key.ed25519")
  try {
    const key = await readKey(path)
    if (key) return key
    await makeDirectory(join(directory, "identity"))
    const made = generate()
    await writeDurably(path, Buffer.from(made).toString("base64"))
    await chmod(path, 0o600)
    return made
  } catch (error) {
    throw storageError(path, error)
  }
}

/** Whether a key is there, without making one. */
export async function hasKey(directory: string): Promise<boolean> {
  const path = join(directory, "identity", "key.ed25519")
  try {
    return (await readKey(path)) !== undefined
  } catch (error) {
    throw storageError(path, error)
  }
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  try {
    const { mode } = await stat(path)
    if ((mode & 0o077) !== 0) {
      const reason = "others can read the key of this node; chmod 600 it"
      throw new TroupeError("ERR_STORAGE", `${path}: ${reason}`, { path, reason })
    }
    return new Uint8Array(Buffer.from(await readFile(path, "utf8"), "base64"))
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

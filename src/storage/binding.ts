/** What a data directory is bound to: its machine, its path, and the file that it was made with. */
import { readFile, realpath, stat } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { isMissing } from "./durable.ts"

/** How a machine can be told from its clone. `product`: of the (virtual) hardware, where this process may read it. */
export interface MachineIds {
  readonly machine: string
  readonly product?: string
}

export interface Binding extends MachineIds {
  readonly directory: string
  /** Of the key's file, which is written once: a copy has another inode and another time of birth. */
  readonly key?: { readonly inode: string; readonly born: string }
}

const productFile = "/sys/class/dmi/id/product_uuid"

/** What this directory would be bound to here and now. */
export async function bindingOf(
  directory: string,
  machine: MachineIds | undefined,
): Promise<Binding> {
  const key = await keyFile(join(directory, "identity", "key.ed25519"))
  return {
    ...(machine ?? (await thisMachine())),
    directory: await realpath(directory),
    ...(key && { key }),
  }
}

/**
 * Whether what was bound there is a copy here. What only one of the two knows says nothing: a node may read the hardware's
 * id as root and not otherwise. Inode numbers change under some overlays and times of birth are missing on some file
 * systems, so only both together are a copy.
 */
export function isForeign(bound: Binding, here: Binding): boolean {
  if (bound.machine !== here.machine || bound.directory !== here.directory) return true
  if (bound.product !== undefined && here.product !== undefined && bound.product !== here.product) {
    return true
  }
  if (!bound.key || !here.key) return false
  return bound.key.inode !== here.key.inode && bound.key.born !== here.key.born
}

/** A check of what was read from a file. */
export function isBinding(value: Partial<Binding>): value is Binding {
  const { machine, directory, product, key } = value
  return (
    typeof machine === "string" &&
    typeof directory === "string" &&
    (product === undefined || typeof product === "string") &&
    (key === undefined || (typeof key.inode === "string" && typeof key.born === "string"))
  )
}

async function keyFile(path: string): Promise<Binding["key"]> {
  try {
    const { ino, birthtimeNs } = await stat(path, { bigint: true })
    return { inode: String(ino), born: String(birthtimeNs) }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

async function thisMachine(): Promise<MachineIds> {
  const machine = await readIfAllowed("/etc/machine-id")
  const product = await readIfAllowed(productFile)
  return { machine: machine ?? `host:${hostname()}`, ...(product !== undefined && { product }) }
}

async function readIfAllowed(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, "utf8")).trim()
    return text === "" ? undefined : text
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Not on this system, or for root only.
    if (code === "ENOENT" || code === "EACCES" || code === "EPERM" || code === "ENOTDIR") {
      return undefined
    }
    throw error
  }
}

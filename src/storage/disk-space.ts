/** How much room the file system of a data directory still has. */
import { statfsSync } from "node:fs"

/** Bytes that this directory's file system still has for us. */
export function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}

/** How much room the file system of a data directory still has. */
import { statfsSync } from "node:fs"

/** Of this directory's file system: what it still has for us, and how much that is together with what is used. */
export function diskSpace(directory: string): { freeBytes: number; totalBytes: number } {
  const { bavail, bfree, blocks, bsize } = statfsSync(directory)
  // What is kept for the superuser counts neither way, as in `df`.
  return { freeBytes: bavail * bsize, totalBytes: (blocks - bfree + bavail) * bsize }
}

/** Which paths may stand in a bundle: plain relative ones, so that no archive writes outside its directory. */
import { TroupeError } from "../schema/index.ts"

export const filesMax = 100_000
export const bundleBytesMax = 1024 ** 4
const pathBytesMax = 4096
const componentBytesMax = 255

/** Why a path must not be in a bundle, or undefined. */
export function pathProblem(path: string): string | undefined {
  if (path === "") return "is empty"
  if (Buffer.byteLength(path) > pathBytesMax) return "is too long"
  if (path.startsWith("/") || /^[A-Za-z]:/.test(path)) return "is absolute"
  if (path.includes("\0") || path.includes("\\")) return "holds a NUL or a backslash"
  for (const component of path.split("/")) {
    if (component === "" || component === "." || component === "..") {
      return "holds an empty, `.` or `..` step"
    }
    if (Buffer.byteLength(component) > componentBytesMax) return "has a step that is too long"
  }
  return undefined
}

/** ERR_BUNDLE_INVALID. */
export function invalidBundle(path: string, reason: string, cause?: unknown): TroupeError {
  return new TroupeError(
    "ERR_BUNDLE_INVALID",
    `${path}: ${reason}`,
    { path, reason },
    cause === undefined ? undefined : { cause },
  )
}

/** A path as hashes.txt and every unpacker can hold it: what they could not is written as %XX. A role may name its
 *  files as it likes. */
export function archivePath(path: string): string {
  // Controls break lines, a backslash is a separator to some, and the original trims the ends of a line.
  // oxlint-disable-next-line no-control-regex
  return path.replace(/[\u0000-\u001f\u007f\\]|\s+$/g, percentEncoded)
}

function percentEncoded(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
    .join("")
}

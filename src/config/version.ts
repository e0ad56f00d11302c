/** Which troupe this is: written in by the build, read from package.json in a source tree. */
import { readFileSync } from "node:fs"

// Put in place by scripts/build.ts; undeclared in a source tree.
declare const TROUPE_VERSION: string | undefined
declare const TROUPE_COMMIT: string | undefined
/** Only in builds for tests, which are to understand less than their source does. */
declare const TROUPE_VERSIONS: { oldest: number; newest: number } | undefined

/** `commit` is empty in a source tree and in builds outside of git. */
export const build: {
  readonly version: string
  readonly commit: string
  readonly versions: { readonly oldest: number; readonly newest: number } | undefined
} = {
  version: typeof TROUPE_VERSION === "string" ? TROUPE_VERSION : sourceVersion(),
  commit: typeof TROUPE_COMMIT === "string" ? TROUPE_COMMIT : "",
  versions: typeof TROUPE_VERSIONS === "object" ? TROUPE_VERSIONS : undefined,
}

function sourceVersion(): string {
  const file = new URL("../../package.json", import.meta.url)
  const content: unknown = JSON.parse(readFileSync(file, "utf8"))
  if (typeof content === "object" && content !== null && "version" in content) {
    return String(content.version)
  }
  throw new Error(`${file.pathname} has no version`)
}

/** The two lists of hashes: hashes.txt in the original's form and SHA256SUMS in that of coreutils. */

export const hashesFile = "hashes.txt"
export const sumsFile = "SHA256SUMS"

export interface FileHash {
  readonly path: string
  /** Lower-case hex. */
  readonly digest: string
}

/** By code units, so that every machine sorts alike. */
export function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  if (a.path === b.path) return 0
  return a.path < b.path ? -1 : 1
}

/** `sha256:<hex>  <path>`, sorted, for every file but those named hashes.txt. */
export function formatHashes(files: readonly FileHash[]): string {
  return files
    .filter(({ path }) => path !== hashesFile && !path.endsWith(`/${hashesFile}`))
    .toSorted(byPath)
    .map(({ path, digest }) => `sha256:${digest}  ${path}\n`)
    .join("")
}

/** `<hex>  <path>`, sorted, without itself and hashes.txt; names with a line break or backslash escaped as sha256sum
 *  does it. */
export function formatSums(files: readonly FileHash[]): string {
  return files
    .filter(({ path }) => path !== hashesFile && path !== sumsFile)
    .toSorted(byPath)
    .map(({ path, digest }) => {
      const special = /[\\\n\r]/.test(path)
      const name = path.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r")
      return `${special ? "\\" : ""}${digest}  ${name}\n`
    })
    .join("")
}

/** Path → hash as written. Lines without two spaces are ignored, as the original ignores them. */
export function parseHashes(text: string): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>()
  for (const line of text.split("\n")) {
    const trimmed = line.trim()
    const gap = trimmed.indexOf("  ")
    if (gap !== -1) hashes.set(trimmed.slice(gap + 2), trimmed.slice(0, gap))
  }
  return hashes
}

/** Path → hex. Other lines are ignored. */
export function parseSums(text: string): ReadonlyMap<string, string> {
  const sums = new Map<string, string>()
  for (const line of text.split("\n")) {
    const match = /^(\\?)([0-9a-fA-F]{64}) [ *](.+)$/.exec(line)
    if (!match) continue
    const name = match[1] === "" ? match[3]! : unescapeName(match[3]!)
    sums.set(name, match[2]!.toLowerCase())
  }
  return sums
}

function unescapeName(name: string): string {
  return name.replace(/\\(.)/g, (_whole, character: string) => {
    if (character === "n") return "\n"
    return character === "r" ? "\r" : character
  })
}

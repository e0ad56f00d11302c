/** A log as blocks of whole lines: small enough that looking through one takes well under a millisecond. */

const blockBytes = 32 * 1024
/** A longer line comes in pieces. */
const lineBytesMax = 64 * 1024

/** Blocks as latin1 text, a byte a character: `utf8` gives back what stood there. `pause` lets others run in between. */
export async function* lineBlocks(
  source: AsyncIterable<Uint8Array>,
  pause: () => Promise<void>,
): AsyncGenerator<string> {
  let rest = Buffer.alloc(0)
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    for (let at = 0; at < bytes.length; at += blockBytes) {
      const data = Buffer.concat([rest, bytes.subarray(at, at + blockBytes)])
      const end = data.length > lineBytesMax ? data.length : data.lastIndexOf(10) + 1
      if (end > 0) yield data.toString("latin1", 0, end)
      rest = data.subarray(end)
      await pause()
    }
  }
  if (rest.length > 0) yield rest.toString("latin1")
}

export function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8")
}

export function countLineEnds(block: string): number {
  let count = 0
  for (let at = block.indexOf("\n"); at !== -1; at = block.indexOf("\n", at + 1)) count += 1
  return count
}

/** Lines in which the pattern is found at least once. */
export function countLinesWith(block: string, words: RegExp): number {
  const pattern = new RegExp(words.source, "gi")
  let count = 0
  while (pattern.exec(block)) {
    count += 1
    const end = block.indexOf("\n", pattern.lastIndex)
    if (end === -1) break
    pattern.lastIndex = end + 1
  }
  return count
}

/** The last line of the block that holds `marker`. */
export function lastLineWith(block: string, marker: string): string | undefined {
  const at = block.lastIndexOf(marker)
  if (at === -1) return undefined
  const end = block.indexOf("\n", at)
  return block.slice(block.lastIndexOf("\n", at) + 1, end === -1 ? undefined : end)
}

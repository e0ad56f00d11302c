/** Text lines out of a stream of bytes, each of bounded length. */

const lineBytesMax = 64 * 1024

/** Lines without their end. A longer one is cut: what is looked for stands at its start. A chunk's lines at a time. */
export async function* textLines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  let rest = Buffer.alloc(0)
  let cut = false
  for await (const chunk of source) {
    const lines: string[] = []
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let start = 0
    for (let end = bytes.indexOf(10); end !== -1; end = bytes.indexOf(10, start)) {
      const whole =
        rest.length === 0
          ? bytes.subarray(start, end)
          : Buffer.concat([rest, bytes.subarray(start, end)])
      lines.push(whole.subarray(0, lineBytesMax).toString("utf8"))
      rest = Buffer.alloc(0)
      cut = false
      start = end + 1
    }
    if (!cut) {
      rest = Buffer.concat([rest, bytes.subarray(start)]).subarray(0, lineBytesMax)
      cut = rest.length === lineBytesMax
    }
    if (lines.length > 0) yield lines
  }
  if (rest.length > 0) yield [rest.toString("utf8")]
}

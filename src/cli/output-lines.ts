/** Merged output as JSON, one object for each line of output. */
import { isUtf8 } from "node:buffer"
import { once } from "node:events"
import type { OutputPart } from "../client/index.ts"
import type { Printer } from "./output-printer.ts"
import type { Terminal } from "./terminal.ts"
import { safeLine } from "./width.ts"

type Bytes = Extract<OutputPart, { type: "output" }>

/** Longer lines come in parts. */
const lineBytesMax = 64 << 10
const newline = 10

interface Rest {
  data: Buffer
  offset: number
  readonly of: Bytes
}

/** `{time, task, attempt, node, stream, offset, line}`; `base64` instead of `line` where it is no UTF-8; `partial` where the
 *  line goes on in the next one. */
export function createJsonLines(terminal: Terminal): Printer {
  const rests = new Map<string, Rest>()
  const say = (part: Bytes, line: { offset: number; data: Buffer; partial: boolean }) => {
    const { task, attempt, node, stream, at } = part
    const content = isUtf8(line.data)
      ? { line: line.data.toString("utf8") }
      : { base64: line.data.toString("base64") }
    const time = new Date(at).toISOString()
    const partial = line.partial ? { partial: true } : {}
    const row = { time, task, attempt, node, stream, offset: line.offset, ...content, ...partial }
    terminal.print(JSON.stringify(row))
  }
  return {
    async print(part) {
      const key = `${part.task}\n${part.attempt}\n${part.stream}`
      const before = rests.get(key)
      let data = before ? Buffer.concat([before.data, part.data]) : Buffer.from(part.data)
      let offset = before ? before.offset : part.offset
      for (;;) {
        const end = data.indexOf(newline)
        if (end < 0 && data.length <= lineBytesMax) break
        const isLong = end < 0 || end > lineBytesMax
        const length = isLong ? lineBytesMax - unfinished(data, lineBytesMax) : end
        say(part, { offset, data: data.subarray(0, length), partial: isLong })
        const used = isLong ? length : end + 1
        data = data.subarray(used)
        offset += used
      }
      if (data.length === 0) rests.delete(key)
      else rests.set(key, { data: Buffer.from(data), offset, of: part })
      if (process.stdout.writableNeedDrain) await once(process.stdout, "drain")
    },
    tell: (text) => terminal.tell(safeLine(text)),
    async end() {
      for (const { data, offset, of } of rests.values()) say(of, { offset, data, partial: false })
      rests.clear()
      await Promise.resolve()
    },
  }
}

/** Bytes before `end` that belong to a letter which goes on behind it. */
function unfinished(data: Buffer, end: number): number {
  let back = 0
  while (back < 3 && (data[end - back]! & 0xc0) === 0x80) back++
  return (data[end - back]! & 0xc0) === 0x80 ? 0 : back
}

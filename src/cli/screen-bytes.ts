/** Bytes of jobs as they may go to a terminal: text and colours as they are, everything that would move the cursor or
 *  beep, and what is no text, in visible form. */

/** Printable characters, tabs and line ends, and colours: nothing needs to be changed. */
// oxlint-disable-next-line no-control-regex
const harmless = /^(?:[\t\n\u0020-\u007e\u00a0-\u{10ffff}]|\u001b\[[0-9;]*m)*$/u
// oxlint-disable-next-line no-control-regex
const pieces = /\u001b\[[0-9;]*m|[\s\S]/gu

/** The bytes to write; letters that are cut at the end are held back until the next call. */
export class ScreenBytes {
  #rest: Uint8Array = new Uint8Array(0)

  push(data: Uint8Array): string {
    const all = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    const cut = unfinished(all)
    this.#rest = all.subarray(all.length - cut)
    return visible(all.subarray(0, all.length - cut))
  }

  /** What was held back, when nothing follows. */
  end(): string {
    const rest = this.#rest
    this.#rest = new Uint8Array(0)
    return visible(rest)
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

function visible(data: Uint8Array): string {
  const text = textOf(data)
  if (harmless.test(text)) return text
  return text.replaceAll(pieces, (piece) => (harmless.test(piece) ? piece : escaped(piece)))
}

function textOf(data: Uint8Array): string {
  try {
    return strict.decode(data)
  } catch {
    // No UTF-8: letter by letter, and what is none by its number.
    return lettersOf(data)
  }
}

function lettersOf(data: Uint8Array): string {
  let text = ""
  for (let at = 0; at < data.length;) {
    const length = letterBytes(data, at)
    if (length === 0) text += hex(data[at++]!)
    else {
      text += strict.decode(data.subarray(at, at + length))
      at += length
    }
  }
  return text
}

/** 0 where no letter begins. */
function letterBytes(data: Uint8Array, at: number): number {
  const length = lengthOf(data[at]!)
  if (length === 0 || at + length > data.length) return 0
  try {
    strict.decode(data.subarray(at, at + length))
    return length
  } catch {
    return 0
  }
}

/** Of the letter that this byte begins. */
function lengthOf(byte: number): number {
  if (byte < 0x80) return 1
  if (byte < 0xc2 || byte > 0xf4) return 0
  return byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
}

/** Bytes at the end that may be the beginning of a letter. */
function unfinished(data: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, data.length); back++) {
    const byte = data[data.length - back]!
    if ((byte & 0xc0) === 0x80) continue
    return lengthOf(byte) > back ? back : 0
  }
  return 0
}

function escaped(character: string): string {
  const code = character.codePointAt(0)!
  if (code === 0x0d) return "\\r"
  if (code === 0x1b) return "\\e"
  return hex(code)
}

function hex(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`
}

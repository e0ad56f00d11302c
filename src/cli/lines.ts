/** Bytes in pieces → whole lines of text, across pieces and inside of letters. */

const lineCharsMax = 64 * 1024

/** `emit` gets lines without their end; a line that does not end is cut, so that memory is bounded. */
export function createLines(emit: (line: string) => void): {
  write(piece: Uint8Array): void
  end(): void
} {
  const decoder = new TextDecoder()
  let rest = ""
  const take = (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop() ?? ""
    for (const part of parts) emit(part.endsWith("\r") ? part.slice(0, -1) : part)
    for (; rest.length > lineCharsMax; rest = rest.slice(lineCharsMax)) {
      emit(rest.slice(0, lineCharsMax))
    }
  }
  return {
    write: (piece) => take(decoder.decode(piece, { stream: true })),
    end() {
      take(decoder.decode())
      if (rest !== "") emit(rest)
      rest = ""
    },
  }
}

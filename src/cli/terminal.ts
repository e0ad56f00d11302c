/** Where a command writes: data to standard output, everything else to standard error, colour where it is wanted. */
import { styleText } from "node:util"
import type { CliEnvironment } from "../config/index.ts"

export type Colour = "red" | "green" | "yellow" | "cyan" | "magenta" | "blue" | "gray" | "bold"
export type Paint = (colour: Colour, text: string) => string

export interface Terminal {
  /** Data. A newline is added. */
  print(text: string): void
  /** Data as it is. */
  write(data: string | Uint8Array): void
  /** Everything else: progress, warnings, errors. A newline is added. */
  tell(text: string): void
  /** Escape sequences and redraws, on standard error. */
  draw(text: string): void
  /** Colour for standard output and for standard error. */
  readonly paint: Paint
  readonly paintError: Paint
  /** Standard output is a terminal of this many columns; undefined: never cut lines. */
  readonly columns: number | undefined
  /** Standard error is a terminal that may be redrawn. */
  readonly live: boolean
  /** Its size now; people resize. */
  liveSize(): { readonly columns: number; readonly rows: number }
  /** A person can be asked. */
  readonly interactive: boolean
}

const plainPaint: Paint = (_colour, text) => text
// The decision is made here, so styleText must not make it again.
const realPaint: Paint = (colour, text) => styleText(colour, text, { validateStream: false })

export function createTerminal(
  environment: CliEnvironment,
  options: { colour: boolean },
): Terminal {
  const { stdin, stdout, stderr } = process
  const paintFor = (stream: NodeJS.WriteStream) => {
    if (!options.colour || environment.colour === "never") return plainPaint
    return environment.colour === "always" || stream.isTTY ? realPaint : plainPaint
  }
  return {
    print: (text) => void stdout.write(`${text}\n`),
    write: (data) => void stdout.write(data),
    tell: (text) => void stderr.write(`${text}\n`),
    draw: (text) => void stderr.write(text),
    paint: paintFor(stdout),
    paintError: paintFor(stderr),
    // A terminal that does not know its size says 0.
    columns: stdout.isTTY && stdout.columns > 0 ? stdout.columns : undefined,
    live: stderr.isTTY && !environment.plain,
    liveSize: () => ({ columns: stderr.columns || 80, rows: stderr.rows || 24 }),
    interactive: stdin.isTTY && stderr.isTTY,
  }
}

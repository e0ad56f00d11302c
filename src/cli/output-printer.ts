/** Merged output on the screen or in a file: of one task its own bytes, of several whole lines with their names. */
import { once } from "node:events"
import type { OutputPart } from "../client/index.ts"
import { ScreenBytes } from "./screen-bytes.ts"
import type { Colour, Terminal } from "./terminal.ts"
import { pad, safeLine, textWidth } from "./width.ts"

type Bytes = Extract<OutputPart, { type: "output" }>

export interface Printer {
  /** Resolves when there is room for more. */
  print(part: Bytes): Promise<void>
  /** A sentence between the output, on standard error. */
  tell(text: string): void
  end(): Promise<void>
}

export interface PrinterOptions {
  readonly timestamps: boolean
  /** One task, and its streams go where its own would have gone; standard error only beside standard output. */
  readonly raw: boolean
  readonly both: boolean
  /** Widest name that is known. */
  readonly cells: number
}

/** Red and gray mean something else. */
const colours: readonly Colour[] = ["cyan", "magenta", "yellow", "green", "blue"]
const newline = 10
const cellsMax = 32

export function createPrinter(terminal: Terminal, options: PrinterOptions): Printer {
  return options.raw && !options.timestamps
    ? rawPrinter(terminal, options)
    : linePrinter(terminal, options)
}

async function room(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableNeedDrain) await once(stream, "drain")
}

function rawPrinter(terminal: Terminal, { both }: PrinterOptions): Printer {
  const { stdout, stderr } = process
  const screens = { stdout: new ScreenBytes(), stderr: new ScreenBytes() }
  const targetOf = (stream: "stdout" | "stderr") => (both && stream === "stderr" ? stderr : stdout)
  return {
    async print({ stream, data }) {
      const target = targetOf(stream)
      target.write(target.isTTY ? screens[stream].push(data) : data)
      await room(target)
    },
    tell: (text) => terminal.tell(safeLine(text)),
    async end() {
      for (const stream of ["stdout", "stderr"] as const) {
        const rest = screens[stream].end()
        if (rest !== "") targetOf(stream).write(rest)
      }
      await room(stdout)
    },
  }
}

interface Line {
  readonly prefix: string
  readonly screen: ScreenBytes
}

function linePrinter(terminal: Terminal, options: PrinterOptions): Printer {
  const { timestamps, raw } = options
  const { stdout } = process
  const isScreen = stdout.isTTY
  const lines = new Map<string, Line>()
  let cells = Math.min(options.cells, cellsMax)
  /** Whose line has no end yet. */
  let open: string | undefined
  const lineOf = (key: string, { task, attempt, stream }: Bytes): Line => {
    const known = lines.get(key)
    if (known) return known
    const name = safeLine(attempt === 1 ? task : `${task}.${attempt}`)
    cells = Math.min(Math.max(cells, textWidth(name)), cellsMax)
    const mark = stream === "stderr" ? "!" : "|"
    const prefix = raw ? "" : `${terminal.paint(colourOf(task), `${pad(name, cells)} ${mark}`)} `
    // Names come and go; colours and widths of those that are back are the same.
    if (lines.size >= linesMax) lines.clear()
    const line = { prefix, screen: new ScreenBytes() }
    lines.set(key, line)
    return line
  }
  return {
    async print(part) {
      const key = `${part.task}\n${part.attempt}\n${part.stream}`
      const line = lineOf(key, part)
      const time = timestamps ? terminal.paint("gray", new Date(part.at).toISOString()) + " " : ""
      const out: (string | Uint8Array)[] = []
      if (open !== undefined && open !== key) out.push("\n")
      let isBegun = open === key
      for (let at = 0; at < part.data.length;) {
        const end = part.data.indexOf(newline, at)
        const to = end < 0 ? part.data.length : end + 1
        if (!isBegun) out.push(time, line.prefix)
        const piece = part.data.subarray(at, to)
        out.push(isScreen ? onScreen(line.screen, piece, end >= 0) : piece)
        isBegun = end < 0
        at = to
      }
      open = isBegun ? key : undefined
      stdout.write(joined(out))
      await room(stdout)
    },
    tell(text) {
      if (open !== undefined && isScreen) stdout.write("\n")
      if (isScreen) open = undefined
      terminal.tell(terminal.paintError("gray", `-- ${safeLine(text)} --`))
    },
    async end() {
      if (open !== undefined) stdout.write("\n")
      await room(stdout)
    },
  }
}

const linesMax = 20_000

function joined(pieces: readonly (string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    pieces.map((piece) => (typeof piece === "string" ? Buffer.from(piece) : piece)),
  )
}

/** A line of Windows' kind ends like any other. */
function onScreen(screen: ScreenBytes, piece: Uint8Array, isEnded: boolean): string {
  const text = screen.push(piece)
  if (!isEnded) return text
  const whole = `${text.slice(0, -1)}${screen.end()}`
  return `${whole.endsWith("\\r") ? whole.slice(0, -2) : whole}\n`
}

/** The same task has the same colour in every call. */
function colourOf(task: string): Colour {
  let hash = 0
  for (const character of task) hash = (hash * 31 + character.codePointAt(0)!) >>> 0
  return colours[hash % colours.length]!
}

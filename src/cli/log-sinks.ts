/** Where the output of tasks goes: of one byte for byte, of several line by line with their names. */
import { createLines } from "./lines.ts"
import type { Sink } from "./tails.ts"
import type { Colour, Terminal } from "./terminal.ts"
import { pad, textWidth } from "./width.ts"

type StreamName = "stdout" | "stderr"

const colours: readonly Colour[] = ["cyan", "magenta", "yellow", "green", "blue"]

/** One task: its streams go where its own would have gone; one stream alone is the data that was asked for. */
export function rawSinks(terminal: Terminal, chosen: StreamName | "both") {
  return (_name: string, stream: StreamName): Sink => {
    const toError = chosen === "both" && stream === "stderr"
    return {
      write: (piece) => {
        if (toError) process.stderr.write(piece)
        else terminal.write(piece)
      },
      end: () => undefined,
    }
  }
}

/** Several tasks: whole lines, each with the name of its task, a mark for standard error. `names`: the widest will do. */
export function namedSinks(terminal: Terminal, names: readonly string[]) {
  const cells = Math.max(...names.map(textWidth))
  const order = new Map<string, number>()
  return (name: string, stream: StreamName): Sink => {
    const place = order.get(name) ?? order.size
    order.set(name, place)
    const mark = stream === "stderr" ? "!" : "|"
    const prefix = terminal.paint(colours[place % colours.length]!, `${pad(name, cells)} ${mark}`)
    return createLines((line) => terminal.print(`${prefix} ${line}`))
  }
}

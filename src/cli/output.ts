/** The forms of data on standard output: a table for people, versioned JSON, JSON lines and YAML for programs. */
import type { Run } from "../schema/index.ts"
import { type Column, renderTable } from "./table.ts"
import type { Terminal } from "./terminal.ts"

export const formats = ["table", "json", "jsonl", "yaml"] as const
export type Format = (typeof formats)[number]

const apiVersion = "troupe/v1"

/** `kind` is the envelope's word. */
type Value = object & { readonly kind?: never }

/** A run as data: what it was compiled from moves to `document`, since `kind` says that it is a run. */
export function runValue<R extends Run>(run: R): Omit<R, "kind"> & { readonly document: string } {
  const { kind: document, ...rest } = run
  return { ...rest, document }
}

/** One thing. `text` is its form for people. */
export async function printOne(
  terminal: Terminal,
  format: Format,
  data: { kind: string; value: Value; text: () => string },
): Promise<void> {
  const whole = { apiVersion, kind: data.kind, ...data.value }
  if (format === "table") terminal.print(data.text())
  else terminal.print(await encode(format, whole))
}

/** One of a stream of things, as a line of JSON. */
export function printItem(terminal: Terminal, kind: string, value: Value): void {
  terminal.print(JSON.stringify({ apiVersion, kind, ...value }))
}

/** A list: `{apiVersion, kind, items}`, or one `{apiVersion, kind, …}` a line as jsonl. */
export async function printList<Row extends object>(
  terminal: Terminal,
  format: Format,
  data: {
    kind: string
    items: readonly Row[]
    columns: readonly Column<Row>[]
    /** Instead of an empty table, on standard error. */
    empty: string
    /** A row as data, where it is not what it is. */
    dataOf?: (row: Row) => Value
    more?: object
  },
): Promise<void> {
  const { kind, items, columns, dataOf = (row: Row): Value => row } = data
  if (format === "jsonl") {
    for (const item of items) printItem(terminal, kind, dataOf(item))
  } else if (format !== "table") {
    const whole = { apiVersion, kind: `${kind}List`, items: items.map(dataOf), ...data.more }
    terminal.print(await encode(format, whole))
  } else if (items.length === 0) {
    terminal.tell(data.empty)
  } else {
    const bold = (text: string) => terminal.paint("bold", text)
    for (const line of renderTable(items, columns, { width: terminal.columns, bold })) {
      terminal.print(line)
    }
  }
}

async function encode(format: Exclude<Format, "table">, value: object): Promise<string> {
  if (format === "jsonl") return JSON.stringify(value)
  if (format === "json") return JSON.stringify(value, undefined, 2)
  const { yamlText } = await import("./yaml-text.ts")
  // Through JSON, so that both say the same (no undefined, no class instances).
  return yamlText(JSON.parse(JSON.stringify(value)))
}

/** Tables for people: columns as wide as their content, two spaces between, cut to the terminal. */
import { pad, safeLine, textWidth, truncate } from "./width.ts"

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string | number | undefined
  readonly align?: "left" | "right"
  /** Styled after it was measured and cut. */
  readonly style?: (text: string, row: Row) => string
}

const gap = "  "
const cellsMin = 6

/** Lines without a trailing newline. `columns` is the terminal's width; undefined: never cut. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: { width?: number | undefined; bold?: (text: string) => string } = {},
): string[] {
  const cells = rows.map((row) => columns.map((column) => cellText(column.value(row))))
  const widths = columns.map((column, index) =>
    Math.max(textWidth(column.title), ...cells.map((line) => textWidth(line[index]!))),
  )
  if (options.width !== undefined) shrink(widths, options.width)
  const line = (texts: readonly string[], style?: (text: string, index: number) => string) =>
    texts
      .map((text, index) => {
        const last = index === texts.length - 1
        const cut = truncate(text, widths[index]!)
        const side = columns[index]!.align ?? "left"
        const styled = style ? style(cut, index) : cut
        return last && side === "left" ? styled : pad(styled, widths[index]!, side)
      })
      .join(gap)
      .trimEnd()
  const titles = columns.map((column) => column.title)
  const bold = options.bold ?? ((text: string) => text)
  return [
    line(titles, (text) => bold(text)),
    ...rows.map((row, rowIndex) =>
      line(cells[rowIndex]!, (text, index) => columns[index]!.style?.(text, row) ?? text),
    ),
  ]
}

function cellText(value: string | number | undefined): string {
  const text = value === undefined ? "" : safeLine(String(value))
  return text === "" ? "-" : text
}

/** Takes cells from the widest column until the line fits, but leaves each enough to be read. */
function shrink(widths: number[], width: number): void {
  const total = () => widths.reduce((sum, each) => sum + each, gap.length * (widths.length - 1))
  while (total() > width) {
    const widest = Math.max(...widths)
    if (widest <= cellsMin) return
    widths[widths.indexOf(widest)]! -= 1
  }
}

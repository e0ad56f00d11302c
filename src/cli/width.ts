/** How many terminal cells a text takes, and making untrusted text safe to print. */

// oxlint-disable-next-line no-control-regex
const escapePattern = /\u001b\[[0-9;]*m/g
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u
const invisible = /^[\p{Mn}\p{Me}\p{Cf}]+$/u

// Made when it is needed: loading the tables of ICU takes 20 ms.
let segmenter: Intl.Segmenter | undefined
function graphemes(text: string): Iterable<Intl.SegmentData> {
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" })
  return segmenter.segment(text)
}

/** Cells, colour sequences not counted: 2 for East Asian wide characters and emoji, 0 for combining marks. */
export function textWidth(text: string): number {
  const plain = text.replace(escapePattern, "")
  // oxlint-disable-next-line no-control-regex
  if (/^[\u0020-\u007e]*$/.test(plain)) return plain.length
  let cells = 0
  for (const { segment } of graphemes(plain)) {
    if (invisible.test(segment)) continue
    cells += wide.test(segment) || segment.includes("\ufe0f") ? 2 : 1
  }
  return cells
}

/** Filled with spaces to the given cells. */
export function pad(text: string, cells: number, side: "left" | "right" = "left"): string {
  const space = " ".repeat(Math.max(0, cells - textWidth(text)))
  return side === "left" ? text + space : space + text
}

/** Cut to at most the given cells, with … in the last. Only for text without colour. */
export function truncate(text: string, cells: number): string {
  if (textWidth(text) <= cells) return text
  let kept = ""
  let used = 0
  for (const { segment } of graphemes(text)) {
    const width = textWidth(segment)
    if (used + width > cells - 1) break
    kept += segment
    used += width
  }
  return `${kept}…`
}

/** One line without control characters: names and reasons come from other machines. */
export function safeLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ").trim()
}

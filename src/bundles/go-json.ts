/** JSON and times as the original (a Go program) writes them. */

const escaped: Readonly<Record<string, string>> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
}

/** Indent 2, `<`, `>` and `&` escaped, no newline at the end. Keys in the order of the object. */
export function formatGoJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(
    /[<>&\u2028\u2029]/g,
    (character) => escaped[character] ?? character,
  )
}

/** RFC3339Nano in UTC: no zeros at the end of the fraction. undefined is Go's zero time. */
export function formatGoTime(ms: number | undefined): string {
  if (ms === undefined) return "0001-01-01T00:00:00Z"
  return new Date(ms).toISOString().replace(/\.?0*Z$/, "Z")
}

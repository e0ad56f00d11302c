/** `${name}` in a text, filled from a lookup and never by a shell. `$${` stands for a plain `${`. */

const namePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/

type Part = { readonly literal: string } | { readonly name: string }

/** The variables that a text names, in order of appearance, and what is wrong with its syntax, if anything. */
export function variablesIn(text: string): {
  readonly names: readonly string[]
  readonly malformed: string | undefined
} {
  const { parts, malformed } = split(text)
  return { names: parts.flatMap((part) => ("name" in part ? [part.name] : [])), malformed }
}

/** The text with every variable replaced. A value is never read for variables again.
 *  `unknown` is the first name that `lookup` does not know, or the piece whose syntax is broken. */
export function interpolate(
  text: string,
  lookup: (name: string) => string | undefined,
): { readonly text: string } | { readonly unknown: string } {
  const { parts, malformed } = split(text)
  if (malformed !== undefined) return { unknown: malformed }
  let filled = ""
  for (const part of parts) {
    if ("literal" in part) {
      filled += part.literal
      continue
    }
    const value = lookup(part.name)
    if (value === undefined) return { unknown: part.name }
    filled += value
  }
  return { text: filled }
}

function split(text: string): { parts: Part[]; malformed: string | undefined } {
  const parts: Part[] = []
  let at = 0
  while (at < text.length) {
    const dollar = text.indexOf("${", at)
    if (dollar === -1) break
    if (dollar > at && text[dollar - 1] === "$") {
      parts.push({ literal: `${text.slice(at, dollar - 1)}\${` })
      at = dollar + 2
      continue
    }
    const end = text.indexOf("}", dollar)
    const name = end === -1 ? "" : text.slice(dollar + 2, end)
    if (!namePattern.test(name)) {
      return { parts, malformed: text.slice(dollar, end === -1 ? undefined : end + 1) }
    }
    parts.push({ literal: text.slice(at, dollar) }, { name })
    at = end + 1
  }
  parts.push({ literal: text.slice(at) })
  return { parts, malformed: undefined }
}

/** The nearest right spelling of a word, for "did you mean". */

/** Longer words are somebody's data, not a misspelling; also keeps the table small. */
const lengthMax = 64

/** The candidate that a person most likely meant, or undefined when none is near. Case, `-` and `_` do not count. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const folded = fold(word)
  if (folded.length === 0 || word.length > lengthMax) return undefined
  let best: string | undefined
  let bestDistance = Infinity
  for (const candidate of candidates) {
    if (candidate.length > lengthMax) continue
    const other = fold(candidate)
    // A third of the letters may be wrong; of two letters, none.
    const allowed = Math.floor(Math.max(folded.length, other.length) / 3)
    if (Math.abs(folded.length - other.length) > allowed) continue
    const distance = editDistance(folded, other)
    if (distance <= allowed && distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function fold(word: string): string {
  return word.toLowerCase().replace(/[-_\s]/g, "")
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let distance = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (same ? 0 : 1),
      )
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (row > 1 && column > 1 && swapped) {
        distance = Math.min(distance, beforeLast[column - 2]! + 1)
      }
      current.push(distance)
    }
    beforeLast = last
    last = current
  }
  return last[b.length]!
}

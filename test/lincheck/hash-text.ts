/** FNV-1a over UTF-16 units, which can be continued: `hashText(b, hashText(a))` is `hashText(a + b)`. */
export function hashText(text: string, from = 0x811c9dc5): number {
  let hash = from
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash
}

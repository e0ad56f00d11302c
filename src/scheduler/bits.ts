/** A set of small whole numbers, 32 to a word: sets of nodes are crossed word by word. */
export class Bits {
  #words: Int32Array = new Int32Array(4)

  get length(): number {
    return this.#words.length
  }

  word(at: number): number {
    return at < this.#words.length ? this.#words[at]! : 0
  }

  has(value: number): boolean {
    return ((this.word(value >>> 5) >>> (value & 31)) & 1) === 1
  }

  add(value: number): void {
    const at = value >>> 5
    if (at >= this.#words.length) {
      const wider = new Int32Array(Math.max(at + 1, this.#words.length * 2))
      wider.set(this.#words)
      this.#words = wider
    }
    this.#words[at]! |= 1 << (value & 31)
  }

  delete(value: number): void {
    const at = value >>> 5
    if (at < this.#words.length) this.#words[at]! &= ~(1 << (value & 31))
  }

  clear(): void {
    this.#words.fill(0)
  }
}

/** Place of the lowest bit that is set in a word that is not 0. */
export function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word)
}

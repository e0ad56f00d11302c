/** A binary heap: whatever comes before all others is popped first. */
export class Heap<T> {
  readonly #items: T[] = []
  readonly #isBefore: (left: T, right: T) => boolean

  constructor(isBefore: (left: T, right: T) => boolean) {
    this.#isBefore = isBefore
  }

  push(item: T): void {
    const items = this.#items
    let place = items.length
    while (place > 0) {
      const above = (place - 1) >>> 1
      if (!this.#isBefore(item, items[above]!)) break
      items[place] = items[above]!
      place = above
    }
    items[place] = item
  }

  pop(): T | undefined {
    const items = this.#items
    const first = items[0]
    const last = items.pop()
    if (last === undefined || items.length === 0) return first
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= items.length) break
      const other = below + 1
      if (other < items.length && this.#isBefore(items[other]!, items[below]!)) below = other
      if (!this.#isBefore(items[below]!, last)) break
      items[place] = items[below]!
      place = below
    }
    items[place] = last
    return first
  }
}

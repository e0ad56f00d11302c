/** What will happen, earliest first; of equal times the one that was entered first. */

interface Timed {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class Calendar {
  readonly #items: Timed[] = []
  #order = 0

  enter(at: number, run: () => void): void {
    const items = this.#items
    const item = { at, order: this.#order++, run }
    let place = items.push(item) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!isBefore(item, items[parent]!)) break
      items[place] = items[parent]!
      place = parent
    }
    items[place] = item
  }

  take(): Timed | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (!top || !last || items.length === 0) return top
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= items.length) break
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++
      if (!isBefore(items[child]!, last)) break
      items[place] = items[child]!
      place = child
    }
    items[place] = last
    return top
  }
}

function isBefore(left: Timed, right: Timed): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order)
}

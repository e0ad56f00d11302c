/** A binary heap whose items know their places, so that one whose rank has changed can be moved. */

/** In at most one heap at a time. */
export interface Ranked {
  /** Kept by the heap; -1 while in none. */
  place: number
}

export class Heap<T extends Ranked> {
  readonly #items: T[] = []
  readonly #isBefore: (one: T, other: T) => boolean

  constructor(isBefore: (one: T, other: T) => boolean) {
    this.#isBefore = isBefore
  }

  get size(): number {
    return this.#items.length
  }

  first(): T | undefined {
    return this.#items[0]
  }

  /** In no order. Must not be changed meanwhile. */
  items(): readonly T[] {
    return this.#items
  }

  has(item: T): boolean {
    return this.#items[item.place] === item
  }

  /** Puts it in, or to its new place after its rank has changed. */
  put(item: T): void {
    if (!this.has(item)) {
      item.place = this.#items.length
      this.#items.push(item)
    }
    this.#rise(item)
    this.#sink(item)
  }

  delete(item: T): void {
    if (!this.has(item)) return
    const { place } = item
    const last = this.#items.pop()!
    item.place = -1
    if (last === item) return
    this.#set(last, place)
    this.#rise(last)
    this.#sink(last)
  }

  clear(): void {
    for (const item of this.#items) item.place = -1
    this.#items.length = 0
  }

  /** Items for which `is` holds, found from the top: it must hold for whatever comes before one for which it does. */
  *while(is: (item: T) => boolean): Generator<T> {
    const places = [0]
    for (let place = places.pop(); place !== undefined; place = places.pop()) {
      const item = this.#items[place]
      if (item === undefined || !is(item)) continue
      yield item
      places.push(2 * place + 1, 2 * place + 2)
    }
  }

  #set(item: T, place: number): void {
    this.#items[place] = item
    item.place = place
  }

  #rise(item: T): void {
    while (item.place > 0) {
      const parent = this.#items[(item.place - 1) >>> 1]!
      if (!this.#isBefore(item, parent)) return
      const { place } = parent
      this.#set(parent, item.place)
      this.#set(item, place)
    }
  }

  #sink(item: T): void {
    for (;;) {
      const left = this.#items[2 * item.place + 1]
      const right = this.#items[2 * item.place + 2]
      if (left === undefined) return
      const child = right !== undefined && this.#isBefore(right, left) ? right : left
      if (!this.#isBefore(child, item)) return
      const { place } = child
      this.#set(child, item.place)
      this.#set(item, place)
    }
  }
}

/** Whole numbers, the lowest first; one that is put in twice comes out twice. */
export class LowestFirst {
  readonly #numbers: number[] = []

  first(): number | undefined {
    return this.#numbers[0]
  }

  put(value: number): void {
    const numbers = this.#numbers
    let place = numbers.length
    numbers.push(value)
    while (place > 0) {
      const above = (place - 1) >>> 1
      if (numbers[above]! <= value) break
      numbers[place] = numbers[above]!
      place = above
    }
    numbers[place] = value
  }

  drop(): void {
    const numbers = this.#numbers
    const value = numbers.pop()
    if (value === undefined || numbers.length === 0) return
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below >= numbers.length) break
      if (below + 1 < numbers.length && numbers[below + 1]! < numbers[below]!) below++
      if (numbers[below]! >= value) break
      numbers[place] = numbers[below]!
      place = below
    }
    numbers[place] = value
  }
}

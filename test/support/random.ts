/** Chance that can be repeated: xoshiro128** from a seed. */
import type { Random } from "../../src/platform/index.ts"

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

export class SeededRandom implements Random {
  readonly #state: Uint32Array

  constructor(seed: number) {
    // splitmix32 spreads a small seed over the whole state.
    let mixed = seed >>> 0
    this.#state = new Uint32Array(4).map(() => {
      mixed = (mixed + 0x9e3779b9) >>> 0
      let value = mixed
      value = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
      value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
      return value ^ (value >>> 16)
    })
  }

  #word(): number {
    const state = this.#state
    const first = state[0]!
    const second = state[1]!
    const third = state[2]!
    const fourth = state[3]!
    const result = Math.imul(rotate(Math.imul(second, 5), 7), 9) >>> 0
    state[2] = third ^ first
    state[3] = fourth ^ second
    state[1] = second ^ state[2]
    state[0] = first ^ state[3]
    state[2] ^= second << 9
    state[3] = rotate(state[3], 11)
    return result
  }

  /** [0, 1) */
  next(): number {
    return this.#word() / 2 ** 32
  }

  /** An integer of [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  /** An integer of [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** One of at least one. */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error("nothing to pick from")
    return item
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(length).map(() => this.#word() & 0xff)
  }

  /** An independent stream. */
  fork(): SeededRandom {
    return new SeededRandom(this.#word())
  }
}

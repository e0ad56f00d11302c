/** Heaps and sets of bits against plain arrays and sets. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { Bits, lowestBit } from "../../../src/scheduler/bits.ts"
import { Heap, LowestFirst, type Ranked } from "../../../src/scheduler/heap.ts"

interface Item extends Ranked {
  rank: number
  readonly id: number
}

const isBefore = (one: Item, other: Item): boolean =>
  one.rank === other.rank ? one.id < other.id : one.rank < other.rank

test("a heap gives the first of those that are in it, also after ranks have changed", () => {
  const steps = fc.array(fc.tuple(fc.nat(9), fc.nat(2), fc.nat(20)), { maxLength: 80 })
  fc.assert(
    fc.property(steps, fc.nat(20), (list, limit) => {
      const items = Array.from({ length: 10 }, (_, id): Item => ({ place: -1, rank: 0, id }))
      const heap = new Heap<Item>(isBefore)
      const inside = new Set<Item>()
      for (const [which, action, rank] of list) {
        const item = items[which]!
        if (action === 0) {
          heap.delete(item)
          inside.delete(item)
        } else {
          item.rank = rank
          heap.put(item)
          inside.add(item)
        }
        const sorted = [...inside].toSorted((a, b) => (isBefore(a, b) ? -1 : 1))
        expect(heap.first()).toBe(sorted[0])
        expect(heap.size).toBe(inside.size)
        expect(items.filter((one) => heap.has(one))).toEqual(items.filter((one) => inside.has(one)))
        const below = new Set(heap.while((one) => one.rank <= limit))
        expect(below).toEqual(new Set(sorted.filter((one) => one.rank <= limit)))
      }
      heap.clear()
      expect(items.every(({ place }) => place === -1)).toBe(true)
      expect(heap.first()).toBeUndefined()
    }),
  )
})

test("numbers come out lowest first, as often as they were put in", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(30)), (numbers) => {
      const lowest = new LowestFirst()
      for (const number of numbers) lowest.put(number)
      const out: number[] = []
      for (let next = lowest.first(); next !== undefined; next = lowest.first()) {
        out.push(next)
        lowest.drop()
      }
      expect(out).toEqual(numbers.toSorted((a, b) => a - b))
      lowest.drop()
      expect(lowest.first()).toBeUndefined()
    }),
  )
})

test("bits are a set of numbers, read word by word", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2000), fc.boolean())), (list) => {
      const bits = new Bits()
      const set = new Set<number>()
      for (const [value, isIn] of list) {
        if (isIn) bits.add(value)
        else bits.delete(value)
        if (isIn) set.add(value)
        else set.delete(value)
      }
      const read: number[] = []
      for (let at = 0; at < bits.length; at++) {
        for (let word = bits.word(at); word !== 0; word &= word - 1) {
          read.push(at * 32 + lowestBit(word))
        }
      }
      expect(read).toEqual([...set].toSorted((a, b) => a - b))
      expect(read.every((value) => bits.has(value))).toBe(true)
      expect(bits.has(5000)).toBe(false)
      bits.clear()
      expect(read.some((value) => bits.has(value))).toBe(false)
    }),
  )
})

/** What is remembered of peers: bounded, newest first, patient after failures. */
import { expect, test } from "vitest"
import { PeerBook } from "../../../src/mesh/peer-book.ts"

const refused = (now: number) => ({ error: new Error("refused"), refused: true, now })
const silent = (now: number) => ({ error: new Error("silent"), refused: false, now })

function patience(book: PeerBook, from: number): number {
  let ms = 0
  while (book.backingOff("a", from + ms)) ms++
  return ms
}

test("addresses: newest first, what worked before all, eight at most", () => {
  const book = new PeerBook()
  expect(book.learn("a", ["1", "2"])).toBe(true)
  expect(book.learn("a", ["2"])).toBe(false)
  expect(book.learn("a", ["3", "1"])).toBe(true)
  expect(book.addresses("a")).toEqual(["3", "1", "2"])
  book.reached("a", "2")
  expect(book.addresses("a")).toEqual(["2", "3", "1"])
  book.learn("a", ["4", "5", "6", "7", "8", "9", "10"])
  expect(book.addresses("a")).toEqual(["4", "5", "6", "7", "8", "9", "10", "2"])
})

test("patience doubles, to a second after a refusal and two after silence", () => {
  const book = new PeerBook()
  const waits = []
  for (const now of [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]) {
    book.failed("a", refused(now))
    waits.push(patience(book, now))
  }
  expect(waits).toEqual([50, 100, 200, 400, 800, 1000, 1000])
  book.failed("a", silent(70_000))
  expect(patience(book, 70_000)).toBe(2000)
})

test("a new address, being seen or being reached ends the patience", () => {
  const book = new PeerBook()
  const endings = [
    () => void book.learn("a", [`${Math.random()}`]),
    () => book.seen("a"),
    () => book.reached("a", undefined),
  ]
  for (const end of endings) {
    book.failed("a", silent(0))
    expect(book.backingOff("a", 0)).toBeDefined()
    end()
    expect(book.backingOff("a", 0)).toBeUndefined()
  }
})

test("the longest unused of more than 2048 peers is forgotten", () => {
  const book = new PeerBook()
  for (let n = 0; n < 2048; n++) book.learn(`${n}`, ["x"])
  book.reached("0", "x")
  book.learn("new", ["x"])
  expect(book.addresses("0")).toEqual(["x"])
  expect(book.addresses("1")).toEqual([])
})

/** Server-sent events, cut anywhere. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { EventParser, type ServerEvent } from "../../../src/client/sse.ts"

function parse(pieces: readonly string[]): ServerEvent[] {
  const parser = new EventParser()
  return pieces.flatMap((piece) => parser.push(piece))
}

test("fields, comments, several data lines, a lasting id", () => {
  const text =
    ": hello\nretry: 5\n\nid: 1-1\nevent: run-accepted\ndata: a\ndata:b\ndata\n\nunknown: x\ndata:  c\n\n"
  expect(parse([text])).toEqual([
    { type: "run-accepted", data: "a\nb\n", id: "1-1" },
    { type: "message", data: " c", id: "1-1" },
  ])
})

test("an event without data, or not finished, is none", () => {
  expect(parse(["event: x\n\ndata: unfinished\n"])).toEqual([])
})

test("an event past the limit is refused, not gathered for ever", () => {
  const parser = new EventParser()
  const line = `data: ${"x".repeat(2 ** 20)}\n`
  expect(() => {
    for (let i = 0; i < 70; i++) parser.push(line)
  }).toThrow("an event is longer than")
})

const word = fc.string({ unit: fc.constantFrom("a", "b", ":", " ", "é", "{") })
const eventParts = fc.record({
  type: fc.constantFrom("x", "run-finished"),
  data: fc.array(word, { minLength: 1 }),
})

test("the same events however the bytes are cut and the lines end", () => {
  fc.assert(
    fc.property(
      fc.array(eventParts),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.array(fc.nat(40)),
      (events, end, cuts) => {
        const text = events
          .map(({ type, data }, i) =>
            [`id: ${i}`, `event: ${type}`, ...data.map((line) => `data: ${line}`), "", ""].join(
              end,
            ),
          )
          .join("")
        const pieces: string[] = []
        let rest = text
        for (const cut of cuts) {
          pieces.push(rest.slice(0, cut))
          rest = rest.slice(cut)
        }
        pieces.push(rest)
        expect(parse(pieces)).toEqual(
          events.map(({ type, data }, i) => ({ type, data: data.join("\n"), id: String(i) })),
        )
      },
    ),
  )
})

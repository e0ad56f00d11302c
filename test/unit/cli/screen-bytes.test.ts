import * as fc from "fast-check"
import { expect, test } from "vitest"
import { ScreenBytes } from "../../../src/cli/screen-bytes.ts"

const shown = (...pieces: readonly (string | readonly number[])[]): string => {
  const screen = new ScreenBytes()
  const said = pieces.map((piece) =>
    screen.push(typeof piece === "string" ? Buffer.from(piece) : Uint8Array.from(piece)),
  )
  return said.join("") + screen.end()
}

test.each([
  ["text, tabs, colours", "a\tb \u001b[1;31mred\u001b[0m ä € 😀\n"],
  ["nothing", ""],
])("%s stay as they are", (_, text) => {
  expect(shown(text)).toBe(text)
})

test.each<[string, readonly (string | readonly number[])[], string]>([
  ["a cleared screen", ["\u001b[2Jgone"], "\\e[2Jgone"],
  ["a title", ["\u001b]0;mine\u0007"], "\\e]0;mine\\x07"],
  ["going back", ["50%\r60%\b"], "50%\\r60%\\x08"],
  ["C1 controls", ["\u009b2J"], "\\x9b2J"],
  ["bytes that are no text", [[0x61, 0xff, 0xc3, 0x28, 0x00]], "a\\xff\\xc3(\\x00"],
  ["text among them", [[0xff, 0xe2, 0x82, 0xac, 0xff]], "\\xff€\\xff"],
  [
    "a letter in two pieces",
    [
      [0xe2, 0x82],
      [0xac, 0x21],
    ],
    "€!",
  ],
  ["a letter that never ends", ["a", [0xe2, 0x82]], "a\\xe2\\x82"],
])("%s is shown", (_, pieces, expected) => {
  expect(shown(...pieces)).toBe(expected)
})

// oxlint-disable-next-line no-control-regex
const colour = /\u001b\[[0-9;]*m/g
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/

test("whatever comes, no terminal sees more than text and colours", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (pieces) => {
      const text = shown(...pieces.map((piece) => [...piece]))
      expect(text.replaceAll(colour, "")).not.toMatch(control)
    }),
  )
})

test("text in any pieces is the text", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom("a", "ä", "€", "😀", "\n") }),
      fc.array(fc.nat(20)),
      (text, cuts) => {
        const bytes = Buffer.from(text)
        const places = [
          0,
          ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b),
          bytes.length,
        ]
        const pieces = places.slice(1).map((end, place) => [...bytes.subarray(places[place], end)])
        expect(shown(...pieces)).toBe(text)
      },
    ),
  )
})

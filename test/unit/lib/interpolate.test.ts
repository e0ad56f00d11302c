/** Variables in texts. */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { interpolate, variablesIn } from "../../../src/lib/index.ts"

const values: Record<string, string> = {
  "run.id": "r-12",
  "roles.server.address": "10.0.0.7",
  tricky: "${run.id}",
}
const fill = (text: string) => interpolate(text, (name) => values[name])

test.each([
  ["plain", "plain"],
  ["", ""],
  ["${run.id}", "r-12"],
  ["a ${run.id} b ${roles.server.address}c", "a r-12 b 10.0.0.7c"],
  ["$${run.id}", "${run.id}"],
  ["$5 and $x and {y}", "$5 and $x and {y}"],
  ["${tricky}", "${run.id}"],
  ["$$${run.id}", "$${run.id}"],
])("%j becomes %j", (text, expected) => {
  expect(fill(text)).toEqual({ text: expected })
})

test.each([
  ["${run.ids}", "run.ids"],
  ["${run.id", "${run.id"],
  ["x ${} y", "${}"],
  ["${a b}", "${a b}"],
])("%j cannot be filled: %j", (text, unknown) => {
  expect(fill(text)).toEqual({ unknown })
})

test("variablesIn lists names in order and the first broken piece", () => {
  expect(variablesIn("${b} ${a} ${b} $${c}").names).toEqual(["b", "a", "b"])
  expect(variablesIn("${a} ${").malformed).toBe("${")
})

test("text without `${` stays as it is, and escaping every `${` gives it back", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom("$", "{", "}", "a", ".", " ") }), (text) => {
      const escaped = text.replaceAll("${", () => "$${")
      expect(interpolate(escaped, () => undefined)).toEqual({ text })
    }),
  )
})
